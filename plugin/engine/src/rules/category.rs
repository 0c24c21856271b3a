//! Categories: takes a program's name or a tag, gives the kinds of rules that can concern it. Knows no rule.

/// A small set of rule categories. A category that is not built in (a user's own) is a member of every set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Categories(u8);

impl Categories {
    /// Kernel, services, storage.
    pub const SYSTEM: Categories = Categories(1);
    /// Logins, privileges, attacks.
    pub const SECURITY: Categories = Categories(2);
    /// Connections, names, certificates, proxies.
    pub const NETWORK: Categories = Categories(4);
    /// Containers and their orchestration.
    pub const DOCKER: Categories = Categories(8);
    /// Programs, databases, queues.
    pub const APPLICATION: Categories = Categories(16);
    /// Media servers, downloads, transcoding.
    pub const MEDIA: Categories = Categories(32);
    /// Everything: what is used for a program that is not known.
    pub const ALL: Categories = Categories(u8::MAX);

    /// Any category that is not built in.
    const OTHER: Categories = Categories(64);

    /// The set of one category, by the word in rule files.
    pub fn of(category: &str) -> Categories {
        match category {
            "system" => Self::SYSTEM,
            "security" => Self::SECURITY,
            "network" => Self::NETWORK,
            "docker" => Self::DOCKER,
            "application" => Self::APPLICATION,
            "media" => Self::MEDIA,
            _ => Self::OTHER,
        }
    }

    /// Members of either.
    #[must_use]
    pub const fn union(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// Whether the two share a member.
    pub const fn intersects(self, other: Categories) -> bool {
        self.0 & other.0 != 0
    }

    /// The categories that concern the programs named in a tag, a program name or an image
    /// (`host.sshd`, `kube.default.nginx-7d4`, `postgres:17`); `None` if none is known, then all apply.
    ///
    /// System and security rules always apply: any program can run out of memory or be attacked. Words that only say
    /// by which way a record came (`docker`, `kube`, `containers`) say nothing about the program and are not known.
    pub fn from_hint(hint: &[u8]) -> Option<Categories> {
        let words = hint.split(|byte| !byte.is_ascii_alphabetic());
        let known = words.filter_map(concern).reduce(Categories::union)?;
        Some(known.union(Self::SYSTEM).union(Self::SECURITY).union(Self::OTHER))
    }
}

/// What one known program is concerned with, beside system and security.
fn concern(word: &[u8]) -> Option<Categories> {
    const LONGEST: usize = 14;
    let mut lower = [0u8; LONGEST];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"sshd" | b"sudo" | b"su" | b"kernel" | b"systemd" | b"cron" | b"crond" | b"auditd" | b"polkitd"
        | b"sssd" | b"logind" => Categories::SYSTEM,
        b"smartd" | b"mdadm" | b"zed" | b"smbd" | b"rsync" | b"borg" | b"restic" => Categories::MEDIA,
        b"nginx" | b"httpd" | b"haproxy" | b"traefik" | b"envoy" | b"caddy" | b"squid" | b"varnish" => {
            Categories::NETWORK.union(Categories::APPLICATION)
        }
        b"named" | b"unbound" | b"dnsmasq" | b"coredns" | b"dhclient" | b"dhcpd" | b"networkmanager"
        | b"openvpn" | b"wireguard" | b"hostapd" | b"chronyd" | b"ntpd" => Categories::NETWORK,
        b"postgres" | b"postgresql" | b"mysqld" | b"mysql" | b"mariadb" | b"mongod" | b"mongodb"
        | b"redis" | b"kafka" | b"rabbitmq" | b"elasticsearch" | b"zookeeper" | b"hdfs" | b"spark" => {
            Categories::APPLICATION.union(Categories::NETWORK)
        }
        b"dockerd" | b"containerd" | b"kubelet" | b"crio" | b"etcd" => {
            Categories::DOCKER.union(Categories::NETWORK)
        }
        b"plex" | b"jellyfin" | b"emby" | b"sonarr" | b"radarr" | b"lidarr" | b"bazarr" | b"prowlarr"
        | b"sabnzbd" | b"qbittorrent" | b"transmission" | b"ffmpeg" | b"tautulli" => {
            Categories::MEDIA.union(Categories::APPLICATION).union(Categories::NETWORK)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Categories;

    fn check(hint: &str, selected: &[&str], left_out: &[&str]) {
        let set = Categories::from_hint(hint.as_bytes()).expect(hint);
        for category in selected.iter().chain(["system", "security", "ours"].iter()) {
            assert!(set.intersects(Categories::of(category)), "{hint} leaves {category} out");
        }
        for category in left_out {
            assert!(!set.intersects(Categories::of(category)), "{hint} selects {category}");
        }
    }

    #[test]
    fn known_programs_narrow() {
        check("host.sshd", &[], &["network", "docker", "media", "application"]);
        check("kube.var.log.containers.nginx-7d4_web", &["network", "application"], &["docker", "media"]);
        check("postgres:17", &["application"], &["docker", "media"]);
        check("Jellyfin", &["media"], &["docker"]);
        check("sshd.plex", &["media"], &["docker"]);
        check("host.smartd", &["media"], &["docker", "application"]);
    }

    #[test]
    fn what_is_not_known_leaves_all_rules_on() {
        for hint in
            ["", "app.checkout", "docker.3f2a", "kube.var.log.containers.shop", "sshdx", &"x".repeat(100_000)]
        {
            assert_eq!(Categories::from_hint(hint.as_bytes()), None, "{}", &hint[..hint.len().min(20)]);
        }
    }
}
