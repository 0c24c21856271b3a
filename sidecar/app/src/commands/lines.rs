//! Lines of files: plain, `.gz` and `.zst`, or standard input, with a progress bar on a terminal.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oddline_codec::json;
use oddline_engine::{Body, Picker, Record, Scalar, Visitor};

/// Longest line that is kept, in bytes; the rest of a longer one is passed over.
pub const MAX_LINE_BYTES: usize = 8 << 20;

/// A batch of lines is closed when it has so many bytes: one over it and a longest line at most, whatever a compressed
/// file becomes.
pub const MAX_BATCH_BYTES: usize = 32 << 20;

/// What a line costs that is kept, however short it is.
const LEAST_LINE_BYTES: usize = 32;

/// One input being read line by line.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    name: String,
    number: u64,
    bar: ProgressBar,
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// 1-based.
    pub number: u64,
    /// Its bytes, not necessarily UTF-8.
    pub text: Vec<u8>,
}

impl Lines {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> anyhow::Result<Lines> {
        if path == Path::new("-") {
            return Ok(Lines::new(Box::new(BufReader::new(io::stdin())), "standard input".into(), None));
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
        let metadata = file.metadata().with_context(|| format!("{name} cannot be read"))?;
        anyhow::ensure!(!metadata.is_dir(), "{name} is a folder; name the files in it");
        let bar = bar(metadata.len(), &name);
        let counted = bar.wrap_read(file);
        let reader: Box<dyn BufRead + Send> = match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(counted))),
            Some("zst") => Box::new(BufReader::new(
                zstd::stream::read::Decoder::new(counted).with_context(|| format!("{name} is not zstd"))?,
            )),
            _ => Box::new(BufReader::with_capacity(1 << 16, counted)),
        };
        Ok(Lines::new(reader, name, Some(bar)))
    }

    fn new(reader: Box<dyn BufRead + Send>, name: String, bar: Option<ProgressBar>) -> Lines {
        Lines { reader, name, number: 0, bar: bar.unwrap_or_else(ProgressBar::hidden) }
    }

    /// Up to `most` further lines, or fewer that have [`MAX_BATCH_BYTES`] together; none at the end.
    ///
    /// # Errors
    /// If the input cannot be read on, naming it and the line.
    pub fn next(&mut self, most: usize) -> anyhow::Result<Vec<Line>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < most && bytes < MAX_BATCH_BYTES {
            let mut text = Vec::new();
            let failed = || format!("{} cannot be read after line {}", self.name, self.number);
            let limit = MAX_LINE_BYTES as u64;
            let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut text).with_context(failed)?;
            if read == 0 {
                self.bar.finish_and_clear();
                break;
            }
            if text.len() == MAX_LINE_BYTES && !text.ends_with(b"\n") {
                self.reader.skip_until(b'\n').with_context(failed)?;
            }
            self.number += 1;
            while matches!(text.last(), Some(b'\n' | b'\r')) {
                text.pop();
            }
            // What was set aside to read it into may be twice as much.
            text.shrink_to_fit();
            bytes += text.len();
            lines.push(Line { number: self.number, text });
        }
        Ok(lines)
    }

    /// Prints above the progress bar rather than through it.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

/// A line as a record: a JSON object is one with fields, anything else one with a message.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'l> {
    /// A JSON object.
    Json(&'l [u8]),
    /// A message.
    Text(&'l [u8]),
}

impl<'l> Entry<'l> {
    /// What a line is.
    pub fn of(line: &'l [u8]) -> Entry<'l> {
        let looks_so = line.trim_ascii_start().starts_with(b"{");
        if looks_so && json::walk(line, &mut Nothing).is_ok() { Entry::Json(line) } else { Entry::Text(line) }
    }

    /// What the engine sees of it.
    pub fn record(self, picker: &Picker, tag: &'l [u8]) -> Record<'l> {
        match self {
            Entry::Text(line) => Record::from_line(tag, line),
            Entry::Json(line) => {
                let mut picking = picker.start(tag);
                // It was walked before, so nothing can be wrong with it.
                let _ = json::walk(line, &mut picking);
                picking.finish()
            }
        }
    }

    /// Whether it has fields.
    pub fn is_record(self) -> bool {
        matches!(self, Entry::Json(_))
    }
}

impl Body for Entry<'_> {
    fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        match self {
            Entry::Json(line) => {
                let _ = json::walk(line, visitor);
            }
            Entry::Text(line) => visitor.scalar(b"message", Scalar::Text((*line).into())),
        }
    }
}

/// Looks at nothing: for whether something can be read at all.
struct Nothing;

impl<'a> Visitor<'a> for Nothing {
    fn enter(&mut self, _: &[u8]) -> bool {
        false
    }

    fn leave(&mut self) {}

    fn scalar(&mut self, _: &[u8], _: Scalar<'a>) {}
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("name", &self.name)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// All lines of several files together, no more than `most_bytes` of them; a line counts for 32 bytes at least.
///
/// # Errors
/// As [`Lines::open`] and [`Lines::next`]; and if there are more, naming the file.
pub fn read_all(paths: &[PathBuf], most_bytes: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let (mut all, mut bytes) = (Vec::new(), 0_usize);
    for path in paths {
        let mut lines = Lines::open(path)?;
        loop {
            let chunk = lines.next(10_000)?;
            if chunk.is_empty() {
                break;
            }
            bytes = chunk
                .iter()
                .fold(bytes, |sum, line| sum.saturating_add(line.text.len().max(LEAST_LINE_BYTES)));
            let path = path.display();
            anyhow::ensure!(
                bytes <= most_bytes,
                "{path}: its lines, with those before it, are more than {most_bytes} bytes; give fewer of them"
            );
            all.extend(chunk.into_iter().map(|line| line.text));
        }
    }
    Ok(all)
}

/// Short inputs need no bar, and one that is not on a terminal would only litter a log.
fn bar(bytes: u64, name: &str) -> ProgressBar {
    if bytes < 1 << 22 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {bytes}/{total_bytes}, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn texts(path: &Path) -> Vec<String> {
        let lines = Lines::open(path).unwrap().next(100).unwrap();
        lines.iter().map(|line| format!("{}:{}", line.number, String::from_utf8_lossy(&line.text))).collect()
    }

    #[test]
    fn plain_gzip_and_zstd_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let content = b"one\r\n\ntwo \xff\nlast without an end";
        let expected = ["1:one", "2:", "3:two \u{fffd}", "4:last without an end"];
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.log"), content).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(content).unwrap();
        std::fs::write(path("a.log.gz"), gz.finish().unwrap()).unwrap();
        std::fs::write(path("a.log.zst"), zstd::encode_all(&content[..], 1).unwrap()).unwrap();
        for name in ["a.log", "a.log.gz", "a.log.zst"] {
            assert_eq!(texts(&path(name)), expected, "{name}");
        }
    }

    /// A file of lines of so many bytes each, which compress to next to nothing.
    fn bomb(folder: &Path, lines: usize, bytes: usize) -> PathBuf {
        let path = folder.join("bomb.log.zst");
        let line = [vec![b'x'; bytes], b"\n".to_vec()].concat();
        let mut writer = zstd::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
        (0..lines).for_each(|_| writer.write_all(&line).unwrap());
        writer.finish().unwrap();
        path
    }

    #[test]
    fn batches_are_bounded_in_bytes_at_the_limit_one_over_and_ten_times() {
        let folder = tempfile::tempdir().unwrap();
        let (mib, at_limit) = (1 << 20, MAX_BATCH_BYTES >> 20);
        for lines in [at_limit, at_limit + 1, 10 * at_limit] {
            let mut input = Lines::open(&bomb(folder.path(), lines, mib)).unwrap();
            let mut left = lines;
            while left > 0 {
                let batch = input.next(10_000).unwrap();
                assert_eq!(batch.len(), left.min(at_limit), "of {lines}");
                left -= batch.len();
            }
            assert_eq!(input.next(10_000).unwrap(), []);
        }
        // The last line of a batch may be as long as lines are.
        let mut input = Lines::open(&bomb(folder.path(), 6, 10 * MAX_LINE_BYTES)).unwrap();
        let batch = input.next(10_000).unwrap();
        assert_eq!(batch.iter().map(|line| line.text.len()).sum::<usize>(), MAX_BATCH_BYTES);
    }

    #[test]
    fn all_lines_are_bounded_at_the_limit_one_over_and_ten_times() {
        let folder = tempfile::tempdir().unwrap();
        // Empty lines are kept too.
        for (bytes, sum) in [(100, 10_000), (0, 3_200)] {
            let files = [bomb(folder.path(), 100, bytes)];
            assert_eq!(read_all(&files, sum).unwrap().len(), 100);
            for most in [sum - 1, sum / 10] {
                let error = read_all(&files, most).unwrap_err().to_string();
                assert!(
                    error.contains("bomb.log.zst") && error.contains(&format!("{most} bytes")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lines::open(&folder.path().join("none.log")).unwrap_err().to_string().contains("none.log"));
        assert!(Lines::open(folder.path()).unwrap_err().to_string().contains("is a folder"));
        let broken = folder.path().join("broken.gz");
        std::fs::write(&broken, b"\x1f\x8b\x08\x00garbage").unwrap();
        let error = Lines::open(&broken).unwrap().next(1).unwrap_err();
        assert!(error.to_string().contains("broken.gz cannot be read after line 0"), "{error}");
    }
}
