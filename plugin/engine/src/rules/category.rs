//! Categories: takes a program's name or a tag, gives the kinds of rules that can concern it. Knows no rule.

use super::suggestion;

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

    /// The built-in category of this name.
    fn named(word: &str) -> Result<Categories, String> {
        match Self::of(word) {
            Self::OTHER => {
                let near = suggestion(word, &NAMES);
                Err(match near {
                    Some(near) => format!("`{word}` is not a built-in category; did you mean `{near}`?"),
                    None => format!(
                        "`{word}` is not a built-in category ({}); rules of your own categories always apply",
                        NAMES.join(", ")
                    ),
                })
            }
            known => Ok(known),
        }
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

const NAMES: [&str; 6] = ["system", "security", "network", "docker", "application", "media"];
/// Most words of a selection.
const MAX_WORDS: usize = 64;
/// Bytes of a tag and labels in which a selection's words are looked for.
const MAX_HINT_BYTES: usize = 4 << 10;

/// How the categories of a source are chosen: the checked form of the option `rule_categories`.
///
/// `auto` knows common programs by name; `WORD=CATEGORY+CATEGORY` says it of a word, and wins over `auto`; `*=…` says
/// it of all other sources, to which else everything applies. `all` alone applies everything to every source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    knows_programs: bool,
    words: Vec<(String, Categories)>,
    rest: Categories,
}

impl Selection {
    /// All rules for every source.
    pub const fn everything() -> Selection {
        Selection { knows_programs: false, words: Vec::new(), rest: Categories::ALL }
    }

    /// Reads the option's words.
    ///
    /// # Errors
    /// The word, and what to write instead.
    pub fn new(entries: &[String]) -> Result<Selection, String> {
        let mut selection = Selection::everything();
        if entries.len() > MAX_WORDS {
            return Err(format!("{} words are more than the limit of {MAX_WORDS}", entries.len()));
        }
        for entry in entries {
            match entry.split_once('=') {
                None if entry == "auto" => selection.knows_programs = true,
                None if entry == "all" && entries.len() == 1 => {}
                None => return Err(format!("`{entry}` is none of auto, all alone, WORD=CATEGORY+CATEGORY")),
                Some((word, categories)) => {
                    let all = categories.split('+').map(|category| Categories::named(category.trim()));
                    let sum = all.reduce(|sum, more| Ok(sum?.union(more?)));
                    let sum = sum.unwrap_or(Ok(Categories::ALL))?.union(Categories::OTHER);
                    match word.trim() {
                        "*" => selection.rest = sum,
                        "" => return Err(format!("`{entry}` has no word before the `=`")),
                        word => selection.words.push((word.to_ascii_lowercase(), sum)),
                    }
                }
            }
        }
        Ok(selection)
    }

    /// Whether [`PROGRAMS`] are known by name.
    pub fn knows_programs(&self) -> bool {
        self.knows_programs
    }

    /// Words of a user's own, in lower case, and what they stand for.
    pub fn words(&self) -> &[(String, Categories)] {
        &self.words
    }

    /// What applies to all other sources.
    pub fn rest(&self) -> Categories {
        self.rest
    }

    /// The categories for a source, by its tag and labels.
    pub fn of(&self, hint: &[u8]) -> Categories {
        let head = hint.get(..MAX_HINT_BYTES).unwrap_or(hint).to_ascii_lowercase();
        let named = self.words.iter().filter(|(word, _)| has_word(&head, word.as_bytes()));
        let named = named.map(|(_, categories)| *categories).reduce(Categories::union);
        let known = || self.knows_programs.then(|| Categories::from_hint(hint)).flatten();
        named.or_else(known).unwrap_or(self.rest)
    }
}

/// Whether the word stands in the text with no letter or digit beside it.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let after = text.get(at.saturating_add(word.len()));
        !before.is_some_and(u8::is_ascii_alphanumeric) && !after.is_some_and(u8::is_ascii_alphanumeric)
    })
}

/// Programs that are known by name, and what each is concerned with beside system and security.
pub const PROGRAMS: &[(&[&str], Categories)] = &[
    (
        &["sshd", "sudo", "su", "kernel", "systemd", "cron", "crond", "auditd", "polkitd", "sssd", "logind"],
        Categories::SYSTEM,
    ),
    (&["smartd", "mdadm", "zed", "smbd", "rsync", "borg", "restic"], Categories::MEDIA),
    (
        &["nginx", "httpd", "haproxy", "traefik", "envoy", "caddy", "squid", "varnish"],
        Categories::NETWORK.union(Categories::APPLICATION),
    ),
    (
        &[
            "named",
            "unbound",
            "dnsmasq",
            "coredns",
            "dhclient",
            "dhcpd",
            "networkmanager",
            "openvpn",
            "wireguard",
            "hostapd",
            "chronyd",
            "ntpd",
        ],
        Categories::NETWORK,
    ),
    (
        &[
            "postgres",
            "postgresql",
            "mysqld",
            "mysql",
            "mariadb",
            "mongod",
            "mongodb",
            "redis",
            "kafka",
            "rabbitmq",
            "elasticsearch",
            "zookeeper",
            "hdfs",
            "spark",
        ],
        Categories::APPLICATION.union(Categories::NETWORK),
    ),
    (&["dockerd", "containerd", "kubelet", "crio", "etcd"], Categories::DOCKER.union(Categories::NETWORK)),
    (
        &[
            "plex",
            "jellyfin",
            "emby",
            "sonarr",
            "radarr",
            "lidarr",
            "bazarr",
            "prowlarr",
            "sabnzbd",
            "qbittorrent",
            "transmission",
            "ffmpeg",
            "tautulli",
        ],
        Categories::MEDIA.union(Categories::APPLICATION).union(Categories::NETWORK),
    ),
];

/// What one known program is concerned with.
fn concern(word: &[u8]) -> Option<Categories> {
    PROGRAMS
        .iter()
        .find(|(names, _)| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())))
        .map(|(_, categories)| *categories)
}

#[cfg(test)]
mod tests {
    use super::{Categories, Selection};

    fn selection(entries: &[&str]) -> Result<Selection, String> {
        Selection::new(&entries.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

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
    fn a_users_words_win_over_known_programs() {
        let chosen =
            selection(&["auto", "nginx=security", "Cart-1=application+network", "*=system"]).unwrap();
        let has =
            |hint: &str, category: &str| chosen.of(hint.as_bytes()).intersects(Categories::of(category));
        assert!(has("kube.nginx-7d4", "security") && !has("kube.nginx-7d4", "network"));
        assert!(has("app.CART-1\nhost", "application") && !has("app.cart-1", "system"));
        assert!(!has("app.cart-10", "application"), "part of another word");
        assert!(has("postgres", "application"), "known as before");
        assert!(has("whatever", "system") && !has("whatever", "media"));
        assert!(has("whatever", "ours") && has("nginx", "ours"), "a user's own categories always apply");
    }

    #[test]
    fn all_and_none_of_the_words_apply_everything() {
        assert_eq!(selection(&["all"]).unwrap().of(b"sshd"), Categories::ALL);
        assert_eq!(selection(&[]).unwrap().of(b"sshd"), Categories::ALL);
        assert_eq!(selection(&["auto"]).unwrap().of(b"never heard of"), Categories::ALL);
        assert_eq!(selection(&["auto"]).unwrap().of(b"sshd"), Categories::from_hint(b"sshd").unwrap());
        assert_eq!(selection(&["shop=media"]).unwrap().of("x".repeat(100_000).as_bytes()), Categories::ALL);
    }

    #[test]
    fn what_is_no_selection_is_explained() {
        for (entries, wanted) in [
            (&["security"][..], "`security` is none of auto, all alone"),
            (&["auto", "all"], "`all` is none of auto, all alone"),
            (&["shop=securty"], "`securty` is not a built-in category; did you mean `security`?"),
            (&["shop=pottery-wheels"], "rules of your own categories always apply"),
            (&["shop="], "`` is not a built-in category"),
            (&["=media"], "has no word before the `=`"),
        ] {
            let told = selection(entries).unwrap_err();
            assert!(told.contains(wanted), "{entries:?}: {told}");
        }
        assert!(selection(&["a=media"; 64]).is_ok());
        assert!(selection(&["a=media"; 65]).unwrap_err().contains("more than the limit of 64"));
        assert!(selection(&["a=media"; 640]).is_err());
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
