//! A real shipper and a real sidecar in a temporary folder. Takes a shipped configuration's name; gives the records that
//! came out of it. What only Fluent Bit or only Vector needs is in a file of its own.

#[path = "shipper/fluent_bit.rs"]
mod fluent_bit;
#[path = "shipper/vector.rs"]
mod vector;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// One at a time: each run is several processes, and their deadlines are real.
static TURN: Mutex<()> = Mutex::new(());

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Begins what is logged to find out whether the detour is open; no record of a story.
const PROBE: &str = "CRITICAL: is the way open";

/// A program that ships logs.
#[derive(Clone, Debug)]
pub(crate) enum Shipper {
    FluentBit(PathBuf),
    Vector(PathBuf),
}

/// Ports of one run, none of which anybody listened on a moment ago.
#[derive(Clone, Copy, Debug)]
struct Ports {
    /// The sidecar's ways in, and its own page.
    forward: u16,
    grpc: u16,
    http: u16,
    admin: u16,
    /// The shipper's return input, its input for rows, and its own metrics or counts.
    back: u16,
    rows: u16,
    monitor: u16,
}

/// One configuration, running.
pub(crate) struct Run {
    folder: tempfile::TempDir,
    ports: Ports,
    mode: String,
    /// Whether it holds records in memory for a moment that it has taken out of the stream.
    keeps_in_memory: bool,
    /// The logs that it tails.
    inputs: &'static [&'static str],
    shipper: Shipper,
    sidecar: Option<Child>,
    process: Child,
    /// How many lines were logged to find out whether the detour is open.
    probes: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Run {
    /// Starts the sidecar, and the shipper with the configuration once the sidecar lives; Fluent Bit's wasm filter as it is
    /// `compiled` ahead of time, if that is named.
    pub(crate) fn start(shipper: &Shipper, configuration: &str, mode: &str, compiled: Option<&str>) -> Run {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["advice", "buffer", "out", "state"] {
            fs::create_dir(at(name)).unwrap();
        }
        // One file sets two inputs up.
        let both = &["input.log", "second.log"];
        let inputs = if configuration == "native-divert-processors" { &both[..] } else { &both[..1] };
        inputs.iter().for_each(|name| fs::write(at(name), b"").unwrap());
        let ports = Ports::free();
        match shipper {
            Shipper::FluentBit(_) => fluent_bit::configure(configuration, compiled, folder.path(), &ports),
            Shipper::Vector(_) => vector::configure(configuration, mode, folder.path(), ports.of_vector()),
        }
        let sidecar = sidecar(folder.path(), &ports, mode);
        let process = shipper.spawn(folder.path());
        let keeps_in_memory = configuration == "native-divert";
        let (shipper, mode) = (shipper.clone(), mode.to_owned());
        let mut run = Run {
            folder,
            ports,
            mode,
            keeps_in_memory,
            inputs,
            shipper,
            sidecar: Some(sidecar),
            process,
            probes: 0,
            _turn: turn,
        };
        if matches!(run.shipper, Shipper::Vector(_)) {
            run.wait_for_the_detour();
        }
        run
    }

    /// Appends records of these sequence numbers to the logs that are tailed, to one after the other. `{letters}` is the
    /// number in letters: a new message every time.
    pub(crate) fn write(&self, lines: &[&str], range: Range<usize>) {
        let line = |number: usize| {
            let text = lines[number % lines.len()].replace("{letters}", &letters(number));
            format!("{text} seq={number}\n")
        };
        for (place, name) in self.inputs.iter().enumerate() {
            let its_own = range.clone().filter(|number| number % self.inputs.len() == place);
            self.append(name, &its_own.map(line).collect::<String>());
        }
    }

    fn append(&self, name: &str, text: &str) {
        let mut input = fs::OpenOptions::new().append(true).open(self.at(name)).unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until so many records are out.
    pub(crate) fn wait_for(&mut self, records: usize) {
        self.wait_until("records pass", |found| found.len() >= records * 8 / 10);
    }

    /// Waits until what is out is as it should be.
    pub(crate) fn wait_until(&mut self, what: &str, enough: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.records()) {
            self.wait_a_little(what, deadline);
        }
    }

    fn wait_a_little(&mut self, what: &str, deadline: Instant) {
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "the shipper ended with {ended:?}:\n{}", self.logs());
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}; {}", self.logs());
        std::thread::park_timeout(Duration::from_millis(50));
    }

    /// Logs lines of ever new words until one of them has visited the sidecar: Vector hears of it some time after it started.
    fn wait_for_the_detour(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut probes: Vec<String> = Vec::new();
        for turn in 0usize.. {
            if turn.is_multiple_of(8) {
                probes.push(format!("{PROBE} {}", letters(self.probes)));
                self.append(self.inputs[0], &format!("{}\n", probes[probes.len() - 1]));
                self.probes += 1;
            }
            let is_verdict = |record: &Value| {
                let status = record["anomaly"]["status"].as_str().unwrap_or_default();
                ["confirmed", "cleared"].contains(&status)
                    && texts(record)
                        .into_iter()
                        .flatten()
                        .any(|text| probes.iter().any(|probe| probe == text))
            };
            if self.all_records().iter().any(is_verdict) {
                break;
            }
            self.wait_a_little("the detour opens", deadline);
        }
    }

    /// As power failure would.
    pub(crate) fn kill_sidecar(&mut self) {
        if let Some(mut sidecar) = self.sidecar.take() {
            sidecar.kill().unwrap();
            sidecar.wait().unwrap();
        }
    }

    /// Starts it again, on the same ports and state.
    pub(crate) fn start_sidecar(&mut self) {
        self.sidecar = Some(sidecar(self.folder.path(), &self.ports, &self.mode));
    }

    /// As power failure would; what the kernel was given stays. As a filter, Fluent Bit's `rewrite_tag` gives it what it
    /// takes out of the stream up to 25 ms late (a limit that our README names): not killed before.
    pub(crate) fn kill_shipper(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = None;
        while self.keeps_in_memory {
            let now = fluent_bit::read_and_stored(self.ports.monitor);
            if now.is_some() && now == before {
                break;
            }
            before = now;
            self.wait_a_little("what was taken out of the stream is stored", deadline);
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, on the same buffers and ports. What was logged while it was dead passes before it hears of the
    /// sidecar; what is logged afterwards does not.
    pub(crate) fn start_shipper(&mut self) {
        self.process = self.shipper.spawn(self.folder.path());
        if matches!(self.shipper, Shipper::Vector(_)) {
            self.wait_for_the_detour();
        }
    }

    /// Ends all and gives what came out.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.end();
        self.records()
    }

    fn end(&mut self) {
        self.kill_sidecar();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The story's records that are out so far.
    fn records(&self) -> Vec<Value> {
        let mut records = self.all_records();
        // A probe, or the finding about one.
        let is_probe = |record: &Value| texts(record).into_iter().flatten().any(|it| it.starts_with(PROBE));
        records.retain(|record| record["log"].is_string() || !is_probe(record));
        records
    }

    /// What the file output has written so far: one record a line; the last may be half there.
    fn all_records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.at("out/annotated.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().flat_map(read).collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = fs::read_to_string(self.at(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('{')).collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        let count = self.all_records().len();
        format!("{count} records out\n{}\n-- sidecar\n{}", tail("shipper.log"), tail("sidecar.log"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shipper {
    fn spawn(&self, folder: &Path) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("shipper.log")).unwrap();
        let mut command = match self {
            Shipper::FluentBit(program) => fluent_bit::command(program, folder),
            Shipper::Vector(program) => {
                let mut command = Command::new(program);
                command.args(["--quiet", "--config"]).arg(vector::file(folder));
                command
            }
        };
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }
}

/// What a record says, or what the record said that a finding is about.
fn texts(record: &Value) -> [Option<&str>; 2] {
    [record["message"].as_str(), record["anomaly"]["template"].as_str()]
}

/// A number in letters, which masking leaves alone.
fn letters(number: usize) -> String {
    (0..4).map(|place| char::from(b'a' + (number / 26usize.pow(place) % 26) as u8)).collect()
}

/// The records of one line. A shipper that is killed may leave half a line, to whose end the next start writes on; what
/// was cut comes again as a whole.
fn read(line: &str) -> Vec<Value> {
    if let Ok(record) = serde_json::from_str(line) {
        return vec![record];
    }
    let starts = line.match_indices('{').skip(1).map(|(start, _)| &line[start..]);
    let whole = starts.filter_map(|rest| serde_json::from_str::<Value>(rest).ok());
    whole.filter(|record| record["anomaly"].is_object()).take(1).collect()
}

/// Starts `oddline run` and waits for its heartbeat.
fn sidecar(folder: &Path, ports: &Ports, mode: &str) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("sidecar.log")).unwrap();
    let mut child = Command::new(acceptance::built("ODDLINE_BIN"))
        .arg("run")
        .current_dir(folder)
        .envs(ports.settings())
        .env("ODDLINE__STATE__DIR", folder.join("state"))
        .env("ODDLINE__ADVICE__DIR", folder.join("advice"))
        .env("ODDLINE__ENGINE__MODE", mode)
        .env("XDG_CONFIG_HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let deadline = Instant::now() + PATIENCE;
    let beats = || {
        let text = fs::read_to_string(folder.join("advice/heartbeat")).unwrap_or_default();
        text.trim().parse::<u128>().is_ok_and(|beat| beat > start)
    };
    while !beats() {
        let log = || fs::read_to_string(folder.join("sidecar.log")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "the sidecar ended:\n{}", log());
        assert!(Instant::now() < deadline, "no heartbeat:\n{}", log());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    child
}

impl Ports {
    fn free() -> Ports {
        // All at once, so that none is given twice.
        let listeners = [(); 7].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [forward, grpc, http, admin, back, rows, monitor] =
            listeners.map(|listener| listener.local_addr().unwrap().port());
        Ports { forward, grpc, http, admin, back, rows, monitor }
    }

    fn of_vector(&self) -> vector::Listeners {
        vector::Listeners {
            grpc: self.grpc,
            http: self.http,
            back: self.back,
            rows: self.rows,
            counts: self.monitor,
        }
    }

    /// The sidecar's settings: whichever shipper it is, it is found behind the same port.
    fn settings(&self) -> [(&'static str, String); 9] {
        let loopback = |port: u16| format!("127.0.0.1:{port}");
        let back = loopback(self.back);
        [
            ("ODDLINE__FORWARD__LISTEN", loopback(self.forward)),
            ("ODDLINE__RETURN__ADDRESS", back.clone()),
            ("ODDLINE__VECTOR__LISTEN", loopback(self.grpc)),
            ("ODDLINE__VECTOR__RETURN", format!("http://{back}")),
            ("ODDLINE__VECTOR__HTTP_RETURN", format!("http://{back}/")),
            ("ODDLINE__VECTOR__ROWS", format!("http://{}/", loopback(self.rows))),
            ("ODDLINE__VECTOR__COUNTS", format!("http://{}/metrics", loopback(self.monitor))),
            ("ODDLINE__HTTP__LISTEN", loopback(self.http)),
            ("ODDLINE__ADMIN__LISTEN", loopback(self.admin)),
        ]
    }
}
