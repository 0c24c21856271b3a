//! `oddline run` as a process of its own: started, killed, restarted on the same addresses, asked to stop.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use crate::shipper::eventually;

/// The program under test.
pub(crate) fn program() -> String {
    let program = std::env::var("ODDLINE_BIN").unwrap_or_default();
    assert!(
        Path::new(&program).is_file(),
        "ODDLINE_BIN is `{program}`, no file: run `cargo xtask test`, which builds the program first"
    );
    program
}

/// A port that was free a moment ago; the sidecar is restarted on it, so it cannot choose one itself.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A running one. Its listeners stay where they are when it is started again.
pub(crate) struct Program {
    child: Child,
    pub(crate) forward: String,
    pub(crate) http: String,
    pub(crate) admin: String,
    folder: PathBuf,
    settings: Vec<String>,
}

/// `oddline` with a command, its state in `folder`; `before` is shell that runs first.
pub(crate) fn command(before: &str, command: &str, folder: &Path, settings: &[String]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before} exec \"$0\" \"$@\""), &program(), command]);
    for setting in settings {
        shell.args(["--set", setting]);
    }
    shell.env_clear().env("ODDLINE__STATE__DIR", folder).stdin(Stdio::null()).stderr(Stdio::piped());
    shell
}

impl Program {
    /// With `settings` of the test's own.
    pub(crate) fn start(before: &str, folder: &Path, back: &str, settings: &[String]) -> Program {
        let (forward, http, admin) = (free_address(), free_address(), free_address());
        let mut all = vec![
            format!("forward.listen={forward}"),
            format!("http.listen={http}"),
            format!("admin.listen={admin}"),
            "vector.listen=".to_owned(),
            format!("return.address={back}"),
        ];
        all.extend_from_slice(settings);
        let child = spawn(before, folder, &all);
        Program { child, forward, http, admin, folder: folder.to_owned(), settings: all }
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn("", &self.folder, &self.settings);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    pub(crate) async fn is_up(&self) {
        eventually("the program listens", || std::net::TcpStream::connect(&self.admin).is_ok()).await;
    }

    pub(crate) fn resident_kilobytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn spawn(before: &str, folder: &Path, settings: &[String]) -> Child {
    command(before, "run", folder, settings).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small generator of its own: the same moments in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
