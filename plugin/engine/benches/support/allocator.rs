//! A global allocator that counts, for benches and tests: live bytes and their peak over all threads, and what the
//! calling thread has asked for. Whoever brings this module in runs on it.

use std::{
    alloc,
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ASKED: Cell<Asked> = const { Cell::new(Asked { times: 0, bytes: 0 }) };
}

/// What a thread has asked for since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) times: u64,
    pub(crate) bytes: u64,
}

/// Bytes that are allocated now.
pub(crate) fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// The most that was allocated at a time since the last call.
pub(crate) fn take_peak() -> usize {
    PEAK.swap(live(), Ordering::Relaxed)
}

/// What `work` asks for on this thread.
pub(crate) fn asked(work: impl FnOnce()) -> Asked {
    let before = ASKED.get();
    work();
    let after = ASKED.get();
    Asked { times: after.times - before.times, bytes: after.bytes - before.bytes }
}

#[expect(
    unsafe_code,
    reason = "a global allocator is unsafe by its trait; it only counts and passes through"
)]
// SAFETY: every call is passed to the system allocator with the caller's own layout.
unsafe impl alloc::GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: alloc::Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // A thread that is ending has no counter any more.
        let _ = ASKED.try_with(|asked| {
            let Asked { times, bytes } = asked.get();
            asked.set(Asked { times: times + 1, bytes: bytes + layout.size() as u64 });
        });
        // SAFETY: as the caller promises.
        unsafe { alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: alloc::Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { alloc::System.dealloc(pointer, layout) }
    }
}
