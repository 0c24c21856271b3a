//! Files of labelled data, found by pattern and read whole: plain, `.gz` or `.zst`. Whatever cannot be read is named, with
//! its line.

use std::path::{Path, PathBuf};

use anyhow::Context;
use oddline::commands::lines::read_all;
use serde::de::DeserializeOwned;

/// A folder that may hold a set: its name and all files in it, at most two levels deep, in order of their paths.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder's own name.
    pub name: String,
    files: Vec<PathBuf>,
}

impl Folder {
    /// Lists a folder.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub fn list(path: &Path) -> anyhow::Result<Folder> {
        let mut files = Vec::new();
        for entry in entries(path)? {
            if entry.is_dir() {
                files.extend(entries(&entry)?.into_iter().filter(|it| it.is_file()))
            } else {
                files.push(entry)
            }
        }
        files.sort();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Folder { name, files })
    }

    /// Files whose name, compression left out, ends like this; with the part before the ending.
    pub fn ending(&self, ending: &str) -> Vec<(String, &Path)> {
        let named = |path: &'_ PathBuf| Some(plain_name(path).strip_suffix(ending)?.to_owned());
        self.files.iter().filter_map(|path| Some((named(path)?, path.as_path()))).collect()
    }

    /// The file of exactly this name, compression left out.
    pub fn file(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|path| plain_name(path) == name).map(PathBuf::as_path)
    }

    /// [`Folder::file`], named in the error if it is missing.
    ///
    /// # Errors
    /// If there is none.
    pub fn needed(&self, name: &str) -> anyhow::Result<&Path> {
        self.file(name).with_context(|| format!("{} has no {name} (nor {name}.gz, {name}.zst)", self.name))
    }

    /// Keys of the first object of the first `.jsonl` file: what kind of rows they are. Empty if there is none.
    pub fn row_keys(&self) -> Vec<String> {
        let first = self.ending(".jsonl").into_iter().next();
        let row = first.and_then(|(_, path)| {
            let mut lines = oddline::commands::lines::Lines::open(path).ok()?;
            serde_json::from_slice(&lines.next(1).ok()?.first()?.text).ok()
        });
        let Some(serde_json::Value::Object(row)) = row else { return Vec::new() };
        row.into_iter().map(|(key, _)| key).collect()
    }
}

/// Where the data is if nobody says: `../shared/data` from the project's root.
pub fn default_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")
}

/// Folders below `data`, in order.
///
/// # Errors
/// If it cannot be listed.
pub fn folders(data: &Path) -> anyhow::Result<Vec<Folder>> {
    let mut paths: Vec<PathBuf> = entries(data)?.into_iter().filter(|path| path.is_dir()).collect();
    paths.sort();
    paths.iter().map(|path| Folder::list(path)).collect()
}

fn entries(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))?;
    listed
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("{}", path.display()))
}

/// A file's name without `.gz` or `.zst`.
fn plain_name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}

/// All lines of a file.
///
/// # Errors
/// If it cannot be read.
pub fn lines(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    read_all(&[path.to_owned()], usize::MAX)
}

/// All rows of a file of JSON lines.
///
/// # Errors
/// If it cannot be read, or a row is not of the shape; names file and line.
pub fn json_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let rows = lines(path)?.into_iter().enumerate().filter(|(_, line)| !line.is_empty());
    rows.map(|(at, line)| {
        serde_json::from_slice(&line).with_context(|| format!("{} line {}", path.display(), at + 1))
    })
    .collect()
}

/// All rows of a table with a header.
///
/// # Errors
/// If it cannot be read, or a row is not of the shape; names file and row.
pub fn table<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = lines(path)?.join(&b'\n');
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&*text);
    reader
        .deserialize()
        .enumerate()
        .map(|(row, read)| read.with_context(|| format!("{} row {}", path.display(), row + 1)))
        .collect()
}

/// `2018-09-29 02:28:04.370` or `2023-01-29T08:43:04`, as nanoseconds of that clock; `None` if the text does not begin so.
pub fn timestamp(text: &[u8]) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| digits.iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, wanted: &[u8]| text.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b" T") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    let fraction = text.get(19..).filter(|rest| rest.first().is_some_and(|byte| b".,".contains(byte)));
    let digits = fraction.into_iter().flatten().skip(1).take(9).take_while(|byte| byte.is_ascii_digit());
    let (nanos, _) =
        digits.fold((0, 100_000_000), |(sum, unit), digit| (sum + i64::from(digit - b'0') * unit, unit / 10));
    // Days of the proleptic Gregorian calendar, counted from March so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + seconds) * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_to_the_nanosecond() {
        assert_eq!(timestamp(b"1970-01-01 00:00:00"), Some(0));
        assert_eq!(timestamp(b"2018-09-29 02:28:04.370 5933 DEBUG"), Some(1_538_188_084_370_000_000));
        assert_eq!(timestamp(b"2024-02-29T23:59:59,000000001"), Some(1_709_251_199_000_000_001));
        assert_eq!(timestamp(b"Feb 29 23:59:59"), None);
        assert_eq!(timestamp(b""), None);
    }

    #[test]
    fn files_are_found_by_their_ending_whatever_compresses_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("set")).unwrap();
        for name in ["b.pass.log.gz", "a.pass.log", "a.labels.csv"] {
            std::fs::write(folder.path().join("set").join(name), b"").unwrap();
        }
        let set = &folders(folder.path()).unwrap()[0];
        let cases: Vec<String> = set.ending(".pass.log").into_iter().map(|(case, _)| case).collect();
        assert_eq!(cases, ["a", "b"]);
        assert!(set.file("a.labels.csv").is_some());
        let error = set.needed("b.fail.log").unwrap_err().to_string();
        assert_eq!(error, "set has no b.fail.log (nor b.fail.log.gz, b.fail.log.zst)");
    }

    #[test]
    fn a_row_of_the_wrong_shape_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "{\"a\":1}\n{\"a\":\"x\"}\n").unwrap();
        let error = format!("{:#}", json_lines::<std::collections::BTreeMap<String, u8>>(&path).unwrap_err());
        assert!(error.contains("rows.jsonl line 2"), "{error}");
    }
}
