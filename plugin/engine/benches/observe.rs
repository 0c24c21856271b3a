//! Nanoseconds per line and bytes per template of the whole engine, over the mixed lines of a folder of logs.
//!
//! `ODDLINE_DATA` names the folder (default `../shared/data`); only `loghub2k/*/*_2k.log` is read. Prints one JSON line.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench reports on the terminal")]

use std::{
    alloc,
    path::PathBuf,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use oddline_engine::{Engine, Record, Settings, UnixNanos, rules::RuleSet};

/// Counts live bytes, so that memory per template is measured and not guessed.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[expect(
    unsafe_code,
    reason = "a global allocator is unsafe by its trait; it only counts and passes through"
)]
// SAFETY: every call is passed to the system allocator with the caller's own layout.
unsafe impl alloc::GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: alloc::Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: alloc::Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { alloc::System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let data = std::env::var_os("ODDLINE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let systems = mixed(&data);
    if systems.is_empty() {
        eprintln!("skipped: no loghub2k/*/*_2k.log below {} (set ODDLINE_DATA)", data.display());
        return;
    }
    let lines: Vec<(String, Vec<u8>)> = systems;
    let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
    let rules = Arc::new(RuleSet::builtin());

    let before = LIVE.load(Ordering::Relaxed);
    let mut engine = Engine::new(Settings::default(), Arc::clone(&rules));
    let empty = LIVE.load(Ordering::Relaxed) - before;
    // Five replays of the lines at 1 ms a line; the first learns, the fastest of the others counts.
    let mut now = 0i64;
    let mut best = f64::INFINITY;
    for replay in 0..6 {
        let start = Instant::now();
        for (tag, line) in &lines {
            now += 1_000_000;
            std::hint::black_box(engine.observe(&Record::from_line(tag.as_bytes(), line), UnixNanos(now)));
        }
        if replay > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let kept = LIVE.load(Ordering::Relaxed) - before - empty;
    let templates = engine.counters().templates;
    println!(
        r#"{{"bench":"engine","lines":{},"mean_bytes":{},"ns_per_line":{:.0},"lines_per_second":{:.0},"templates":{templates},"bytes_per_template":{},"rules":{}}}"#,
        lines.len(),
        bytes / lines.len(),
        best * 1e9 / lines.len() as f64,
        lines.len() as f64 / best,
        kept as u64 / templates.max(1),
        rules.len(),
    );
}

/// The lines of all systems in turn, with the system's name as tag.
fn mixed(data: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(data.join("loghub2k"))
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|system| std::fs::read_dir(system.path()).into_iter().flatten().flatten())
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with("_2k.log"))
        .collect();
    files.sort();
    let mut systems: Vec<(String, Vec<Vec<u8>>)> = files
        .iter()
        .filter_map(|path| {
            let content = std::fs::read(path).ok()?;
            let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            Some((path.file_stem()?.to_string_lossy().into_owned(), lines.map(<[u8]>::to_vec).collect()))
        })
        .collect();
    let longest = systems.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
    let mut mixed = Vec::new();
    for index in 0..longest {
        for (name, lines) in &mut systems {
            if let Some(line) = lines.get_mut(index) {
                mixed.push((name.clone(), std::mem::take(line)));
            }
        }
    }
    mixed
}
