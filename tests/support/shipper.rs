//! A real Fluent Bit and a real sidecar in a temporary folder. Takes a shipped configuration's name; gives the records
//! that came out of it.

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

/// One configuration, running.
pub(crate) struct Run {
    folder: tempfile::TempDir,
    ports: [u16; 5],
    mode: String,
    fluent_bit: PathBuf,
    sidecar: Option<Child>,
    shipper: Child,
    _turn: MutexGuard<'static, ()>,
}

impl Run {
    /// Starts the sidecar, and Fluent Bit with the configuration once the sidecar lives.
    pub(crate) fn start(fluent_bit: &Path, configuration: &str, mode: &str) -> Run {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["advice", "buffer", "out", "state"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("input.log"), b"").unwrap();
        let options = format!("advice_dir = \"{}\"\n", at("advice").display());
        fs::write(at("advice").join("oddline.toml"), options).unwrap();
        let ports = free_ports();
        let text = with_values(configuration, &folder, ports);
        fs::write(at("fluent-bit.yaml"), text).unwrap();
        let sidecar = sidecar(folder.path(), ports, mode);
        let shipper = shipper(fluent_bit, folder.path());
        let (fluent_bit, mode) = (fluent_bit.to_owned(), mode.to_owned());
        Run { folder, ports, mode, fluent_bit, sidecar: Some(sidecar), shipper, _turn: turn }
    }

    /// Appends records of these sequence numbers to the log that is tailed.
    pub(crate) fn write(&self, lines: &[&str], range: Range<usize>) {
        let mut input = fs::OpenOptions::new().append(true).open(self.at("input.log")).unwrap();
        let line = |number: usize| format!("{} seq={number}\n", lines[number % lines.len()]);
        input.write_all(range.map(line).collect::<String>().as_bytes()).unwrap();
    }

    /// Waits until so many records are out.
    pub(crate) fn wait_for(&mut self, records: usize) {
        self.wait_until("records pass", |found| found.len() >= records * 8 / 10);
    }

    /// Waits until what is out is as it should be.
    pub(crate) fn wait_until(&mut self, what: &str, enough: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.records()) {
            let ended = self.shipper.try_wait().unwrap();
            assert!(ended.is_none(), "fluent-bit ended with {ended:?}:\n{}", self.logs());
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}; {}", self.logs());
            std::thread::park_timeout(Duration::from_millis(50));
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
        self.sidecar = Some(sidecar(self.folder.path(), self.ports, &self.mode));
    }

    /// As power failure would; what the kernel was given stays.
    pub(crate) fn kill_shipper(&mut self) {
        self.shipper.kill().unwrap();
        self.shipper.wait().unwrap();
    }

    /// Starts it again, on the same buffers and ports.
    pub(crate) fn start_shipper(&mut self) {
        self.shipper = shipper(&self.fluent_bit, self.folder.path());
    }

    /// Ends all and gives what came out.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.end();
        self.records()
    }

    fn end(&mut self) {
        self.kill_sidecar();
        let _ = self.shipper.kill();
        let _ = self.shipper.wait();
    }

    /// What the file output has written so far: one record a line; the last may be half there.
    fn records(&self) -> Vec<Value> {
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
        let count = self.records().len();
        format!("{count} records out\n{}\n-- sidecar\n{}", tail("fluent-bit.log"), tail("sidecar.log"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

/// The configuration with this folder, these ports and the built filters in it.
fn with_values(configuration: &str, folder: &tempfile::TempDir, ports: [u16; 5]) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fluentbit-config/{configuration}.yaml"));
    let text = fs::read_to_string(path).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let values = [
        ("ODDLINE_PORT", ports[0].to_string()),
        ("ODDLINE_RETURN_PORT", ports[1].to_string()),
        ("ODDLINE_MONITOR_PORT", ports[2].to_string()),
        ("ODDLINE_INPUT", at("input.log")),
        ("ODDLINE_OUTPUT", at("out")),
        ("ODDLINE_BUFFER_DIR", at("buffer")),
        ("ODDLINE_ADVICE_DIR", at("advice")),
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (name, value) in values {
        let line = lines.iter_mut().find(|line| line.starts_with(&format!("  {name}: ")));
        *line.unwrap_or_else(|| panic!("{configuration}.yaml does not set {name}")) =
            format!("  {name}: {value}");
    }
    let mut text = lines.join("\n") + "\n";
    for (path, variable) in [
        ("/usr/lib/oddline/flb-filter_oddline.so", "ODDLINE_NATIVE_FILTER"),
        ("/usr/lib/oddline/oddline.wasm", "ODDLINE_WASM_FILTER"),
    ] {
        if text.contains(path) {
            text = text.replace(path, &acceptance::built(variable));
        }
    }
    text
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

fn shipper(fluent_bit: &Path, folder: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("fluent-bit.log")).unwrap();
    Command::new(fluent_bit)
        .current_dir(folder)
        .arg("-c")
        .arg(folder.join("fluent-bit.yaml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Starts `oddline run` and waits for its heartbeat.
fn sidecar(folder: &Path, ports: [u16; 5], mode: &str) -> Child {
    let loopback = |port: u16| format!("127.0.0.1:{port}");
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("sidecar.log")).unwrap();
    let mut child = Command::new(acceptance::built("ODDLINE_BIN"))
        .arg("run")
        .current_dir(folder)
        .env("ODDLINE__FORWARD__LISTEN", loopback(ports[0]))
        .env("ODDLINE__RETURN__ADDRESS", loopback(ports[1]))
        .env("ODDLINE__HTTP__LISTEN", loopback(ports[3]))
        .env("ODDLINE__ADMIN__LISTEN", loopback(ports[4]))
        .env("ODDLINE__STATE__DIR", folder.join("state"))
        .env("ODDLINE__ADVICE__DIR", folder.join("advice"))
        .env("ODDLINE__ENGINE__MODE", mode)
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

/// Ports that nobody listens on just now.
fn free_ports() -> [u16; 5] {
    let listeners = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
