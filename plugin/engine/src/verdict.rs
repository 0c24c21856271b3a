//! What comes out: one calibrated score, a level, the signals behind it, and the reason in words.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Hash (XXH3, 64 bits) of a template's text; printed as 16 hex digits. The same text has the same id everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

impl TemplateId {
    /// The id of a template's text.
    pub fn of(text: &str) -> Self {
        TemplateId(twox_hash::XxHash3_64::oneshot(text.as_bytes()))
    }

    /// Reads 16 hex digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| u64::from_str_radix(text, 16).ok().map(TemplateId))
            .flatten()
    }

    /// The 16 hex digits, for those who write many and do not want to pay a formatter.
    pub fn hex(self) -> [u8; 16] {
        // Each half spread out to one nibble a byte, then nibbles to digits, eight at a time.
        let spread = |half: u32| {
            let mut nibbles = u64::from(half);
            for (shift, mask) in
                [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f_u64)]
            {
                nibbles = (nibbles | nibbles << shift) & mask;
            }
            let is_letter = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
            (nibbles + 0x3030_3030_3030_3030 + is_letter * u64::from(b'a' - b'9' - 1)).to_be_bytes()
        };
        let mut digits = [0; 16];
        let (high, low) = digits.split_at_mut(8);
        high.copy_from_slice(&spread((self.0 >> 32) as u32));
        low.copy_from_slice(&spread(self.0 as u32));
        digits
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for TemplateId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TemplateId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        TemplateId::parse(&text).ok_or_else(|| serde::de::Error::custom("a template id is 16 hex digits"))
    }
}

/// What people and alert rules read. `none` below a score of 0.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to see.
    #[default]
    None,
    /// From 0.5.
    Low,
    /// From 0.65.
    Medium,
    /// From 0.8.
    High,
    /// From 0.92.
    Critical,
}

impl Level {
    /// The level of a score.
    pub fn of(score: f32) -> Level {
        match score {
            s if s >= 0.92 => Level::Critical,
            s if s >= 0.8 => Level::High,
            s if s >= 0.65 => Level::Medium,
            s if s >= 0.5 => Level::Low,
            _ => Level::None,
        }
    }

    /// The word used in tags.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Low => "low",
            Level::Medium => "medium",
            Level::High => "high",
            Level::Critical => "critical",
        }
    }

    /// Reads the word; `None` if it is none of the five.
    pub fn parse(text: &str) -> Option<Level> {
        [Level::None, Level::Low, Level::Medium, Level::High, Level::Critical]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// Who has judged a record, or why nobody else could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Judged in the plugin.
    Inline,
    /// On its way to the sidecar.
    Pending,
    /// The sidecar agrees that it is anomalous.
    Confirmed,
    /// The sidecar knows it as normal.
    Cleared,
    /// The sidecar was absent, late or full; the reason says which.
    Skipped,
}

impl Status {
    /// The word used in tags.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Inline => "inline",
            Status::Pending => "pending",
            Status::Confirmed => "confirmed",
            Status::Cleared => "cleared",
            Status::Skipped => "skipped",
        }
    }
}

/// A signal that can fire. The order is the order in tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the names are the public contract; DESIGN and the README's table explain them"
)]
pub enum Flag {
    Pattern,
    New,
    Rare,
    Burst,
    Drop,
    Silence,
    Repeat,
    Entropy,
    Value,
    ErrorRate,
    Semantic,
    Sequence,
    Model,
}

impl Flag {
    /// All flags in order.
    pub const ALL: [Flag; 13] = [
        Flag::Pattern,
        Flag::New,
        Flag::Rare,
        Flag::Burst,
        Flag::Drop,
        Flag::Silence,
        Flag::Repeat,
        Flag::Entropy,
        Flag::Value,
        Flag::ErrorRate,
        Flag::Semantic,
        Flag::Sequence,
        Flag::Model,
    ];

    /// The word used in tags.
    pub fn as_str(self) -> &'static str {
        match self {
            Flag::Pattern => "pattern",
            Flag::New => "new",
            Flag::Rare => "rare",
            Flag::Burst => "burst",
            Flag::Drop => "drop",
            Flag::Silence => "silence",
            Flag::Repeat => "repeat",
            Flag::Entropy => "entropy",
            Flag::Value => "value",
            Flag::ErrorRate => "error_rate",
            Flag::Semantic => "semantic",
            Flag::Sequence => "sequence",
            Flag::Model => "model",
        }
    }
}

/// A small set of [`Flag`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// Adds a flag.
    pub fn insert(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u16;
    }

    /// Removes a flag.
    pub fn remove(&mut self, flag: Flag) {
        self.0 &= !(1 << flag as u16);
    }

    /// Whether a flag is set.
    pub fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u16) != 0
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The flags that are set, in order.
    pub fn iter(self) -> impl Iterator<Item = Flag> + Clone {
        Flag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Flags::default();
        flags.into_iter().for_each(|flag| set.insert(flag));
        set
    }
}

/// The highest-scoring rule that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleHit {
    /// The rule's name, e.g. `DB_CONNECT_FAILED`.
    pub name: Arc<str>,
    /// The rule's category, e.g. `application`.
    pub category: Arc<str>,
    /// Severity, 0 to 10.
    pub score: f32,
}

/// The judgement on one record. Quiet records (level none) carry no allocated text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// 0..1, calibrated: 0.5 is where `level` leaves `none`.
    pub score: f32,
    /// [`Level::of`] the score.
    pub level: Level,
    /// Id of the template the message belongs to.
    pub template_id: TemplateId,
    /// Set on flagged and on pending records.
    pub status: Option<Status>,
    /// Every signal that fired.
    pub flags: Flags,
    /// The highest-scoring rule, if one matched.
    pub rule: Option<RuleHit>,
    /// The masked message; set on flagged and on pending records.
    pub template: Option<Arc<str>>,
    /// Cosine to the nearest known-normal template, if it was looked up.
    pub similarity: Option<f32>,
    /// Text of that template.
    pub nearest: Option<Arc<str>>,
    /// What statistics expected (for rates: events per minute).
    pub expected: Option<f64>,
    /// What was seen instead.
    pub actual: Option<f64>,
    /// One line of English; set on flagged and on pending records.
    pub reason: Option<String>,
}

impl Verdict {
    /// Whether the record goes on the detour.
    pub fn is_pending(&self) -> bool {
        self.status == Some(Status::Pending)
    }

    /// The verdict of a pending record that flows on while a copy of it visits the sidecar: as if there were no detour.
    pub fn inline(self) -> Verdict {
        if self.level == Level::None {
            let Verdict { score, template_id, flags, rule, .. } = self;
            return Verdict { score, template_id, flags, rule, ..Verdict::default() };
        }
        Verdict { status: Some(Status::Inline), ..self }
    }

    /// Whether the record carries the tags of flagged records: its level is not none, or the sidecar judges it.
    pub fn is_flagged(&self) -> bool {
        self.level > Level::None || self.status.is_some()
    }
}
