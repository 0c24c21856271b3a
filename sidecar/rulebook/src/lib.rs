//! Rules as people keep them: read, written, changed, brought in from elsewhere, and looked over.
//!
//! * Takes texts: rule files, Sigma rules, grok patterns; and [`Rule`](oddline_engine::rules::Rule)s as the engine reads them.
//! * Gives texts: rule files, alert rules; and lists of what is wrong or could not be expressed, each with its place.
//! * Must not know files, terminals or how a record is judged: the program reads and writes, the engine matches.
//!
//! ```
//! use oddline_rulebook::{import::Importing, sigma};
//!
//! let text = "title: Who am I\nlogsource: {product: linux}\ndetection:\n  a: {CommandLine|contains: whoami}\n  condition: a\n";
//! let imported = sigma::import("who.yml", text, &Importing::default(), &mut Default::default());
//! assert_eq!(imported.rules[0].draft.fields, [r#"CommandLine contains "whoami""#]);
//! ```
#![forbid(unsafe_code)]

pub mod conditions;
pub mod document;
pub mod draft;
pub mod export;
pub mod expression;
pub mod grok;
pub mod import;
pub mod lint;
mod pattern;
pub mod sigma;
pub mod when;
