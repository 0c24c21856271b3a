//! Takes the path of a state file, gives the right to keep it: one instance at a time, in this process or any other. Two
//! that save to one file would each start from what the other has learned. Must not know what is in the file.

use std::fs::{File, OpenOptions, TryLockError};

/// A locked file beside the state file. Dropped, or with the process, it is free again.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl Claim {
    /// Claims a state file. `None` if nothing can be written there at all: saving will say that.
    ///
    /// # Errors
    /// One line that names the file, if another instance keeps it.
    pub fn new(path: &str) -> Result<Option<Claim>, String> {
        let beside = format!("{path}.lock");
        let Ok(lock) = OpenOptions::new().create(true).append(true).open(&beside) else { return Ok(None) };
        match lock.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: lock })),
            Err(TryLockError::WouldBlock) => Err(format!(
                "state_file `{path}` is kept by another instance of this filter; give each a file of its own"
            )),
            // A file system without locks.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Claim;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").display().to_string();
        let claim = Claim::new(&path).unwrap().unwrap();
        let refused = Claim::new(&path).unwrap_err();
        assert!(refused.starts_with(&format!("state_file `{path}` is kept by another")), "{refused}");
        assert!(Claim::new(&format!("{path}-2")).unwrap().is_some());
        drop(claim);
        assert!(Claim::new(&path).unwrap().is_some());
        assert!(Claim::new("/no/such/folder/state").unwrap().is_none());
    }
}
