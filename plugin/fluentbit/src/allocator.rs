//! Memory from the host's `malloc`, aligned as Rust's types want it. Takes layouts, gives blocks; must not know for what.
//!
//! A filter is loaded into Fluent Bit's process, and its memory comes from Fluent Bit's `malloc`. That is a jemalloc built
//! with `--with-lg-quantum=3`: blocks of 17 to 24, 33 to 40 and 49 to 56 bytes are aligned to 8, where C promises 16 and
//! Rust's standard library counts on it. A hash table that is read by SSE2 (`movdqa`) then ends the whole process. So what
//! wants more than 8 gets a longer block, and the place of its beginning is kept before it.
#![expect(unsafe_code, reason = "an allocator; every block says why it is sound")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
};

/// What every `malloc` can be trusted with, and room for the place of a block's beginning.
const TRUSTED: usize = size_of::<usize>();

/// Aligns what a base gives, which is trusted to align to 8 only.
#[derive(Debug)]
pub struct Aligned<Base = System>(pub Base);

impl<Base> Aligned<Base> {
    /// The block to ask for: as long as the one that is wanted and its alignment. `None` if that is no block.
    fn longer(layout: Layout) -> Option<Layout> {
        Layout::from_size_align(layout.size().checked_add(layout.align())?, TRUSTED).ok()
    }
}

// SAFETY: blocks of up to `TRUSTED` alignment are the base's own. Of others the beginning is rounded up to the next multiple
// of the alignment, which is 8 bytes at least and the alignment at most behind the base's block, since that is a multiple
// of 8: the block fits, and so does the place of the beginning before it.
unsafe impl<Base: GlobalAlloc> GlobalAlloc for Aligned<Base> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= TRUSTED {
            // SAFETY: the caller's promises, passed on.
            return unsafe { self.0.alloc(layout) };
        }
        let Some(longer) = Self::longer(layout) else { return ptr::null_mut() };
        // SAFETY: the size is not 0, because the alignment is not.
        let base = unsafe { self.0.alloc(longer) };
        if base.is_null() {
            return base;
        }
        // An alignment is a power of two.
        let past = base.addr() & layout.align().wrapping_sub(1);
        // SAFETY: at most the alignment behind `base`, in a block that is longer by that.
        let block = unsafe { base.add(layout.align().wrapping_sub(past)) };
        // SAFETY: the 8 bytes before the block belong to it; they may lie at any multiple of 8.
        unsafe { block.sub(TRUSTED).cast::<*mut u8>().write_unaligned(base) };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.align() <= TRUSTED {
            // SAFETY: the caller's promises, passed on.
            return unsafe { self.0.dealloc(block, layout) };
        }
        let Some(longer) = Self::longer(layout) else { return };
        // SAFETY: written by `alloc`, which gave this block for this layout.
        let base = unsafe { block.sub(TRUSTED).cast::<*mut u8>().read_unaligned() };
        // SAFETY: what `alloc` got from the base, and the layout it asked for.
        unsafe { self.0.dealloc(base, longer) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= TRUSTED {
            // SAFETY: the caller's promises, passed on.
            return unsafe { self.0.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promises, passed on.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: `alloc` gave so many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= TRUSTED {
            // SAFETY: the caller's promises, passed on.
            return unsafe { self.0.realloc(block, layout, size) };
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
        // SAFETY: the caller promises that the size is not 0.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: two blocks of at least so many bytes that are not the same; the old one is given back once.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fluent Bit's `malloc` at its worst: every block is aligned to 8 and never to 16.
    struct Skewed;

    // SAFETY: gives the upper part of a block of System's that is longer by the 8 bytes that are left out.
    unsafe impl GlobalAlloc for Skewed {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            assert!(layout.align() <= TRUSTED);
            let longer = Layout::from_size_align(layout.size() + 8, 16).unwrap();
            // SAFETY: not empty, and longer by 8.
            unsafe { System.alloc(longer).add(8) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let longer = Layout::from_size_align(layout.size() + 8, 16).unwrap();
            // SAFETY: as `alloc` made it.
            unsafe { System.dealloc(block.sub(8), longer) }
        }
    }

    #[test]
    fn blocks_are_aligned_whatever_the_base_gives() {
        let ours = Aligned(Skewed);
        for align in [1, 8, 16, 32, 64, 4_096] {
            for size in [1, 17, 24, 40, 52, 56, 64, 5_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: no size is 0; each block is used within its size, and given back with its last layout.
                unsafe {
                    let block = ours.alloc_zeroed(layout);
                    assert_eq!(block.addr() % align, 0, "{layout:?}");
                    assert!((0..size).all(|place| block.add(place).read() == 0));
                    block.write_bytes(7, size);
                    let grown = ours.realloc(block, layout, size * 3);
                    assert_eq!(grown.addr() % align, 0, "{layout:?}, grown");
                    assert!((0..size).all(|place| grown.add(place).read() == 7));
                    grown.write_bytes(8, size * 3);
                    let layout = Layout::from_size_align(size * 3, align).unwrap();
                    let shrunk = ours.realloc(grown, layout, 1);
                    assert_eq!((shrunk.addr() % align, shrunk.read()), (0, 8), "{layout:?}, shrunk");
                    ours.dealloc(shrunk, Layout::from_size_align(1, align).unwrap());
                }
            }
        }
    }

    #[test]
    fn the_library_uses_it() {
        #[repr(align(16))]
        struct Wide([u8; 48]);
        let block = std::hint::black_box(Box::new(Wide([7; 48])));
        let start = (&raw const *block).cast::<u8>();
        // SAFETY: the bytes before a block of 16's alignment are ours, and of any other allocator's they are its own
        // note of the block's size; nothing is written.
        let before = unsafe { start.sub(TRUSTED).cast::<usize>().read_unaligned() };
        let range = start.addr() - 16..start.addr();
        assert!(range.contains(&before) && block.0[47] == 7, "{before:#x} is not the block's beginning");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let layout = Layout::from_size_align(isize::MAX as usize - 15, 16).unwrap();
        // SAFETY: the size is not 0, and nothing is read.
        assert!(unsafe { Aligned(Skewed).alloc(layout) }.is_null());
    }
}
