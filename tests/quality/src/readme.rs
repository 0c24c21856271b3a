//! The figures in README files: what stands between two marks is what the last `--write` measured.

use std::{fs, path::Path, time::SystemTime};

use anyhow::Context;

use crate::report::Report;

const BEGIN: &str = "<!-- quality: written by `cargo xtask quality --write`";
const END: &str = "<!-- quality: end -->";

/// Writes the goals' table into the project's README and the tables by detector into this crate's.
///
/// # Errors
/// If a README cannot be read or written, or has no marks.
pub fn write(report: &Report) -> anyhow::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    replace(&here.join("../../README.md"), &report.goals())?;
    replace(&here.join("README.md"), &format!("{}\n{}", report.details(), report.costs()))
}

fn replace(path: &Path, tables: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let replaced = between_marks(&text, tables, &today())
        .with_context(|| format!("{} lacks the marks `{BEGIN} … -->` and `{END}`", path.display()))?;
    fs::write(path, replaced).with_context(|| format!("{}", path.display()))
}

/// The text with the tables between its marks; `None` if it has none.
fn between_marks(text: &str, tables: &str, date: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}, {date} -->\n{}\n{END}{after}", tables.trim_end()))
}

/// The day, as `2026-11-21`.
fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// A day counted from 1970-01-01. Years run from March here, so that leap days come last.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let text = format!("above\n{BEGIN}, 2020-01-01 -->\nold\n{END}\nbelow\n");
        let new = between_marks(&text, "| new |\n\n", "2026-11-21").unwrap();
        assert_eq!(new, format!("above\n{BEGIN}, 2026-11-21 -->\n| new |\n{END}\nbelow\n"));
        assert_eq!(between_marks("no marks", "x", "x"), None);
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(20_778), "2026-11-21");
    }

    #[test]
    fn both_readmes_have_their_marks() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for path in [here.join("../../README.md"), here.join("README.md")] {
            let text = fs::read_to_string(&path).unwrap();
            assert!(between_marks(&text, "", "").is_some(), "{}", path.display());
        }
    }
}
