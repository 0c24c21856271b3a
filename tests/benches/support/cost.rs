//! What a shipper's bench needs: lines to ship, and the CPU time of the processes that have ended. Knows no shipper.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// User and system time of all child processes that have ended, in seconds.
#[expect(unsafe_code, reason = "getrusage has no safe wrapper in the crates that the tests use")]
pub(crate) fn children_seconds() -> anyhow::Result<f64> {
    // SAFETY: `usage` is plain data for which all zeroes is valid, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        anyhow::ensure!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) == 0, "getrusage failed");
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

/// What a program says its version is, for a JSON line: the first line, without what stands in brackets.
pub(crate) fn version(program: &Path) -> anyhow::Result<serde_json::Value> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    Ok(line.split(" (").next().unwrap_or_default().into())
}

/// The lines of `loghub2k`, one of each system in turn, so many times; made-up ones where the data are not there.
pub(crate) fn write_input(path: &Path, times: usize) -> anyhow::Result<usize> {
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
    for _ in 0..times {
        file.write_all(&once)?;
    }
    Ok(count * times)
}
