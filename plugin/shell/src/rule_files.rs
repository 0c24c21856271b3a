//! Takes the path that the option `rules` names, gives the rule files there and what is in them: one file, or those of a folder.
//!
//! The one place that says what a rule file in a folder is, for the filters and for the program beside them: not hidden, a
//! known ending, taken in the order of names. Must not know what is done with rules, or when a path is looked at.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use oddline_engine::rules::{self, MAX_FILE_BYTES, Parsed};

/// Most rule files in a folder.
pub const MAX_RULE_FILES: usize = 256;
/// Most bytes of all rule files of a folder together: as many as one file may have.
pub const MAX_RULE_BYTES: usize = MAX_FILE_BYTES;
/// Most entries of a folder, whatever they are: it is looked at once or twice a second.
pub const MAX_RULE_FOLDER_ENTRIES: usize = 4_096;
/// Endings by which a rule file in a folder is known; others (backups, notes) are left alone.
pub const RULE_ENDINGS: [&str; 3] = ["toml", "rules", "txt"];

/// What decides whether a file is read again; `None` if it is not there.
pub(crate) type Stamp = Option<About>;

/// Size and time of change of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    bytes: u64,
    modified: Option<SystemTime>,
    /// When its mode or owner changed, where the system says so: it may be readable now.
    changed: (i64, i64),
}

impl About {
    fn of(meta: &fs::Metadata) -> About {
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt as _;
            (meta.ctime(), meta.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed = (0, 0);
        About { bytes: meta.len(), modified: meta.modified().ok(), changed }
    }
}

pub(crate) fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().as_ref().map(About::of)
}

/// A rule file as it was when it was found. Equal to another look at it if it has not changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// Where it lies.
    pub path: PathBuf,
    stamp: Stamp,
}

impl RuleFile {
    /// What is in it.
    ///
    /// # Errors
    /// If it cannot be read or is too large; names the file.
    pub fn parse(&self) -> io::Result<Parsed> {
        let name = self.path.display().to_string();
        let content = read_limited(&self.path, MAX_FILE_BYTES).map_err(|error| named(&self.path, &error))?;
        Ok(rules::parse_bytes(&name, &content))
    }
}

/// The rule files of a path: itself if it is a file, whatever its name; of a folder those that are not hidden and end in
/// `.toml`, `.rules` or `.txt`, in the order of their names. Folders in a folder are left alone, links are followed.
///
/// # Errors
/// If there is nothing, or the folder has more files, bytes or other entries than it may.
pub fn rule_files(path: &Path) -> io::Result<Vec<RuleFile>> {
    let about = fs::metadata(path)?;
    if !about.is_dir() {
        return Ok(vec![RuleFile { path: path.to_owned(), stamp: stamp(path) }]);
    }
    let mut files = Vec::new();
    for (place, entry) in fs::read_dir(path)?.enumerate() {
        if place >= MAX_RULE_FOLDER_ENTRIES {
            let fault =
                format!("more than {MAX_RULE_FOLDER_ENTRIES} entries; give rules a folder of their own");
            return Err(io::Error::other(fault));
        }
        let file = entry?.path();
        if !is_rule_file(&file) {
            continue;
        }
        // One that is listed and cannot be looked at is told when it is read.
        let about = fs::metadata(&file);
        if about.as_ref().is_ok_and(|about| !about.is_file()) {
            continue;
        }
        files.push(RuleFile { stamp: about.ok().as_ref().map(About::of), path: file });
        if files.len() > MAX_RULE_FILES {
            return Err(io::Error::other(format!("more than {MAX_RULE_FILES} rule files; join some")));
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    let sizes = files.iter().map(|file| file.stamp.map_or(0, |about| about.bytes));
    let bytes = sizes.fold(0_u64, u64::saturating_add);
    if bytes > MAX_RULE_BYTES as u64 {
        return Err(io::Error::other(format!(
            "{bytes} bytes in {} rule files, more than the limit of {MAX_RULE_BYTES}; take some out",
            files.len()
        )));
    }
    Ok(files)
}

fn is_rule_file(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && ending.is_some_and(|ending| RULE_ENDINGS.contains(&ending))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    // In a filter for a host with little memory, asking for too much at once would end the host's call.
    let expected = file.metadata().map_or(0, |about| usize::try_from(about.len()).unwrap_or(usize::MAX));
    bytes
        .try_reserve_exact(expected.min(limit).saturating_add(1))
        .map_err(|_| io::Error::other(format!("no memory for {expected} bytes")))?;
    file.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("file has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let files = rule_files(folder).unwrap();
        files.iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    fn refusal(folder: &Path) -> String {
        rule_files(folder).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_gives_its_rule_files_in_the_order_of_their_names_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.toml", "a.rules", "c.txt", ".hidden.toml", "a.toml.bak", "README.md", "plain"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("folder.toml")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("plain"), at("link.rules")).unwrap();
        assert_eq!(names(folder.path()), ["a.rules", "b.toml", "c.txt", "link.rules"]);
        assert_eq!(
            rule_files(&at("plain")).unwrap().len(),
            1,
            "a file that is named counts whatever its name"
        );
        assert!(rule_files(&at("absent")).is_err());
    }

    #[test]
    fn a_file_that_changed_is_not_the_file_of_before() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.rules"), "A a 1\n").unwrap();
        let before = rule_files(folder.path()).unwrap();
        assert_eq!(rule_files(folder.path()).unwrap(), before);
        fs::write(folder.path().join("a.rules"), "A abc 1\n").unwrap();
        assert_ne!(rule_files(folder.path()).unwrap(), before);
    }

    #[test]
    fn files_and_entries_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let write = |number: usize| fs::write(folder.path().join(format!("{number}.toml")), "").unwrap();
        (0..MAX_RULE_FILES).for_each(write);
        assert_eq!(names(folder.path()).len(), MAX_RULE_FILES);
        for over in [MAX_RULE_FILES + 1, 10 * MAX_RULE_FILES] {
            (MAX_RULE_FILES..over).for_each(write);
            assert_eq!(refusal(folder.path()), "more than 256 rule files; join some");
        }
        let folder = tempfile::tempdir().unwrap();
        let write = |number: usize| fs::write(folder.path().join(format!("{number}.log")), "").unwrap();
        (0..MAX_RULE_FOLDER_ENTRIES).for_each(write);
        assert!(names(folder.path()).is_empty());
        for over in [MAX_RULE_FOLDER_ENTRIES + 1, 10 * MAX_RULE_FOLDER_ENTRIES] {
            (MAX_RULE_FOLDER_ENTRIES..over).for_each(write);
            assert_eq!(refusal(folder.path()), "more than 4096 entries; give rules a folder of their own");
        }
    }

    #[test]
    fn bytes_are_bounded_together_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let sized = |name: &str, bytes: usize| {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_len(bytes as u64).unwrap();
        };
        sized("a.rules", 100);
        sized("b.rules", MAX_RULE_BYTES - 100);
        assert_eq!(names(folder.path()).len(), 2);
        for over in [MAX_RULE_BYTES - 99, 10 * MAX_RULE_BYTES] {
            sized("b.rules", over);
            let told = format!(
                "{} bytes in 2 rule files, more than the limit of 16777216; take some out",
                over + 100
            );
            assert_eq!(refusal(folder.path()), told);
        }
        let alone = |bytes: usize| {
            sized("b.rules", bytes);
            let files = rule_files(&folder.path().join("b.rules")).unwrap();
            files[0].parse().map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(alone(MAX_FILE_BYTES), Ok(()));
        for over in [MAX_FILE_BYTES + 1, 10 * MAX_FILE_BYTES] {
            let told = alone(over).unwrap_err();
            assert!(told.ends_with("b.rules: file has more than 16777216 bytes"), "{told}");
        }
    }
}
