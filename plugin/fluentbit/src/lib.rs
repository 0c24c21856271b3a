//! The native Fluent Bit filter, `flb-filter_oddline.so`: takes chunks of msgpack log events, gives them back with tags.
//!
//! ```text
//! ffi.rs         the host's C interface, and nothing else
//! instance.rs    one [FILTER] section: lock, watcher, saver
//! saver.rs       a thread that saves what was learned, slice by slice
//! watcher.rs     a thread that looks at rules, advice, secret and heartbeat twice a second
//! properties.rs  the host's properties become checked settings
//! filter.rs      a chunk in, a chunk out
//! allocator.rs   memory, aligned as Fluent Bit's malloc does not
//! ```
//!
//! What happens to one record is in `oddline-shell`, shared with the other shells. Must not hold a detection rule, and
//! must not fail: in doubt the host's own bytes stay.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// For everything in this library.
#[global_allocator]
static MEMORY: allocator::Aligned = allocator::Aligned(std::alloc::System);

pub mod allocator;
pub mod claim;
// Not in unit tests: they run without a host, and its symbols would be missing. tests/native_filter.rs loads it all.
#[cfg(not(test))]
pub mod ffi;
pub mod filter;
pub mod instance;
pub mod properties;
pub mod saver;
pub mod watcher;
