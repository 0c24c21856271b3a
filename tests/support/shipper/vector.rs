//! Vector's part of a run: the shipped configuration with this run's values, the program that `oddline vrl` writes, and
//! the command line. Since 0.57 Vector takes nothing from the environment, so values are written into the file.
//! Knows no run: the test of the configurations uses it too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Ports of one run: the sidecar's two ways in; Vector's return input, its input for rows and its page of counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listeners {
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    pub(crate) back: u16,
    pub(crate) rows: u16,
    pub(crate) counts: u16,
}

/// Writes the configuration, and what it names, into the folder.
pub(crate) fn configure(configuration: &str, mode: &str, folder: &Path, ports: Listeners) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vector-config");
    let mut text = fs::read_to_string(shipped.join(format!("{configuration}.yaml"))).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let loopback = |port: u16| format!("127.0.0.1:{port}");
    for (shipped, here) in [
        ("/etc/vector/oddline.vrl", at("oddline.vrl")),
        ("/var/log/app.log", at("input.log")),
        ("/var/log/annotated.log", at("out/annotated.log")),
        ("/var/lib/vector", at("buffer")),
        ("/var/lib/oddline/advice", at("advice")),
        ("127.0.0.1:24286", loopback(ports.http)),
        ("127.0.0.1:24288", loopback(ports.grpc)),
        ("127.0.0.1:24289", loopback(ports.back)),
        ("127.0.0.1:24290", loopback(ports.rows)),
        ("127.0.0.1:24291", loopback(ports.back)),
        ("127.0.0.1:24292", loopback(ports.counts)),
    ] {
        text = text.replace(shipped, &here);
    }
    if text.contains("/usr/lib/oddline/lua") {
        let module = PathBuf::from(acceptance::built("ODDLINE_LUA_MODULE"));
        text = text.replace("/usr/lib/oddline/lua", &module.parent().unwrap().display().to_string());
    }
    if text.contains("oddline.vrl") {
        write_program(mode, &folder.join("oddline.vrl"));
    }
    fs::write(file(folder), text).unwrap();
}

fn write_program(mode: &str, path: &Path) {
    let output = Command::new(acceptance::built("ODDLINE_BIN"))
        .args(["vrl", "--mode", mode, "--output"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "oddline vrl: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where the configuration was written to.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("vector.yaml")
}
