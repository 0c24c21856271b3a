//! CPU per record of the filters in the real Fluent Bit, against the same pipeline without one and against its own grep.
//!
//! `tail -> filter -> null` over a file of mixed lines that come 30 times, interleaved rounds, the lowest of each. What a start takes (reading
//! and compiling the rules, above all) is measured with a file of one line and told apart: a shipper starts once. Needs `fluent-bit`
//! (`ODDLINE_FLUENT_BIT` or on the PATH) and the built filters (`cargo xtask bench` builds them); skips loudly without.
//! Where `cargo xtask bench` found WAMR's compiler, the wasm filter is measured compiled ahead of time too. Prints one JSON
//! line.

#![expect(clippy::print_stderr, reason = "a bench reports on the terminal")]

#[path = "support/cost.rs"]
mod cost;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;

/// Many short ones, because what else a machine's host does slows a run down for seconds, and the lowest counts.
const ROUNDS: usize = 9;
/// Of a case that takes many seconds each time.
const LONG_ROUNDS: usize = 6;
/// How often all lines come.
const REPLAYS: usize = 30;
/// The same of such a case, which would take half a minute, so that hardly a run were left alone: it is worked out from two shorter
/// ones. What is remembered of a line takes two replays; from the third on all cost alike.
const SHORTER: [usize; 2] = [2, 6];

fn main() -> anyhow::Result<()> {
    let Some(program) = acceptance::fluent_bit() else {
        eprintln!("SKIPPED: no fluent-bit on the PATH and ODDLINE_FLUENT_BIT is not set");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let replays = |times: usize| folder.path().join(format!("{times}.log"));
    let records = cost::write_input(&replays(REPLAYS), REPLAYS)?;
    for times in SHORTER {
        cost::write_input(&replays(times), times)?;
    }
    let one = folder.path().join("one.log");
    fs::write(&one, "an ordinary line\n")?;
    let native = std::env::var("ODDLINE_NATIVE_FILTER").ok();
    let wasm = std::env::var("ODDLINE_WASM_FILTER").ok();
    let mut cases: Vec<(&str, String, Option<String>)> =
        vec![("none", String::new(), None), ("grep of 4", grep(), None)];
    if let Some(native) = native {
        cases.push(("native", "    - name: oddline\n      match: '*'\n".into(), Some(native)));
    }
    fs::write(folder.path().join("oddline.toml"), "mode = \"inline\"\n")?;
    if let Some(wasm) = wasm {
        cases.push(("wasm", wasm_filter(&wasm, folder.path()), None));
    }
    match std::env::var("ODDLINE_WASM_COMPILED") {
        Ok(compiled) => cases.push(("wasm ahead of time", wasm_filter(&compiled, folder.path()), None)),
        Err(_) => eprintln!(
            "SKIPPED: the wasm filter compiled ahead of time, because there is no flb-wamrc or wamrc"
        ),
    }
    let mut best = vec![
        Seconds { start: f64::INFINITY, shorter: [f64::INFINITY; 2], whole: f64::INFINITY };
        cases.len()
    ];
    for round in 0..ROUNDS {
        for (slot, (name, filter, library)) in best.iter_mut().zip(&cases) {
            let is_long = *name == "wasm";
            if is_long && round >= LONG_ROUNDS {
                continue;
            }
            let config = folder.path().join("fluent-bit.yaml");
            let seconds = |input: &Path| {
                fs::write(&config, configuration(input, filter))?;
                cpu_seconds(&program, &config, library.as_deref())
            };
            let lowest = |kept: &mut f64, input: &Path| -> anyhow::Result<()> {
                let taken = seconds(input)?;
                eprintln!("round {round}: {name}: {taken:.2} s of CPU for {}", input.display());
                *kept = kept.min(taken);
                Ok(())
            };
            lowest(&mut slot.start, &one)?;
            if is_long {
                slot.shorter
                    .iter_mut()
                    .zip(SHORTER)
                    .try_for_each(|(kept, times)| lowest(kept, &replays(times)))?;
                let [few, more] = slot.shorter;
                let [few_times, more_times] = SHORTER.map(|times| times as f64);
                let each = (more - few) / (more_times - few_times);
                slot.whole = few + each * (REPLAYS as f64 - few_times);
            } else {
                lowest(&mut slot.whole, &replays(REPLAYS))?;
            }
        }
    }
    let base = best.first().context("there is a pipeline without a filter")?;
    let mut out = io::stdout().lock();
    write!(
        out,
        r#"{{"bench":"fluent-bit","version":{},"records":{records},"pipeline_us":{:.2}"#,
        cost::version(&program)?,
        base.a_record(records) * 1e6
    )?;
    for ((name, ..), seconds) in cases.iter().zip(&best).skip(1) {
        write!(
            out,
            r#","{name}_added_us":{:.2},"{name}_start_ms":{:.0}"#,
            (seconds.a_record(records) - base.a_record(records)) * 1e6,
            (seconds.start - base.start) * 1e3
        )?;
    }
    writeln!(out, "}}")?;
    Ok(())
}

/// CPU time of a pipeline.
#[derive(Clone, Copy)]
struct Seconds {
    /// With one record.
    start: f64,
    /// With [`SHORTER`] replays, where these are measured.
    shorter: [f64; 2],
    /// With all.
    whole: f64,
}

impl Seconds {
    fn a_record(&self, records: usize) -> f64 {
        (self.whole - self.start) / records as f64
    }
}

fn wasm_filter(module: &str, options: &Path) -> String {
    format!(
        "    - name: wasm\n      match: '*'\n      wasm_path: {module}\n      event_format: json\n      \
         function_name: oddline_filter\n      accessible_paths: {}\n      wasm_heap_size: 16M\n      wasm_stack_size: 1M\n",
        options.display()
    )
}

fn grep() -> String {
    let mut filter = String::from("    - name: grep\n      match: '*'\n      exclude:\n");
    for pattern in ["segfault at .* ip", "Out of memory: Kill", "panic - not syncing", "ransom(ware)? note"] {
        filter.push_str(&format!("        - 'log {pattern}'\n"));
    }
    filter
}

fn configuration(input: &Path, filter: &str) -> String {
    let filters = if filter.is_empty() { String::new() } else { format!("  filters:\n{filter}") };
    format!(
        "service:\n  flush: 1\n  grace: 1\n  log_level: error\npipeline:\n  inputs:\n    - name: tail\n      path: {}\n      tag: bench\n      \
         read_from_head: true\n      exit_on_eof: true\n      buffer_max_size: 1M\n{filters}  outputs:\n    - name: 'null'\n      match: '*'\n",
        input.display()
    )
}

/// User and system time of one run to the end of the file.
fn cpu_seconds(program: &Path, config: &Path, library: Option<&str>) -> anyhow::Result<f64> {
    let mut command = Command::new(program);
    if let Some(library) = library {
        command.args(["-e", library]);
    }
    let before = cost::children_seconds()?;
    let status =
        command.arg("-q").arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::inherit()).status();
    let status = status.with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(status.success(), "fluent-bit ended with {status}");
    Ok(cost::children_seconds()? - before)
}
