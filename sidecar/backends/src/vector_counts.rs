//! The `CountSource` behind a `prometheus_exporter` sink of Vector: reads its page, picks the counters that are ours.
//! Knows no more of that format than the exporter writes; every other line is skipped.

use std::time::Duration;

use oddline_analyze::ports::{Answer, BackendError, CountSource, Total};
use oddline_engine::TemplateId;

use crate::http::{Endpoint, address};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest page: more than a hundred thousand counters.
const MAX_PAGE_BYTES: usize = 16 << 20;
/// How a counter of ours begins: namespace and name as the configuration of Vector gives them.
const NAME: &str = "oddline_template_records{";
/// Longest description of a source, in bytes.
const MAX_SOURCE_BYTES: usize = 1_024;

/// A page of counters.
#[derive(Debug)]
pub struct VectorCounts(Endpoint);

impl VectorCounts {
    /// The page at this address, path included.
    ///
    /// # Errors
    /// If it is no http or https address, or holds a password.
    pub fn new(url: &str) -> Result<VectorCounts, BackendError> {
        let url = address("vector counts", url)?;
        Endpoint::new("vector counts", url, None, TIMEOUT, 1).map(VectorCounts)
    }
}

impl CountSource for VectorCounts {
    fn totals(&self) -> Answer<'_, Vec<Total>> {
        Box::pin(async {
            let page = self.0.fetch(MAX_PAGE_BYTES).await?;
            Ok(String::from_utf8_lossy(&page).lines().filter_map(total).collect())
        })
    }
}

/// `oddline_template_records{source="app",template_id="f2c7debc31823290"} 3 1795251482274`.
fn total(line: &str) -> Option<Total> {
    let mut rest = line.strip_prefix(NAME)?;
    let (mut id, mut source, mut rule_hit) = (None, String::new(), false);
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        match name {
            "template_id" => id = TemplateId::parse(&value),
            "source" if value.len() <= MAX_SOURCE_BYTES => source = value,
            "rule_hit" => rule_hit = value == "1",
            _ => {}
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let value: f64 = rest.strip_prefix('}')?.split_whitespace().next()?.parse().ok()?;
    let id = id?;
    // A whole number that a double holds exactly; everything else is no counter of records.
    (value >= 0.0 && value < (1u64 << 53) as f64).then(|| Total {
        id,
        source: source.into(),
        rule_hit,
        records: value as u64,
    })
}

/// A value up to its closing quotation mark, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<(u64, String, bool, u64)> {
        total(line).map(|total| (total.id.0, total.source.to_string(), total.rule_hit, total.records))
    }

    #[test]
    fn counters_are_read_as_the_exporter_writes_them() {
        let line =
            r#"oddline_template_records{source="a\"b\\cé",template_id="00000000000000ff"} 3 1795251482274"#;
        assert_eq!(parts(line), Some((255, "a\"b\\cé".into(), false, 3)));
        let line = r#"oddline_template_records{rule_hit="1",template_id="00000000000000ff"} 12"#;
        assert_eq!(parts(line), Some((255, String::new(), true, 12)));
        let line =
            r#"oddline_template_records{host="x",source="a,b=\"c}",template_id="00000000000000ff"} 1e3"#;
        assert_eq!(parts(line), Some((255, "a,b=\"c}".into(), false, 1_000)));
    }

    #[test]
    fn what_is_no_counter_of_ours_is_skipped() {
        for line in [
            "",
            "# HELP oddline_template_records template_records",
            r#"other_records{template_id="00000000000000ff"} 3"#,
            r#"oddline_template_records{source="app"} 3"#,
            r#"oddline_template_records{template_id="ff"} 3"#,
            r#"oddline_template_records{template_id="00000000000000ff"} NaN"#,
            r#"oddline_template_records{template_id="00000000000000ff"} -1"#,
            r#"oddline_template_records{template_id="00000000000000ff"} 1e300"#,
            r#"oddline_template_records{template_id="00000000000000ff"}"#,
            r#"oddline_template_records{template_id="00000000000000ff"#,
            r#"oddline_template_records{template_id="00000000000000ff\"#,
            "oddline_template_records{",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }
}
