//! Every command that a README shows is run: takes the shell blocks of all READMEs; a block's commands run in their order, in
//! a folder that holds the files they name, with a sidecar beside them where they talk to one. What other tests or
//! people run is listed here with who does.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Commands that are not run here, by how they begin, and who runs them.
const ELSEWHERE: [(&str, &str); 13] = [
    ("cargo xtask demo", "builds everything anew; demo.rs runs the program behind it"),
    ("cargo xtask test", "runs this test"),
    ("cargo xtask plugin", "`cargo xtask test` builds the same before its tests"),
    ("cargo xtask component", "likewise"),
    ("ODDLINE=target/debug/oddline ", "examples.rs"),
    ("cargo build --release --target wasm32-unknown-unknown", "`cargo xtask test`, for examples.rs"),
    ("cd ../..", "examples.rs"),
    ("flb-wamrc ", "`cargo xtask test`, where WAMR's compiler is"),
    ("cargo install ", "by hand: tools that the product does not need"),
    ("cargo deny ", "likewise"),
    ("cargo run -p oddline-oracles ", "likewise"),
    ("cd tests/fuzz", "likewise"),
    ("RUSTC_BOOTSTRAP=1 cargo fuzz ", "likewise"),
];
/// Where a sidecar answers HTTP in the READMEs.
const HTTP: &str = "127.0.0.1:24286";
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn commands_in_readmes_run() {
    let (mut ran, mut faults) = (0, Vec::new());
    for readme in readmes() {
        let commands = commands(&fs::read_to_string(&readme).unwrap());
        let here: Vec<_> = commands.iter().filter(|command| !is_run_elsewhere(command)).collect();
        if here.is_empty() {
            continue;
        }
        let mut place = Place::new();
        for command in here {
            ran += 1;
            if let Err(fault) = place.run(command) {
                faults.push(format!("{}: `{command}`: {fault}", readme.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(ran >= 20, "only {ran} commands were found");
}

#[test]
fn what_is_run_elsewhere_stands_in_a_readme_and_exists() {
    let all: Vec<_> =
        readmes().iter().flat_map(|path| commands(&fs::read_to_string(path).unwrap())).collect();
    for command in all.iter().filter_map(|command| command.strip_prefix("cargo xtask ")) {
        let words: Vec<&str> =
            command.split_whitespace().take_while(|word| *word != "#" && *word != "--").collect();
        let help =
            Command::new(acceptance::built("ODDLINE_XTASK")).args([words[0], "--help"]).output().unwrap();
        assert!(help.status.success(), "there is no `cargo xtask {}`", words[0]);
        let text = String::from_utf8_lossy(&help.stdout);
        let unknown = words.iter().find(|word| word.starts_with("--") && !text.contains(**word));
        assert_eq!(unknown, None, "`cargo xtask {command}`");
    }
    let stale = ELSEWHERE.iter().filter(|(begin, _)| !all.iter().any(|it| it.starts_with(begin)));
    assert_eq!(stale.map(|(begin, _)| *begin).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn commands_are_read_from_shell_blocks_only() {
    let text = "`oddline no`\n```sh\n# a comment\n$ A=1 oddline demo   # and why\n\ncurl -d '{}' \\\n  \
                http://there/\n```\n```yaml\noddline run\n```\n```\noddline no\n```\n";
    assert_eq!(commands(text), ["A=1 oddline demo   # and why", "curl -d '{}' http://there/"]);
}

fn is_run_elsewhere(command: &str) -> bool {
    ELSEWHERE.iter().any(|(begin, _)| command.starts_with(begin))
}

/// The commands of the fenced shell blocks, one a line; a line that ends in a backslash goes on in the next.
fn commands(text: &str) -> Vec<String> {
    let (mut is_shell, mut whole) = (None, String::new());
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            let opens = || matches!(language, "sh" | "bash" | "console");
            is_shell = if is_shell.is_some() { None } else { Some(opens()) };
        } else if is_shell == Some(true) && !line.is_empty() && !line.starts_with('#') {
            let line = line.trim_start_matches("$ ");
            match line.strip_suffix('\\') {
                Some(begin) => whole.push_str(begin),
                None => found.push(std::mem::take(&mut whole) + line),
            }
        }
    }
    found
}

/// The READMEs of the project, without what is built.
fn readmes() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let is_ours = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || name == "target")
    };
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(is_ours);
    let paths = entries.map(|entry| entry.unwrap().into_path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "md")).collect()
}

/// A machine as the READMEs see it, in a folder.
struct Place {
    folder: tempfile::TempDir,
    environment: BTreeMap<&'static str, String>,
    http: SocketAddr,
    admin: SocketAddr,
    sidecar: Option<Sidecar>,
}

impl Place {
    /// With every file that a README names.
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for made in
            ["bin", "etc/oddline/rules", "etc/vector", "var/log", "sigma/rules/web", "target/plugin-dist"]
        {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        let quiet: String = (0..400).map(|n| format!("INFO request {n} served in {} ms\n", n % 40)).collect();
        let fault = "CRITICAL: Failed to connect to primary database after 5 retries.\n";
        for (path, text) in [
            ("good-build.log", quiet.clone()),
            ("good.log", quiet.clone()),
            ("failed-build.log", quiet.clone() + fault),
            ("var/log/app.log", quiet.clone() + fault),
            ("var/log/syslog.1", quiet + fault),
            ("oddline.toml", "[engine]\nsigma = 5\n".to_owned()),
            ("etc/oddline/rules/ours.toml", RULE.to_owned()),
            ("sigma/rules/web/traversal.yml", SIGMA.to_owned()),
        ] {
            fs::write(root.join(path), text).unwrap();
        }
        for packed in ["failed-build.log", "var/log/app.log", "var/log/syslog.1"] {
            assert!(Command::new("gzip").arg("--keep").arg(root.join(packed)).status().unwrap().success());
        }
        for (variable, path) in [
            ("ODDLINE_BIN", "bin/oddline"),
            ("ODDLINE_DETECTOR", "target/plugin-dist/oddline-detector.wasm"),
            ("ODDLINE_EXAMPLE_DETECTOR", "slow_requests.wasm"),
        ] {
            let built = fs::canonicalize(acceptance::built(variable)).unwrap();
            std::os::unix::fs::symlink(built, root.join(path)).unwrap();
        }
        let [http, admin, forward, vector] = [(); 4].map(|()| free_address());
        let path = std::env::var("PATH").unwrap_or_default();
        let environment = BTreeMap::from([
            ("PATH", format!("{}:{path}", root.join("bin").display())),
            ("HOME", root.join("home").display().to_string()),
            ("ODDLINE__HTTP__LISTEN", http.to_string()),
            ("ODDLINE__ADMIN__LISTEN", admin.to_string()),
            ("ODDLINE__FORWARD__LISTEN", forward.to_string()),
            ("ODDLINE__VECTOR__LISTEN", vector.to_string()),
            ("ODDLINE__STATE__DIR", root.join("state").display().to_string()),
        ]);
        Place { folder, environment, http, admin, sidecar: None }
    }

    /// Runs one command to its end, or a sidecar until it is ready, and asks it to stop.
    fn run(&mut self, command: &str) -> Result<(), String> {
        if command.starts_with("curl ") && !has_curl() {
            acceptance::skipped("commands_in_readmes_run", &format!("no curl for `{command}`"));
            return Ok(());
        }
        if command.starts_with("oddline run") {
            let mut sidecar = self.sidecar(command)?;
            let status = sidecar.stop();
            return if status.success() { Ok(()) } else { Err(format!("ends with {status}")) };
        }
        if command.contains(HTTP) && self.sidecar.is_none() {
            self.sidecar = Some(self.sidecar("oddline run")?);
        }
        let output = self.shell(&self.here(command)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let is_well = output.status.success() && !(command.contains(HTTP) && said.contains("\"error\""));
        if is_well { Ok(()) } else { Err(format!("{}\n{said}", output.status)) }
    }

    /// The command with this place's paths, program and addresses.
    fn here(&self, command: &str) -> String {
        let root = self.folder.path().display();
        let command = command.replace("cargo run -p oddline -- ", "oddline ");
        let command = command.replace(HTTP, &self.http.to_string()).replace("curl ", "curl -sS ");
        ["/etc/", "/var/"]
            .iter()
            .fold(command, |command, path| command.replace(&format!(" {path}"), &format!(" {root}{path}")))
    }

    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(self.folder.path()).stdin(Stdio::null());
        shell.env_clear().envs(&self.environment);
        shell
    }

    fn sidecar(&self, command: &str) -> Result<Sidecar, String> {
        let script = format!("exec {}", self.here(command));
        let child = self.shell(&script).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut sidecar = Sidecar(child);
        let deadline = Instant::now() + PATIENCE;
        let request = "GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        while !acceptance::exchange(self.admin, request)
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            if let Some(status) = sidecar.0.try_wait().unwrap() {
                return Err(format!("ends with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("is not ready after {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(sidecar)
    }
}

struct Sidecar(Child);

impl Sidecar {
    fn stop(&mut self) -> std::process::ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_curl() -> bool {
    Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success())
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A rule of the user's own.
const RULE: &str = r#"
category = "application"

[[rules]]
name = "PUMP_BLOCKED"
pattern = 'pump \d+ is blocked'
score = 6
match = ['pump 7 is blocked']
miss = ['pump 7 runs']
"#;

/// A rule of somebody else's, to import.
const SIGMA: &str = "
title: Path traversal
status: test
logsource:
    category: webserver
detection:
    keywords:
        - '../../../../etc/passwd'
    condition: keywords
level: high
";
