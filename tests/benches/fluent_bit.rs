//! CPU per record of the filters in the real Fluent Bit, against the same pipeline without one and against its own grep.
//!
//! `tail -> filter -> null` over a file of mixed lines, interleaved rounds, the lowest of each. Needs `fluent-bit`
//! (`ODDLINE_FLUENT_BIT` or on the PATH) and the built filters (`cargo xtask bench` builds them); skips loudly without.
//! With `ODDLINE_WAMRC`, Fluent Bit's `flb-wamrc` or WAMR's `wamrc` of the same version, the wasm filter is measured
//! compiled ahead of time too. Prints one JSON line.

#![expect(clippy::print_stderr, reason = "a bench reports on the terminal")]

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;

const ROUNDS: usize = 3;

fn main() -> anyhow::Result<()> {
    let Some(program) = acceptance::fluent_bit() else {
        eprintln!("SKIPPED: no fluent-bit on the PATH and ODDLINE_FLUENT_BIT is not set");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("input.log");
    let records = write_input(&input)?;
    let native = std::env::var("ODDLINE_NATIVE_FILTER").ok();
    let wasm = std::env::var("ODDLINE_WASM_FILTER").ok();
    let mut cases: Vec<(&str, String, Option<String>)> =
        vec![("none", String::new(), None), ("grep of 4", grep(), None)];
    if let Some(native) = native {
        cases.push(("native", "    - name: oddline\n      match: '*'\n".into(), Some(native)));
    }
    if let Some(wasm) = wasm {
        fs::write(folder.path().join("oddline.toml"), "mode = \"inline\"\n")?;
        cases.push(("wasm", wasm_filter(&wasm, folder.path()), None));
        if let Some(compiler) = std::env::var_os("ODDLINE_WAMRC") {
            let compiled = folder.path().join("oddline.aot");
            let status = Command::new(&compiler)
                .arg("-o")
                .args([&compiled, Path::new(&wasm)])
                .stdout(Stdio::null())
                .status();
            let status = status.with_context(|| format!("{} cannot be started", compiler.display()))?;
            anyhow::ensure!(status.success(), "{} ended with {status}", compiler.display());
            cases.push(("wasm ahead of time", wasm_filter(&compiled.to_string_lossy(), folder.path()), None));
        } else {
            eprintln!("SKIPPED: the wasm filter compiled ahead of time, because ODDLINE_WAMRC is not set");
        }
    }
    let mut best = vec![f64::INFINITY; cases.len()];
    for round in 0..ROUNDS {
        for (slot, (name, filter, library)) in best.iter_mut().zip(&cases) {
            let config = folder.path().join("fluent-bit.yaml");
            fs::write(&config, configuration(&input, filter))?;
            let seconds = cpu_seconds(&program, &config, library.as_deref())?;
            eprintln!("round {round}: {name}: {seconds:.2} s of CPU for {records} records");
            *slot = slot.min(seconds);
        }
    }
    let base = best.first().copied().unwrap_or_default();
    let mut out = io::stdout().lock();
    write!(
        out,
        r#"{{"bench":"fluent-bit","records":{records},"pipeline_us":{:.2}"#,
        base / records as f64 * 1e6
    )?;
    for ((name, ..), seconds) in cases.iter().zip(&best).skip(1) {
        write!(out, r#","{name}_added_us":{:.2}"#, (seconds - base) / records as f64 * 1e6)?;
    }
    writeln!(out, "}}")?;
    Ok(())
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
        "service:\n  flush: 1\n  log_level: error\npipeline:\n  inputs:\n    - name: tail\n      path: {}\n      tag: bench\n      \
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
    let before = children_seconds()?;
    let status = command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::inherit()).status();
    let status = status.with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(status.success(), "fluent-bit ended with {status}");
    Ok(children_seconds()? - before)
}

#[expect(unsafe_code, reason = "getrusage has no safe wrapper in the crates that the tests use")]
fn children_seconds() -> anyhow::Result<f64> {
    // SAFETY: `usage` is plain data for which all zeroes is valid, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        anyhow::ensure!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) == 0, "getrusage failed");
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// 480,000 lines: those of `loghub2k` in turn, thirty times, or made-up ones where the data are not there.
fn write_input(path: &Path) -> anyhow::Result<usize> {
    let data = std::env::var_os("ODDLINE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let mut systems: Vec<Vec<Vec<u8>>> = Vec::new();
    for system in fs::read_dir(data.join("loghub2k")).into_iter().flatten().flatten() {
        for file in fs::read_dir(system.path()).into_iter().flatten().flatten() {
            if file.path().to_string_lossy().ends_with("_2k.log") {
                let lines = fs::read(file.path())?;
                systems.push(lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect());
            }
        }
    }
    if systems.is_empty() {
        eprintln!("no loghub2k below {}: made-up lines are used (set ODDLINE_DATA)", data.display());
        let line = |index: u32| {
            format!("2026-11-21T02:03:{:02}Z INFO worker-{} request {index} served", index % 60, index % 8)
        };
        systems.push((0..16_000).map(|index| line(index).into_bytes()).collect());
    }
    let longest = systems.iter().map(Vec::len).max().unwrap_or(0);
    let mut once = Vec::new();
    let mut count = 0;
    for index in 0..longest {
        for lines in &systems {
            if let Some(line) = lines.get(index).filter(|line| !line.is_empty()) {
                once.extend_from_slice(line.trim_ascii_end());
                once.push(b'\n');
                count += 1;
            }
        }
    }
    let mut file = fs::File::create(path)?;
    for _ in 0..30 {
        file.write_all(&once)?;
    }
    Ok(count * 30)
}
