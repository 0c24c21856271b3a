//! Advice as rows of a key-value table, for shippers that read no file: one row per template, keyed by its masked text,
//! and one row whose key no masked text can have. Gives the shapes; who writes and who reads them is not known here.
//!
//! ```
//! use oddline_engine::advice::row::{RowClass, TemplateRow};
//!
//! let row: TemplateRow =
//!     serde_json::from_str(r#"{"id":"f2c7debc31823290","class":"normal","score":0.1,"similarity":0.8}"#)?;
//! assert_eq!((row.class, row.habit, row.burst), (RowClass::Normal, false, None));
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

use super::Class;
use crate::verdict::TemplateId;

/// Key of the [`SidecarRow`]. Masked text holds no digit.
pub const SIDECAR_KEY: &str = "sidecar 1";
/// A heartbeat older than this many seconds, or none: the sidecar is not there.
pub const HEARTBEAT_SECONDS: u64 = 3;

/// That the sidecar is there, and what holds for all templates: one row, because asking a table costs more than reading
/// what it answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SidecarRow {
    /// Unix seconds at which it was written; 0: the sidecar goes, or has not written all rows yet. What else the row says
    /// holds for as long as the table keeps it.
    pub at: f64,
    /// Names of the rules that count for nothing now, each between two tabs; see [`SidecarRow::join`].
    pub silenced: String,
    /// Added to every score before the level is read, -0.5..=0.5.
    pub offset: f32,
}

impl SidecarRow {
    /// Names as they stand in a row. One that could be taken for two is left out: no rule has it.
    pub fn join<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
        let mut text = String::new();
        for name in names.into_iter().filter(|name| !name.contains('\t')) {
            if text.is_empty() {
                text.push('\t');
            }
            text.push_str(name);
            text.push('\t');
        }
        text
    }
}

/// The sidecar's class, and what lies below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowClass {
    /// See [`Class::Normal`]: without a similarity it is itself known, with one it is only like a known one.
    Normal,
    /// See [`Class::Anomalous`].
    Anomalous,
    /// See [`Class::Exception`].
    Exception,
    /// Looked up while nothing was known: no longer new, and no word on whether it is normal.
    Seen,
}

/// One template's row. It counts like a [`TemplateAdvice`](super::TemplateAdvice): until `expires`, as if absent then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateRow {
    /// The template's id.
    pub id: TemplateId,
    /// Its class.
    pub class: RowClass,
    /// The sidecar's score, 0..1: of an anomalous template the strength of the flag `semantic`.
    pub score: f32,
    /// Cosine to the nearest known-normal template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
    /// Text of that template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// See [`is_habit`](crate::score::is_habit).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub habit: bool,
    /// While it comes much more often than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<OddRate>,
    /// While it comes much less often than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<OddRate>,
    /// Expected events per minute for the coming hour, if there is a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Unix seconds from which the row counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Seconds for which the table keeps it, if not the table's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// An odd count, in events a minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddRate {
    /// What is usual.
    pub expected: f64,
    /// What is seen.
    pub actual: f64,
}

impl From<Class> for RowClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Normal => RowClass::Normal,
            Class::Anomalous => RowClass::Anomalous,
            Class::Exception => RowClass::Exception,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Masked;

    #[test]
    fn no_masked_text_is_our_key() {
        let mut masked = Masked::default();
        masked.mask(SIDECAR_KEY.as_bytes());
        assert_ne!(masked.text, SIDECAR_KEY.as_bytes());
    }

    #[test]
    fn each_silenced_name_stands_between_two_tabs() {
        assert_eq!(SidecarRow::join([]), "");
        assert_eq!(SidecarRow::join(["A", "B\tC", "D"]), "\tA\tD\t");
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let row = TemplateRow {
            id: TemplateId(1),
            class: RowClass::Seen,
            score: 0.5,
            similarity: None,
            nearest: None,
            habit: false,
            burst: None,
            drop: None,
            rate: None,
            expires: None,
            ttl: None,
        };
        let text = r#"{"id":"0000000000000001","class":"seen","score":0.5}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
        assert_eq!(serde_json::from_str::<TemplateRow>(text).unwrap(), row);
    }
}
