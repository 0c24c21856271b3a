//! Takes the calls of `filter_wasm` and raw memory, gives a NUL-terminated record. Must not know what a record says.
#![expect(unsafe_code, reason = "this file is the host's interface; every block says why it is sound")]

use std::{
    io::Write,
    path::PathBuf,
    sync::{Mutex, TryLockError},
};

use oddline_engine::UnixNanos;

use crate::filter::Filter;

/// Bytes of a memory page.
const PAGE: usize = 1 << 16;
/// WASI's clock of the time of day.
const REALTIME: u32 = 0;
/// First directory that WASI opens for a module.
const FIRST_DIRECTORY: u32 = 3;
/// Most of them that are looked at.
const MAX_DIRECTORIES: u32 = 64;

// The module has one thread; the lock is only how Rust wants a static to be written to. If it is taken, an earlier call
// has trapped half-way: the state is not to be trusted, and records pass as they are from then on.
static FILTER: Mutex<Option<Filter>> = Mutex::new(None);

/// What Fluent Bit's `function_name` names. The answer lives until the next call; the host copies it at once.
///
/// The host appends a NUL to the record, so that in doubt the very pointer that came in is an answer.
#[unsafe(no_mangle)]
// SAFETY: a plain function without requirements; every pointer is checked against the memory's size before use.
pub extern "C" fn oddline_filter(
    tag: *const u8,
    tag_len: usize,
    _seconds: u32,
    _nanos: u32,
    record: *const u8,
    record_len: usize,
) -> *const u8 {
    let Some(text) = memory(record, record_len) else { return c"{}".as_ptr().cast() };
    let tag = memory(tag, tag_len).unwrap_or_default();
    let mut filter = match FILTER.try_lock() {
        Ok(filter) => filter,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return record,
    };
    let filter = filter.get_or_insert_with(start);
    let answer = filter.record(tag, text, now());
    let notices = filter.notices();
    if !notices.is_empty() {
        tell(notices);
    }
    answer.map_or(record, |()| filter.answer().as_ptr())
}

#[cold]
fn start() -> Filter {
    Filter::new(directories())
}

#[cold]
fn tell(notices: Vec<String>) {
    for line in notices {
        // Nobody could be told that standard error is closed.
        let _ = writeln!(std::io::stderr(), "[oddline] {line}");
    }
}

/// The bytes at a pointer that the host gave; none if they do not lie within memory.
fn memory<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    let size = core::arch::wasm32::memory_size::<0>().saturating_mul(PAGE);
    let end = start.addr().checked_add(length)?;
    if start.is_null() || end > size {
        return None;
    }
    // SAFETY: within memory (above); the host wrote it through our allocator for this call and leaves it alone meanwhile.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

fn now() -> UnixNanos {
    let mut nanos = 0;
    // Asked for directly: the standard library's clock is four calls here, for each record.
    // SAFETY: the host writes one number. Without a clock it stays 0.
    let _ = unsafe { clock_time_get(REALTIME, 1, &raw mut nanos) };
    UnixNanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// WASI's `prestat`: a tag (0: directory) and the length of its name.
#[repr(C)]
struct Prestat {
    kind: u8,
    name_len: usize,
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u16;
    fn fd_prestat_get(fd: u32, prestat: *mut Prestat) -> u16;
    fn fd_prestat_dir_name(fd: u32, name: *mut u8, name_len: usize) -> u16;
}

/// The host's `accessible_paths`.
fn directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for fd in (FIRST_DIRECTORY..).take(MAX_DIRECTORIES as usize) {
        let mut prestat = Prestat { kind: 0, name_len: 0 };
        // SAFETY: the host writes one prestat.
        if unsafe { fd_prestat_get(fd, &raw mut prestat) } != 0 {
            break;
        }
        let mut name = vec![0; prestat.name_len.min(4096)];
        // SAFETY: the host writes at most `name.len()` bytes.
        if prestat.kind == 0 && unsafe { fd_prestat_dir_name(fd, name.as_mut_ptr(), name.len()) } == 0 {
            let name = String::from_utf8_lossy(&name);
            directories.push(PathBuf::from(name.trim_end_matches('\0')));
        }
    }
    directories
}
