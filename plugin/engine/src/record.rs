//! What comes in: a borrowed view of one log record, and the contract by which a codec walks a host's bytes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One leaf of a host's record.
///
/// Text is bytes, because logs are not always UTF-8; it is owned only where the host's notation had to be unescaped.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Absent or null.
    Null,
    /// There, but neither text, number nor truth value: an array, an ext type, a map that is not looked into.
    Opaque,
    /// A boolean.
    Bool(bool),
    /// Any integer; values beyond `i64` are given as `Float`.
    Int(i64),
    /// A floating-point number; may be NaN or infinite.
    Float(f64),
    /// Text or binary, not necessarily valid UTF-8.
    Text(Cow<'a, [u8]>),
}

/// Receives a record as a codec walks it, depth first and in the order of the bytes.
///
/// The codec calls `enter`/`leave` around a container only when `enter` answered `true`, and passes at most 1,024
/// fields and 32 levels: what lies beyond is not visited (and still leaves untouched).
pub trait Visitor<'a> {
    /// A map begins under `key`. `false`: skip it whole, and do not call `leave`.
    fn enter(&mut self, key: &[u8]) -> bool;
    /// A list begins under `key`. `false`: pass it as [`Scalar::Opaque`], and do not call `leave`. `true`: its first
    /// [`MAX_ITEMS`] elements follow, then `leave`. A leaf comes as an `item`, the fields of a map as if they stood in one
    /// map in the list's place, the elements of a list within the list as elements of this one.
    fn enter_list(&mut self, _key: &[u8]) -> bool {
        false
    }
    /// An element of the list entered last.
    fn item(&mut self, _value: Scalar<'a>) {}
    /// The map or list entered last ends.
    fn leave(&mut self);
    /// A leaf, or a list that is not entered.
    fn scalar(&mut self, key: &[u8], value: Scalar<'a>);
}

/// Most elements of one list that a codec shows.
pub const MAX_ITEMS: usize = 64;

/// A record as its host has it, which can be shown again to whoever needs more of it than a [`Record`] holds.
pub trait Body {
    /// Shows all of it to a visitor, as a codec does.
    fn walk<'a>(&'a self, visitor: &mut dyn Visitor<'a>);
}

/// How severe the program that wrote the record says it is. Ordered: `Trace < … < Fatal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Finest tracing.
    Trace,
    /// Debugging.
    Debug,
    /// Ordinary operation; also syslog's notice.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something failed.
    Error,
    /// The program cannot go on; syslog's crit, alert and emerg.
    Fatal,
}

impl Severity {
    /// Its word: trace, debug, info, warn, error or fatal.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Trace => "trace",
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }

    /// Reads a level word (`warn`, `WARNING`, `E`, `crit` …) or a syslog (0..=7) or pino/bunyan (10..=60) number.
    /// `None` if it is neither.
    pub fn parse(text: &[u8]) -> Option<Severity> {
        let text = text.trim_ascii();
        if text.len() > 13 {
            return None;
        }
        let mut lower = [0u8; 13];
        let lower = lower.get_mut(..text.len())?;
        lower.copy_from_slice(text);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"t" | b"verbose" | b"finest" | b"finer" => Severity::Trace,
            b"debug" | b"d" | b"fine" | b"7" | b"20" => Severity::Debug,
            b"info" | b"i" | b"information" | b"informational" | b"notice" | b"n" | b"6" | b"5" | b"30"
            | b"log" => Severity::Info,
            b"warn" | b"w" | b"warning" | b"4" | b"40" => Severity::Warn,
            b"error" | b"e" | b"err" | b"severe" | b"3" | b"50" | b"failure" => Severity::Error,
            b"fatal" | b"f" | b"c" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency"
            | b"panic" | b"0" | b"1" | b"2" | b"60" => Severity::Fatal,
            _ => return None,
        })
    }

    /// Reads a syslog (0..=7) or pino/bunyan (10..=60) number; OpenTelemetry's 1..=24 overlap and are not read.
    pub fn of_number(number: i64) -> Option<Severity> {
        Some(match number {
            0..=2 | 60 => Severity::Fatal,
            3 | 50 => Severity::Error,
            4 | 40 => Severity::Warn,
            5 | 6 | 30 => Severity::Info,
            7 | 20 => Severity::Debug,
            10 => Severity::Trace,
            _ => return None,
        })
    }
}

/// One record, as the engine sees it: borrowed from the host's bytes for the time of one `observe`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// The message text, at most what the host gave; empty if the record has none.
    pub message: Cow<'a, [u8]>,
    /// The record's own level, if a field gives one.
    pub severity: Option<Severity>,
    /// The host's tag or route.
    pub tag: &'a [u8],
    /// Values of the label paths, in the order of [`crate::Settings::label_paths`]; empty if absent.
    pub labels: Vec<Cow<'a, [u8]>>,
    /// Values of the fields that rules ask for.
    pub fields: Fields<'a>,
}

/// Values of the fields that a set of rules asks for, as a [`crate::Picker`] for that set found them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields<'a> {
    /// Which set of paths they are for: values for other paths are as good as none.
    pub(crate) stamp: u64,
    /// One for each path; empty if the record has none of them.
    pub(crate) values: Vec<Scalar<'a>>,
    /// What lists hold: the path, and the value of one element. Empty if no list stands where a path leads.
    pub(crate) items: Vec<(usize, Scalar<'a>)>,
}

impl<'a> Record<'a> {
    /// A record that is only a message, as a line of a file is.
    pub fn from_line(tag: &'a [u8], line: &'a [u8]) -> Self {
        Record {
            message: Cow::Borrowed(line),
            severity: None,
            tag,
            labels: Vec::new(),
            fields: Fields::default(),
        }
    }
}
