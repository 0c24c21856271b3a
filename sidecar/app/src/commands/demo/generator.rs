//! Realistic mixed logs with faults in them. Takes a seed, gives the same lines every time.

/// One line of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DemoLine {
    /// Who says it.
    pub(super) service: &'static str,
    /// What.
    pub(super) message: String,
}

/// The generator: a small linear congruential one is random enough for log lines (Knuth's MMIX constants).
#[derive(Clone, Debug)]
pub(super) struct Generator {
    state: u64,
}

/// A service and a shape of what it says; `#` is a number below the bound, `@` a user, `%` an address.
const ORDINARY: &[(&str, &str, u64)] = &[
    ("auth", "INFO: User '@' logged in from IP %", 1),
    ("auth", "INFO: User '@' logged out", 1),
    ("auth", "INFO: Session refreshed for user '@'", 1),
    ("auth", "INFO: Password changed for user '@'", 1),
    ("shop", "INFO: GET /api/items/# answered 200 in # ms", 90),
    ("shop", "INFO: POST /api/cart answered 201 in # ms", 60),
    ("shop", "INFO: order # placed by user '@', # items", 9_000),
    ("shop", "INFO: cache hit ratio is # percent", 99),
    ("shop", "DEBUG: rendered template item.html in # ms", 20),
    ("payments", "INFO: payment # authorised for order #", 90_000),
    ("payments", "INFO: settlement batch # closed with # payments", 400),
    ("database", "LOG: checkpoint complete: wrote # buffers in # s", 300),
    ("database", "LOG: automatic vacuum of table \"orders\": # pages removed", 80),
    ("database", "LOG: connection authorized: user=shop database=shop", 1),
    ("proxy", "% \"GET /static/app.js\" 200 # bytes", 9_000),
    ("proxy", "% \"GET /api/items\" 200 # bytes", 4_000),
    ("proxy", "% \"GET /favicon.ico\" 304 # bytes", 1),
    ("kernel", "eth0: link is up at # Mbps", 1_000),
    ("cron", "job rotate-logs finished in # s", 30),
    ("kubelet", "Pulled image registry.local/shop:# in # ms", 900),
    ("kubelet", "Readiness probe of pod shop-# succeeded", 9),
];

/// What goes wrong, at which of the played lines, and how often in a row.
const FAULTS: &[(usize, &str, &str, usize)] = &[
    (20, "auth", "INFO: User 'guest' logged in from IP 192.168.1.50", 1),
    (30, "database", "CRITICAL: Failed to connect to primary database after 5 retries.", 1),
    (45, "kernel", "Out of memory: Killed process 4711 (java) total-vm:8123456kB, anon-rss:7654321kB", 1),
    (60, "shop", "INFO: GET /api/items/77 answered 200 in 48211 ms", 1),
    (75, "proxy", "203.0.113.9 \"GET /download?file=../../../../etc/passwd\" 404 162 bytes", 1),
    (90, "auth", "WARN: Failed password for root from 203.0.113.9 port 50022 ssh2", 14),
    (110, "shop", "INFO: User 'nina' logged out of the shop", 1),
    (125, "payments", "settlement partner returned a certificate that expired yesterday", 1),
    (140, "database", "PANIC: could not write to file \"pg_wal/xlogtemp.812\": No space left on device", 1),
    (150, "kubelet", "Back-off restarting failed container shop in pod shop-7", 1),
];

impl Generator {
    /// A generator; the same seed gives the same lines.
    pub(super) fn new(seed: u64) -> Generator {
        Generator { state: seed }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound.max(1)
    }

    /// An ordinary line.
    pub(super) fn ordinary(&mut self) -> DemoLine {
        let (service, shape, bound) = ORDINARY[self.below(ORDINARY.len() as u64) as usize];
        let mut message = String::new();
        for c in shape.chars() {
            match c {
                '#' => message.push_str(&(1 + self.below(bound)).to_string()),
                '@' => {
                    message.push_str(["alice", "bob", "chen", "dora", "emil", "nina"][self.below(6) as usize])
                }
                '%' => message.push_str(&format!("10.0.{}.{}", self.below(8), 1 + self.below(250))),
                c => message.push(c),
            }
        }
        DemoLine { service, message }
    }

    /// The stream that is played: 180 ordinary lines with faults between them.
    pub(super) fn stream(&mut self) -> Vec<DemoLine> {
        let mut lines = Vec::new();
        for place in 0..180 {
            for (_, service, message, times) in FAULTS.iter().filter(|(at, ..)| *at == place) {
                let fault = DemoLine { service, message: (*message).to_owned() };
                lines.extend(std::iter::repeat_n(fault, *times));
            }
            lines.push(self.ordinary());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_with_every_fault() {
        let stream = Generator::new(7).stream();
        assert_eq!(stream, Generator::new(7).stream());
        assert_ne!(stream, Generator::new(8).stream());
        for (_, _, message, times) in FAULTS {
            assert!(stream.iter().filter(|line| line.message == *message).count() >= *times, "{message}");
        }
    }
}
