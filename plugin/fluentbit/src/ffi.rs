//! Takes Fluent Bit's C calls, gives them to [`crate::instance`], and catches every panic on the way.
//!
//! The only file with C in it: the host's structs and functions, and the raw memory they pass. Must not know records.
//! Layouts are those of `flb_filter.h` and `flb_config_map.h`, the same from Fluent Bit 3.2 to 5.1 but for the one
//! word that `MapEntry` speaks of.
#![expect(unsafe_code, reason = "this file is the C interface; every block says why it is sound")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use oddline_engine::OPTIONS;

use crate::instance::{Instance, Log};

const LOGS: c_int = 1;
const MODIFIED: c_int = 1;
const NOT_TOUCHED: c_int = 2;
const LOG_ERROR: c_int = 1;
const LOG_WARN: c_int = 2;
const LOG_INFO: c_int = 3;
const TYPE_STRING: c_int = 0;

/// `struct flb_filter_plugin`. The host copies as much of it as it knows: releases before 3.2 lack `notification`.
#[repr(C)]
#[derive(Debug)]
pub struct FilterPlugin {
    event_type: c_int,
    flags: c_int,
    name: *const c_char,
    description: *const c_char,
    config_map: AtomicPtr<c_void>,
    pre_run: Option<extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int>,
    init: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int>,
    filter: Option<FilterCallback>,
    exit: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int>,
    notification: Option<extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int>,
    list: [*mut c_void; 2],
}

type FilterCallback = unsafe extern "C" fn(
    data: *const c_void,
    bytes: usize,
    tag: *const c_char,
    tag_len: c_int,
    out_buf: *mut *mut c_void,
    out_bytes: *mut usize,
    filter_instance: *mut c_void,
    input_instance: *mut c_void,
    context: *mut c_void,
    config: *mut c_void,
) -> c_int;

// SAFETY: the pointers are to constants; the one field that changes is atomic.
unsafe impl Sync for FilterPlugin {}

unsafe extern "C" {
    fn flb_filter_set_context(instance: *mut c_void, context: *mut c_void);
    fn flb_filter_get_property(key: *const c_char, instance: *mut c_void) -> *const c_char;
    fn flb_log_print(kind: c_int, file: *const c_char, line: c_int, format: *const c_char, ...);
}

/// The symbol that Fluent Bit looks up: `<type>_<name>_plugin`.
// SAFETY: the name is the plugin's own; nothing else in the process can bear it.
#[unsafe(no_mangle)]
pub static filter_oddline_plugin: FilterPlugin = FilterPlugin {
    event_type: LOGS,
    flags: 0,
    name: c"oddline".as_ptr(),
    description: c"Scores every log record for anomalies, in place".as_ptr(),
    config_map: AtomicPtr::new(ptr::null_mut()),
    pre_run: None,
    init: Some(init),
    filter: Some(filter),
    exit: Some(exit),
    notification: None,
    list: [ptr::null_mut(); 2],
};

/// One property in `struct flb_config_map`; by it the host itself refuses unknown names and prints help.
///
/// `TAIL` are the words that only the host's own copies use. Fluent Bit 5.0.3 added one, and the array's stride with it.
#[repr(C)]
struct MapEntry<const TAIL: usize> {
    kind: c_int,
    name: *const c_char,
    default: *const c_char,
    flags: c_int,
    set_property: c_int,
    offset: usize,
    description: *const c_char,
    tail: [usize; TAIL],
}

/// The host's map of [`OPTIONS`], ended by an entry of zeros; it lives as long as the process.
fn config_map<const TAIL: usize>() -> *mut c_void {
    let text = |text: &str| CString::new(text).unwrap_or_default().into_raw().cast_const();
    let entry = |name, description| MapEntry::<TAIL> {
        kind: TYPE_STRING,
        name,
        // Not given: whether a user has set it must stay visible, and the engine has the only table of defaults.
        default: ptr::null(),
        flags: 0,
        set_property: 0,
        offset: 0,
        description,
        tail: [0; TAIL],
    };
    let mut map: Vec<MapEntry<TAIL>> = OPTIONS
        .iter()
        .map(|spec| {
            let default = if spec.default.is_empty() { "not set" } else { spec.default };
            entry(text(spec.name), text(&format!("{} ({}; default: {default})", spec.doc, spec.values)))
        })
        .collect();
    map.push(entry(ptr::null(), ptr::null()));
    Box::into_raw(map.into_boxed_slice()).cast()
}

/// Runs when the library is loaded, before the host reads [`filter_oddline_plugin`].
extern "C" fn on_load() {
    let map = catch_unwind(|| {
        // SAFETY: looks up a name in the running process; the result is compared with null and nothing else.
        let newer = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"flb_config_map_translate_dynamic".as_ptr()) };
        if newer.is_null() { config_map::<6>() } else { config_map::<7>() }
    });
    filter_oddline_plugin.config_map.store(map.unwrap_or(ptr::null_mut()), Ordering::Release);
}

#[used]
// SAFETY: the section is a list of functions without arguments that the loader calls once.
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

/// One line into the shipper's log.
fn log(kind: Log, line: &str) {
    let kind = match kind {
        Log::Error => LOG_ERROR,
        Log::Warn => LOG_WARN,
        Log::Info => LOG_INFO,
    };
    let line = CString::new(line.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the format takes one string, and both are NUL-terminated; the host copies what it prints.
    unsafe { flb_log_print(kind, ptr::null(), 0, c"[filter:oddline] %s".as_ptr(), line.as_ptr()) };
}

/// `cb_init`: 0, or -1 and a line in the log.
unsafe extern "C" fn init(instance: *mut c_void, _config: *mut c_void, _data: *mut c_void) -> c_int {
    let built = catch_unwind(|| {
        Instance::new(log, |name| {
            let name = CString::new(name).ok()?;
            // SAFETY: the host gave `instance` for this call; it answers null or a string that outlives the call.
            let value = unsafe { flb_filter_get_property(name.as_ptr(), instance).as_ref() }?;
            // SAFETY: as above.
            Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
        })
    });
    match built {
        Ok(Ok(context)) => {
            // SAFETY: the context is ours until `exit` takes it back.
            unsafe { flb_filter_set_context(instance, Box::into_raw(Box::new(context)).cast()) };
            0
        }
        Ok(Err(error)) => {
            log(Log::Error, &error);
            -1
        }
        Err(_) => {
            log(Log::Error, "bug: a panic while starting; please report it");
            -1
        }
    }
}

/// `cb_filter`: a chunk in; 2 (as it was) or 1 and a buffer of the C allocator, which the host frees.
unsafe extern "C" fn filter(
    data: *const c_void,
    bytes: usize,
    tag: *const c_char,
    tag_len: c_int,
    out_buf: *mut *mut c_void,
    out_bytes: *mut usize,
    _filter_instance: *mut c_void,
    _input_instance: *mut c_void,
    context: *mut c_void,
    _config: *mut c_void,
) -> c_int {
    // SAFETY: the context is the one that `init` made; the host keeps it until `exit`.
    let Some(context) = (unsafe { context.cast::<Instance>().as_ref() }) else { return NOT_TOUCHED };
    if data.is_null() || out_buf.is_null() || out_bytes.is_null() {
        return NOT_TOUCHED;
    }
    // SAFETY: the host passes a chunk of `bytes` bytes that stays unchanged during the call.
    let chunk = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
    let tag = match usize::try_from(tag_len) {
        // SAFETY: the host passes a tag of `tag_len` bytes that stays unchanged during the call.
        Ok(length) if !tag.is_null() => unsafe { std::slice::from_raw_parts(tag.cast::<u8>(), length) },
        _ => &[],
    };
    let give = |filtered: &[u8]| {
        // SAFETY: a fresh buffer of exactly the length that is copied; `out_*` were checked above. The C allocator is
        // the host's own (official builds bring jemalloc under these names), so the host can free it.
        unsafe {
            let buffer = libc::malloc(filtered.len());
            if buffer.is_null() {
                return NOT_TOUCHED;
            }
            ptr::copy_nonoverlapping(filtered.as_ptr(), buffer.cast(), filtered.len());
            *out_buf = buffer;
            *out_bytes = filtered.len();
        }
        MODIFIED
    };
    let done = catch_unwind(AssertUnwindSafe(|| context.filter(tag, chunk, give)));
    done.unwrap_or_else(|_| {
        // A panic that repeats must not flood the log.
        if context.count_panic() == 1 {
            log(
                Log::Error,
                "bug: a panic while filtering; chunks that cause one pass untouched. Please report it",
            );
        }
        None
    })
    .unwrap_or(NOT_TOUCHED)
}

/// `cb_exit`: saves what was learned and says what was done.
unsafe extern "C" fn exit(context: *mut c_void, _config: *mut c_void) -> c_int {
    if !context.is_null() {
        // SAFETY: `init` made it with `Box::into_raw`, and the host calls this once.
        let context = unsafe { Box::from_raw(context.cast::<Instance>()) };
        if catch_unwind(AssertUnwindSafe(|| context.exit())).is_err() {
            log(Log::Error, "bug: a panic while stopping; please report it");
        }
    }
    0
}
