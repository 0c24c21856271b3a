//! `cargo xtask bench`: every speed that the README names, measured in one run. Takes what the benches print, one JSON
//! line each, and shows it as soon as it is there: a table, or the lines as they are; at the end, if asked, into the README. A
//! bench that fails costs only its own figures, but then none is written.

mod plan;
mod readme;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;

use crate::artifacts;
use crate::step::{output, print, run as run_step, say, shown};
use crate::wasm;
use crate::workspace::Workspace;
use plan::Artifact;
pub(crate) use plan::Bench;
use readme::Figures;

/// What `--help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  cargo xtask bench
  cargo xtask bench --write
  cargo xtask bench --only engine rules
  cargo xtask bench --only peers --format json > peers.json
  ODDLINE_FLUENT_BIT=/opt/fluent-bit/bin/fluent-bit cargo xtask bench --only fluent-bit

Logs are read from ../shared/data, or from where ODDLINE_DATA says. A bench that finds no logs, Fluent Bit or Vector says so \
and gives no figures. Figures go to standard output, everything else to standard error.";

/// How the figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON line a bench.
    Json,
}

/// Builds everything first, then measures one after the other with nothing else running.
pub(crate) fn run(
    workspace: &Workspace,
    source: wasm::Source,
    only: &[Bench],
    (format, is_written): (Format, bool),
) -> anyhow::Result<()> {
    let benches = plan::selected(only);
    let ready = build(workspace, source, &benches);
    let mut figures = Figures::default();
    let mut tell = |row: &str| {
        figures.take(row);
        show(format, row)
    };
    tell(&serde_json::json!({ "bench": "machine", "what": machine(workspace) }).to_string())?;
    let before = processor_time();
    let mut place = 0_usize;
    let failed = each(&benches, |bench| {
        place += 1;
        say(&format!("== measuring {place} of {}: {}", benches.len(), bench.name()));
        let environment = ready.get(&bench).context("was not built")?;
        let environment = environment.as_ref().map_err(|reason| anyhow::anyhow!("{reason}"))?;
        measure(workspace, bench, environment, &mut tell)
    });
    if let Some(stolen) = before.zip(processor_time()).and_then(|(before, after)| stolen(&before, &after)) {
        tell(&serde_json::json!({ "bench": "meanwhile", "stolen_percent": stolen }).to_string())?;
    }
    match sentence(&failed, benches.len()) {
        None if is_written => figures.write(&workspace.root.join("README.md")),
        None => Ok(()),
        Some(failed) => anyhow::bail!("{failed}"),
    }
}

/// For each bench the variables it is started with, or why it cannot be.
type Ready = BTreeMap<Bench, Result<Vec<(&'static str, PathBuf)>, String>>;

fn build(workspace: &Workspace, source: wasm::Source, benches: &[Bench]) -> Ready {
    let artifacts = plan::needed(benches);
    let total = artifacts.len() + benches.len();
    let toolchain = OnceCell::new();
    let toolchain = || {
        let found = toolchain.get_or_init(|| crate::setup::wasm_toolchain(workspace, source));
        found.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))
    };
    let wasm_filter = || artifacts::wasm_filter(workspace, toolchain()?);
    let mut built = BTreeMap::new();
    for (place, artifact) in artifacts.into_iter().enumerate() {
        say(&format!("== building {} of {total}: {}", place + 1, artifact.name()));
        let path = match artifact {
            Artifact::NativeFilter => artifacts::native_filter(workspace).map(Some),
            Artifact::WasmFilter => wasm_filter().map(Some),
            Artifact::CompiledFilter => {
                wasm_filter().and_then(|wasm| artifacts::compiled_filter(workspace, &wasm))
            }
            Artifact::LuaModule => artifacts::lua_module(workspace).map(Some),
            Artifact::Detector => toolchain().and_then(|it| artifacts::detector(workspace, it)).map(Some),
            Artifact::ExampleDetector => {
                toolchain().and_then(|it| artifacts::example_detector(workspace, it)).map(Some)
            }
            Artifact::Program => artifacts::oddline_release(workspace).map(Some),
        };
        built.insert(artifact, path);
    }
    let mut ready = Ready::new();
    for (place, bench) in benches.iter().enumerate() {
        say(&format!("== building {} of {total}: bench {}", built.len() + place + 1, bench.name()));
        let itself = run_step(workspace.cargo().args(bench.build())).map_err(|error| format!("{error:#}"));
        let environment = bench.needs().iter().filter_map(|artifact| match built.get(artifact) {
            Some(Ok(path)) => Some(Ok((artifact.variable(), path.clone()?))),
            Some(Err(error)) => Some(Err(format!("{} was not built: {error:#}", artifact.name()))),
            None => Some(Err(format!("{} was not built", artifact.name()))),
        });
        ready.insert(*bench, itself.and_then(|()| environment.collect()));
    }
    ready
}

fn measure(
    workspace: &Workspace,
    bench: Bench,
    environment: &[(&str, PathBuf)],
    mut tell: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(bench.start()).envs(environment.iter().cloned()).stdout(Stdio::piped());
    let line = shown(&cargo);
    say(&format!("$ {line}"));
    let mut child = cargo.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let rows = BufReader::new(child.stdout.take().context("its output is not piped")?);
    let mut told = 0_usize;
    let shown = rows.lines().try_for_each(|row| {
        let row = row.with_context(|| format!("cannot read what `{line}` prints"))?;
        if row.trim().is_empty() {
            return Ok(());
        }
        told += 1;
        tell(row.trim())
    });
    if shown.is_err() {
        // Nobody sees its figures, and the next bench is to run alone.
        child.kill()?;
    }
    let status = child.wait()?;
    shown?;
    anyhow::ensure!(status.success(), "`{line}` ended with {status}");
    if told == 0 {
        say(&format!("{} gave no figures: the reason stands above", bench.name()));
    }
    Ok(())
}

/// Runs them all, and gives those that failed with the reason.
fn each(benches: &[Bench], mut run: impl FnMut(Bench) -> anyhow::Result<()>) -> Vec<(Bench, anyhow::Error)> {
    let mut failed = Vec::new();
    for bench in benches {
        if let Err(error) = run(*bench) {
            say(&format!("{} failed: {error:#}", bench.name()));
            failed.push((*bench, error));
        }
    }
    failed
}

/// What is said at the end, if any failed.
fn sentence(failed: &[(Bench, anyhow::Error)], total: usize) -> Option<String> {
    let named = failed.iter().map(|(bench, error)| format!("{}: {error:#}", bench.name()));
    let named = named.collect::<Vec<_>>().join("; ");
    (!failed.is_empty()).then(|| format!("{} of {total} benches failed: {named}", failed.len()))
}

/// One row that a bench printed. What is no figure must not spoil what another program reads.
fn show(format: Format, row: &str) -> anyhow::Result<()> {
    match (format, serde_json::from_str::<Value>(row)) {
        (Format::Json, Ok(Value::Object(_))) => print(row),
        (Format::Json, _) => {
            say(row);
            Ok(())
        }
        (Format::Table, _) => print(&table(row)),
    }
}

/// The bench's name with a line for each figure, for a JSON line; anything else as it is.
fn table(row: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(row) else { return row.to_owned() };
    let name = fields.get("bench").and_then(Value::as_str).unwrap_or("bench").to_owned();
    let rows = fields.iter().filter(|(key, _)| *key != "bench");
    let width = rows.clone().map(|(key, _)| key.len()).max().unwrap_or_default();
    let rows = rows.map(|(key, value)| match value {
        Value::String(text) => format!("\n  {key:<width$}  {text}"),
        value => format!("\n  {key:<width$}  {value}"),
    });
    std::iter::once(name).chain(rows).collect()
}

/// What all processors have done since the start, in ticks: in user mode, niced, in the kernel, idle, waiting for a disk, in two
/// kinds of interrupts, and stolen by the host of a virtual machine. `None` where the system does not tell.
fn processor_time() -> Option<Vec<u64>> {
    processor_time_in(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn processor_time_in(stat: &str) -> Option<Vec<u64>> {
    const KINDS: usize = 8;
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(KINDS);
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    (ticks.len() == KINDS).then_some(ticks)
}

/// How many of a hundred ticks of busy processors were stolen: who measures then measures somebody else too.
fn stolen(before: &[u64], after: &[u64]) -> Option<f64> {
    let passed: Vec<u64> =
        after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect();
    let [user, nice, system, _idle, _waiting, irq, softirq, stolen] = *passed.as_slice() else { return None };
    let busy = user + nice + system + irq + softirq + stolen;
    (busy > 0).then(|| (stolen as f64 / busy as f64 * 1_000.0).round() / 10.0)
}

/// The machine, what was measured, what built it, and when.
fn machine(workspace: &Workspace) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let told = |program: &str, arguments: &[&str]| output(workspace.command(program).args(arguments));
    let version = env!("CARGO_PKG_VERSION");
    let parts = [
        std::thread::available_parallelism().ok().map(|cores| format!("{cores} cores")),
        Some(model.trim_start_matches([' ', '\t', ':']).to_owned()),
        Some(match told("git", &["describe", "--always", "--dirty"]) {
            Some(commit) => format!("oddline {version} ({commit})"),
            None => format!("oddline {version}"),
        }),
        told("rustc", &["--version"]),
        told("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_bench_costs_only_its_own_figures_and_is_named_at_the_end() {
        let all = plan::selected(&[]);
        let mut ran = Vec::new();
        let failed = each(&all, |bench| {
            ran.push(bench);
            match bench {
                Bench::Rules => Err(anyhow::anyhow!("exit status: 1").context("`cargo bench` ended")),
                Bench::Vector => Err(anyhow::anyhow!("oddline was not built")),
                _ => Ok(()),
            }
        });
        assert_eq!(ran, all);
        assert_eq!(
            sentence(&failed, all.len()).unwrap(),
            "2 of 10 benches failed: rules: `cargo bench` ended: exit status: 1; vector: oddline was not built"
        );
        assert_eq!(sentence(&[], all.len()), None);
    }

    #[test]
    fn what_the_host_has_stolen_is_a_share_of_busy_time() {
        let at = |line: &str| processor_time_in(line);
        let before = at("cpu  100 5 50 9000 30 0 1 10 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n").unwrap();
        let after = at("cpu  170 5 60 9900 90 0 1 30 0 0\n").unwrap();
        assert_eq!(stolen(&before, &after), Some(20.0));
        assert_eq!(stolen(&after, &after), None, "nothing was measured");
        for odd in ["", "cpu", "cpu  1 2 3 4 5 6 7", "cpu  a b c d e f g h", "intr 5"] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_figure_and_leaves_other_text_alone() {
        assert_eq!(
            table(r#"{"bench":"rules","kept_kib":9,"longer_name_ms":1.5,"machine":"two cores"}"#),
            "rules\n  kept_kib        9\n  longer_name_ms  1.5\n  machine         two cores"
        );
        assert_eq!(table(r#"{"bench":"empty"}"#), "empty");
        for other in ["running 3 rounds", "[1,2]", "{\"bench\":", ""] {
            assert_eq!(table(other), other);
        }
    }
}
