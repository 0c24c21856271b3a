//! Every bound on what a component may take, in one place.

use std::time::Duration;

/// Largest component file, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// Memory of one instance, in bytes; a component has one memory.
pub const MAX_MEMORY_BYTES: usize = 32 << 20;
/// Stack of a guest, in bytes.
pub const MAX_STACK_BYTES: usize = 512 << 10;
/// Entries of one table of a component.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Longest time in which a component must be compiled; what takes longer goes on in the background and is not used.
pub const COMPILE: Duration = Duration::from_secs(30);
/// Processor time for starting and configuring an instance.
pub const START: Duration = Duration::from_secs(5);
/// Processor time for one record.
pub const RECORD: Duration = Duration::from_millis(10);
/// Bytes that one answer may have.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Bytes that a snapshot may have.
pub const MAX_SNAPSHOT_BYTES: usize = 4 << 20;
/// Characters of a reason that are shown.
pub const MAX_REASON: usize = 200;
/// Characters of names that are shown: of a detector, a rule, an import.
pub const MAX_NAME: usize = 64;
/// Most detectors of one sidecar.
pub const MAX_DETECTORS: usize = 8;
/// Options of one detector, and bytes of their names and values together.
pub const MAX_OPTIONS: usize = 100;
/// See [`MAX_OPTIONS`].
pub const MAX_OPTION_BYTES: usize = 1 << 20;
/// Batches that wait for one detector; a further one goes without it.
pub const QUEUE_BATCHES: usize = 64;
