//! Fluent Bit, as the native filter sees it: loads the library with dlopen, copies its struct, refuses properties that
//! its map does not name, and calls back through the very symbols that the shipper exports.
//!
//! `ODDLINE_NATIVE_FILTER` names the library; `cargo xtask test` builds it and sets that.
#![allow(dead_code, reason = "every test uses the part it needs")]
#![expect(unsafe_code, reason = "a C host, with C's contract on every pointer")]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
    sync::OnceLock,
};

use libloading::Library;

/// `struct flb_filter_plugin` of Fluent Bit 5.1.
#[repr(C)]
struct FilterPlugin {
    event_type: c_int,
    flags: c_int,
    name: *const c_char,
    description: *const c_char,
    config_map: *const MapEntry,
    pre_run: *const c_void,
    init: extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int,
    filter: extern "C" fn(
        *const c_void,
        usize,
        *const c_char,
        c_int,
        *mut *mut c_void,
        *mut usize,
        *mut c_void,
        *mut c_void,
        *mut c_void,
        *mut c_void,
    ) -> c_int,
    exit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    notification: *const c_void,
    list: [*mut c_void; 2],
}

/// `struct flb_config_map` of Fluent Bit 5.1: 104 bytes.
#[repr(C)]
struct MapEntry {
    kind: c_int,
    name: *const c_char,
    default: *const c_char,
    flags: c_int,
    set_property: c_int,
    offset: usize,
    description: *const c_char,
    value: [usize; 5],
    list: [usize; 2],
}

/// `struct flb_filter_instance`, as far as the filter can tell: an address.
struct HostInstance {
    properties: BTreeMap<CString, CString>,
    context: Cell<*mut c_void>,
}

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static CLOCK: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Called by the filter's `init`.
#[unsafe(no_mangle)]
extern "C" fn flb_filter_set_context(instance: *mut c_void, context: *mut c_void) {
    // SAFETY: the filter hands back the instance that `init` got.
    unsafe { &*instance.cast::<HostInstance>() }.context.set(context);
}

/// Called by the filter's `init`.
#[unsafe(no_mangle)]
extern "C" fn flb_filter_get_property(key: *const c_char, instance: *mut c_void) -> *const c_char {
    // SAFETY: the filter hands back the instance that `init` got, and a NUL-terminated key.
    let (instance, key) = unsafe { (&*instance.cast::<HostInstance>(), CStr::from_ptr(key)) };
    instance.properties.get(key).map_or(ptr::null(), |value| value.as_ptr())
}

/// Variadic in the host. One pointer more is passed alike on the ABIs that we build for.
#[unsafe(no_mangle)]
extern "C" fn flb_log_print(
    kind: c_int,
    _file: *const c_char,
    _line: c_int,
    format: *const c_char,
    text: *const c_char,
) {
    // SAFETY: both are NUL-terminated by contract.
    let (format, text) = unsafe { (CStr::from_ptr(format), CStr::from_ptr(text)) };
    let line = format.to_string_lossy().replace("%s", &text.to_string_lossy());
    let level = ["off", "error", "warn", "info"][usize::try_from(kind).unwrap()];
    LOG.with_borrow_mut(|log| log.push(format!("{level} {line}")));
}

/// Marks a host of 5.0.3 or later, whose map entries have one word more.
#[unsafe(no_mangle)]
extern "C" fn flb_config_map_translate_dynamic(_config: *mut c_void, _map: *mut c_void) -> *mut c_void {
    ptr::null_mut()
}

/// The C library's clock, with a wall clock that a test can hold still for its own thread.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let held = CLOCK.get().filter(|_| clock == libc::CLOCK_REALTIME);
    let Some(nanos) = held else {
        // SAFETY: the very call that the C library makes.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as c_int;
    };
    // SAFETY: the caller's struct.
    unsafe { (*time).tv_sec = nanos.div_euclid(1_000_000_000) };
    let nanos = if nanos == BROKEN { -1 } else { nanos.rem_euclid(1_000_000_000) };
    // SAFETY: as above.
    unsafe { (*time).tv_nsec = nanos };
    0
}

/// Lets the wall clock of this thread answer what no clock may: Rust's library panics on it, in the midst of a call.
pub(crate) fn break_clock() {
    CLOCK.set(Some(BROKEN));
}

/// The time by which a broken clock is known.
const BROKEN: i64 = i64::MIN;

/// Holds the wall clock of this thread at a time, or lets it run.
pub(crate) fn hold_clock(nanos: Option<i64>) {
    CLOCK.set(nanos);
}

/// Lines that the filter logged on this thread since the last call, `<level> <line>`.
pub(crate) fn log() -> Vec<String> {
    LOG.with_borrow_mut(std::mem::take)
}

fn plugin() -> &'static FilterPlugin {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        // SAFETY: our own library; its loader function only writes its own map.
        unsafe { Library::new(acceptance::built("ODDLINE_NATIVE_FILTER")) }.expect("the native filter loads")
    });
    // SAFETY: the symbol is a static of this type.
    let plugin = unsafe { library.get::<*const FilterPlugin>(b"filter_oddline_plugin") };
    // SAFETY: the library is never unloaded.
    unsafe { &**plugin.expect("the plugin's struct") }
}

/// Name and description of every property in the filter's map.
pub(crate) fn config_map() -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut entry = plugin().config_map;
    // SAFETY: an array of entries ended by one without a name, with NUL-terminated texts.
    unsafe {
        while !(*entry).name.is_null() {
            let text = |text| CStr::from_ptr(text).to_string_lossy().into_owned();
            entries.push((text((*entry).name), text((*entry).description)));
            entry = entry.add(1);
        }
    }
    entries
}

/// One `[FILTER]` section.
pub(crate) struct Native {
    instance: Box<HostInstance>,
}

// SAFETY: the context is guarded by the filter itself, which is what a test with threads is about.
unsafe impl Sync for Native {}

impl Native {
    /// Starts a filter; the lines it logged if it refused to.
    pub(crate) fn start(properties: &[(&str, &str)]) -> Result<Native, Vec<String>> {
        let map = config_map();
        for (name, _) in properties {
            if !map.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(vec![format!("error [config] oddline: unknown configuration property '{name}'")]);
            }
        }
        let text = |text: &str| CString::new(text).unwrap();
        let properties = properties.iter().map(|(name, value)| (text(name), text(value))).collect();
        let mut instance = Box::new(HostInstance { properties, context: Cell::new(ptr::null_mut()) });
        let at: *mut HostInstance = &raw mut *instance;
        match (plugin().init)(at.cast(), ptr::null_mut(), ptr::null_mut()) {
            0 => Ok(Native { instance }),
            _ => Err(log()),
        }
    }

    /// One chunk; `None` if the filter left it alone.
    pub(crate) fn filter(&self, tag: &str, chunk: &[u8]) -> Option<Vec<u8>> {
        let mut out = ptr::null_mut();
        let mut bytes = 0;
        let answer = (plugin().filter)(
            chunk.as_ptr().cast(),
            chunk.len(),
            tag.as_ptr().cast(),
            c_int::try_from(tag.len()).unwrap(),
            &raw mut out,
            &raw mut bytes,
            (&raw const *self.instance).cast_mut().cast(),
            ptr::null_mut(),
            self.instance.context.get(),
            ptr::null_mut(),
        );
        match answer {
            1 => {
                assert!(bytes > 0, "Fluent Bit would drop the whole chunk");
                // SAFETY: the filter's buffer of that many bytes, ours to free.
                let filtered = unsafe { std::slice::from_raw_parts(out.cast::<u8>(), bytes) }.to_vec();
                // SAFETY: as above.
                unsafe { libc::free(out) };
                Some(filtered)
            }
            2 => {
                assert!(out.is_null(), "Fluent Bit would leak the buffer");
                None
            }
            other => panic!("{other} is no answer of a filter"),
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        (plugin().exit)(self.instance.context.get(), ptr::null_mut());
    }
}
