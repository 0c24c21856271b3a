//! Fluent Bit's part of a run: its configuration with this run's values, and its command line. Fluent Bit prefers what
//! the file's `env` section says to the environment, so the values are written into the file.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use super::Ports;

/// Writes the configuration with this folder, these ports and the built filters in it. `compiled` names the wasm filter
/// compiled ahead of time, where it is to be loaded.
pub(super) fn configure(configuration: &str, compiled: Option<&str>, folder: &Path, ports: &Ports) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fluentbit-config/{configuration}.yaml"));
    let text = fs::read_to_string(path).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let options = format!("advice_dir = \"{}\"\n", at("advice"));
    fs::write(folder.join("advice/oddline.toml"), options).unwrap();
    let values = [
        ("ODDLINE_PORT", ports.forward.to_string()),
        ("ODDLINE_RETURN_PORT", ports.back.to_string()),
        ("ODDLINE_MONITOR_PORT", ports.monitor.to_string()),
        ("ODDLINE_INPUT", at("input.log")),
        ("ODDLINE_SECOND_INPUT", at("second.log")),
        ("ODDLINE_OUTPUT", at("out")),
        ("ODDLINE_BUFFER_DIR", at("buffer")),
        ("ODDLINE_ADVICE_DIR", at("advice")),
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (name, value) in values {
        // Only where a configuration has two.
        if name == "ODDLINE_SECOND_INPUT" && !text.contains(name) {
            continue;
        }
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
            let compiled = compiled.filter(|_| variable == "ODDLINE_WASM_FILTER").map(str::to_owned);
            text = text.replace(path, &compiled.unwrap_or_else(|| acceptance::built(variable)));
        }
    }
    let names = |path: &str| text.contains(&format!("wasm_path: {path}"));
    assert!(compiled.is_none_or(names), "{configuration}.yaml does not load the compiled filter");
    fs::write(file(folder), text).unwrap();
}

pub(super) fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-c").arg(file(folder));
    command
}

fn file(folder: &Path) -> PathBuf {
    folder.join("fluent-bit.yaml")
}

/// How many records the tail input has read, if all that `rewrite_tag` took out of them is in a chunk. Its emitter keeps
/// what it was given in memory for up to 25 ms, whatever its storage is: who is killed then has lost it.
pub(super) fn read_and_stored(monitor: u16) -> Option<u64> {
    let request = "GET /api/v2/metrics/prometheus HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = acceptance::exchange(SocketAddr::from((Ipv4Addr::LOCALHOST, monitor)), request).ok()?;
    let sum = |metric: &str, names: &[&str]| -> u64 {
        let lines = answer.lines().filter(|line| line.starts_with(metric));
        let ours = lines.filter(|line| names.iter().any(|name| line.contains(&format!("name=\"{name}"))));
        ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    };
    let records = |names: &[&str]| sum("fluentbit_input_records_total", names);
    let is_stored =
        sum("fluentbit_filter_emit_records_total", &["rewrite_tag"]) == records(&["to_sidecar", "summary"]);
    Some(records(&["tail"])).filter(|&read| is_stored && read > 0)
}
