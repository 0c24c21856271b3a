//! What the sidecar knows, as the plugin reads it: verdicts per template, exceptions, rates, threshold offsets.
//!
//! An advice file is one header line `oddline-advice <version> <xxh3 of the body, 16 hex digits>` and a JSON body. It is
//! replaced whole by an atomic rename; a file that does not check out is refused by name and the last good one stays.

pub mod row;

use std::{collections::BTreeMap, fmt};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::{plain::plain, template::Seeds, verdict::TemplateId};

/// The format this build writes; it reads this one only.
pub const ADVICE_VERSION: u32 = 1;
/// Largest advice file that is read, in bytes.
pub const MAX_ADVICE_BYTES: usize = 64 << 20;

/// Most of a fault in a body that is told.
const MAX_TOLD_BYTES: usize = 400;

/// What the sidecar thinks of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Known as normal: taught or earned; with a similarity, near enough to one that is. The first quiets all but grave
    /// rules, the second only says that being new is nothing special.
    Normal,
    /// Unlike anything known.
    Anomalous,
    /// A false positive or suppression by an operator: never flagged until `expires`.
    Exception,
}

/// One template's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateAdvice {
    /// The template's text: it seeds the miner, so that all nodes converge on one text and id.
    pub text: String,
    /// The sidecar's class.
    pub class: Class,
    /// The sidecar's score, 0..1.
    pub score: f32,
    /// Cosine to the nearest known-normal template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
    /// Text of that template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// Expected events per minute over all sources for the coming hour, if a baseline exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Unix seconds after which the row no longer counts; `None`: until replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// The body of an advice file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advice {
    /// Grows with every published file.
    pub generation: u64,
    /// Rows by template id.
    #[serde(default)]
    pub templates: BTreeMap<TemplateIdText, TemplateAdvice>,
    /// Old id to new id, for templates that generalised.
    #[serde(default)]
    pub aliases: BTreeMap<TemplateIdText, TemplateIdText>,
    /// Rules that are silenced, with the Unix second until which (0: for ever).
    #[serde(default)]
    pub silenced_rules: BTreeMap<String, u64>,
    /// Added to every score before the level is read, -0.5..=0.5; feedback moves it.
    #[serde(default)]
    pub threshold_offset: f32,
}

/// A template id as a JSON key.
pub type TemplateIdText = TemplateId;

/// Why an advice or snapshot file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdviceError {
    /// Longer than the limit.
    #[error("file has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No header line of the right shape.
    #[error("no `{expected} <version> <checksum>` header line: not such a file, or cut short")]
    Header {
        /// The word a header begins with.
        expected: &'static str,
    },
    /// Another version's file.
    #[error("format version {found} is not the supported {supported}; write it again with this release")]
    Version {
        /// In the file.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The body is not what was written.
    #[error("checksum mismatch: the file was cut short or altered")]
    Checksum,
    /// The body is not valid.
    #[error("{0}")]
    Body(String),
}

impl AdviceError {
    /// The parser repeats what it found, whatever that is.
    pub(crate) fn body(error: &serde_json::Error) -> AdviceError {
        AdviceError::Body(plain(&error.to_string(), MAX_TOLD_BYTES))
    }
}

/// Frames a body with header line and checksum.
pub(crate) fn frame(word: &str, version: u32, body: &[u8]) -> Vec<u8> {
    let mut out = header(word, version, twox_hash::XxHash3_64::oneshot(body)).into_bytes();
    out.extend_from_slice(body);
    out
}

/// The first line, of a body with this hash.
pub(crate) fn header(word: &str, version: u32, hash: u64) -> String {
    format!("{word} {version} {hash:016x}\n")
}

/// Checks header and checksum; gives the body.
pub(crate) fn unframe<'a>(
    word: &'static str,
    version: u32,
    limit: usize,
    bytes: &'a [u8],
) -> Result<&'a [u8], AdviceError> {
    if bytes.len() > limit {
        return Err(AdviceError::TooLarge { bytes: bytes.len(), limit });
    }
    let header = AdviceError::Header { expected: word };
    let end =
        memchr::memchr(b'\n', bytes.get(..bytes.len().min(80)).unwrap_or_default()).ok_or(header.clone())?;
    let (line, rest) = bytes.split_at(end);
    let body = rest.get(1..).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| header.clone())?;
    let mut words = line.split(' ');
    if words.next() != Some(word) {
        return Err(header);
    }
    let found: u32 = words.next().and_then(|text| text.parse().ok()).ok_or(header.clone())?;
    if found != version {
        return Err(AdviceError::Version { found, supported: version });
    }
    let sum = words.next().and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(header)?;
    if sum != twox_hash::XxHash3_64::oneshot(body) {
        return Err(AdviceError::Checksum);
    }
    Ok(body)
}

impl Advice {
    /// The bytes of an advice file.
    pub fn to_bytes(&self) -> Vec<u8> {
        frame("oddline-advice", ADVICE_VERSION, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads an advice file.
    ///
    /// # Errors
    /// If it is too large, of another version, cut short, altered, or not valid.
    pub fn parse(bytes: &[u8]) -> Result<Advice, AdviceError> {
        let body = unframe("oddline-advice", ADVICE_VERSION, MAX_ADVICE_BYTES, bytes)?;
        let advice: Advice = serde_json::from_slice(body).map_err(|error| AdviceError::body(&error))?;
        if !(-0.5..=0.5).contains(&advice.threshold_offset) {
            return Err(AdviceError::Body(format!(
                "threshold_offset is {}, not within -0.5..=0.5",
                advice.threshold_offset
            )));
        }
        Ok(advice)
    }
}

/// Advice laid out for look-up in the hot path.
#[derive(Debug, Default)]
pub struct AdviceTable {
    rows: HashMap<u64, TemplateAdvice, crate::memory::IdHasher>,
    aliases: HashMap<u64, u64, crate::memory::IdHasher>,
    pub(crate) silenced_rules: BTreeMap<String, u64>,
    pub(crate) threshold_offset: f32,
    pub(crate) seeds: Seeds,
}

impl AdviceTable {
    /// The table of an advice file. Takes milliseconds for a large one: not for the thread that filters.
    pub fn new(advice: Advice) -> Self {
        AdviceTable {
            seeds: Seeds::new(advice.templates.values().map(|row| row.text.as_str())),
            rows: advice.templates.into_iter().map(|(id, row)| (id.0, row)).collect(),
            aliases: advice.aliases.into_iter().map(|(old, new)| (old.0, new.0)).collect(),
            silenced_rules: advice.silenced_rules,
            threshold_offset: advice.threshold_offset,
        }
    }

    /// The row of a template, through at most one alias, unless it has expired by `now` (Unix seconds).
    #[inline]
    pub fn get(&self, id: TemplateId, now: u64) -> Option<&TemplateAdvice> {
        if self.rows.is_empty() {
            return None;
        }
        let row = self.rows.get(&id.0).or_else(|| self.rows.get(self.aliases.get(&id.0)?))?;
        row.expires.is_none_or(|expires| now < expires).then_some(row)
    }

    /// The class in a template's own row, expired or not.
    pub(crate) fn class(&self, id: TemplateId) -> Option<Class> {
        self.rows.get(&id.0).map(|row| row.class)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Normal => "normal",
            Class::Anomalous => "anomalous",
            Class::Exception => "exception",
        })
    }
}
