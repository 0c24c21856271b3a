//! `cargo xtask bench`: every speed that the README names, measured in one run. Takes what the benches print, one JSON
//! line each; gives a table with the machine, or the lines as they are.

use std::process::Stdio;

use anyhow::Context as _;

use crate::artifacts;
use crate::step::{say, shown};
use crate::wasm;
use crate::workspace::Workspace;

/// How the figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON line a bench.
    Json,
}

/// Package, kind (`--bench` or `--example`) and name.
const BENCHES: [(&str, &str, &str); 8] = [
    ("oddline-engine", "--bench", "observe"),
    ("oddline-engine", "--bench", "compile"),
    ("acceptance", "--bench", "peers"),
    ("oddline-component-host", "--bench", "observe"),
    ("oddline-backends", "--bench", "figures"),
    ("acceptance", "--bench", "sidecar"),
    ("acceptance", "--bench", "fluent_bit"),
    ("acceptance", "--bench", "vector"),
];

/// Builds everything first, then measures one after the other with nothing else running.
pub(crate) fn run(workspace: &Workspace, source: wasm::Source, format: Format) -> anyhow::Result<()> {
    let toolchain = crate::setup::wasm_toolchain(workspace, source)?;
    let environment = [
        ("ODDLINE_NATIVE_FILTER", artifacts::native_filter(workspace)?),
        ("ODDLINE_WASM_FILTER", artifacts::wasm_filter(workspace, &toolchain)?),
        ("ODDLINE_LUA_MODULE", artifacts::lua_module(workspace)?),
        ("ODDLINE_DETECTOR", artifacts::detector(workspace, &toolchain)?),
        ("ODDLINE_EXAMPLE_DETECTOR", artifacts::example_detector(workspace, &toolchain)?),
        ("ODDLINE_BIN", artifacts::oddline_release(workspace)?),
    ];
    let mut figures = Vec::new();
    for (package, kind, name) in BENCHES {
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "-p", package, kind, name]).envs(environment.iter().cloned());
        let line = shown(&cargo);
        say(&format!("$ {line}"));
        let output =
            cargo.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{line}`"))?;
        anyhow::ensure!(output.status.success(), "`{line}` ended with {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        figures.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let machine = machine();
    match format {
        Format::Json => {
            say(&serde_json::json!({ "bench": "machine", "what": machine }).to_string());
            figures.iter().for_each(|line| say(line));
        }
        Format::Table => {
            say(&format!("\n{machine}\n"));
            figures.iter().for_each(|line| say(&table(line)));
        }
    }
    Ok(())
}

/// `name: key value, key value` for a JSON line; anything else as it is.
fn table(line: &str) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) else { return line.to_owned() };
    let name = fields.get("bench").and_then(serde_json::Value::as_str).unwrap_or("bench").to_owned();
    let rows = fields.iter().filter(|(key, _)| *key != "bench");
    let rows: Vec<String> = rows.map(|(key, value)| format!("  {key:<24} {value}")).collect();
    format!("{name}\n{}", rows.join("\n"))
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!(
        "{} x {}, oddline {}, Unix time {seconds}",
        cores,
        model.trim_start_matches([' ', '\t', ':']),
        env!("CARGO_PKG_VERSION")
    )
}
