//! The part of the program that asks what the sidecar knows: rows of the `memory` enrichment table.
//!
//! Takes settings, gives expressions and statements. A row that is not there, has expired or is of a wrong shape is no
//! row. What a row means is decided in `verdict`. Must not know how a message is masked, or how tags are named.

use oddline_engine::{
    Mode, Settings,
    advice::row::{HEARTBEAT_KEY, HEARTBEAT_SECONDS, RULES_KEY},
};

/// Name of the enrichment table in Vector's configuration.
pub(crate) const TABLE: &str = "oddline";

/// Whether the program asks at all.
pub(crate) fn is_asked(settings: &Settings) -> bool {
    settings.mode() != Mode::Inline
}

fn look_up(key: &str) -> String {
    format!(r#"get_enrichment_table_record("{TABLE}", {{"key": {key}}})"#)
}

/// An expression: the names of the rules that are silenced now, as an array. It costs a look-up, so it is for programs
/// that have found a rule.
pub(crate) fn silenced(settings: &Settings) -> String {
    if !is_asked(settings) {
        return "[]".to_owned();
    }
    format!(
        r#"{{ feedback, _problem = {}; array(feedback.value.silenced) ?? [] }}"#,
        look_up(&format!("\"{RULES_KEY}\""))
    )
}

/// The statement that sets `offset`, which feedback has moved all scores by.
pub(crate) fn offset(settings: &Settings) -> String {
    if !is_asked(settings) {
        return String::new();
    }
    format!(
        r#"    feedback, _problem = {}
    offset = to_float(feedback.value.offset) ?? 0.0
"#,
        look_up(&format!("\"{RULES_KEY}\""))
    )
}

/// The statements that set `row` and, from it, `class` (null: the sidecar does not know the template), `template_id`
/// (null: not told), and, if there is no row, `open` (whether a questionable record may go on the detour).
pub(crate) fn section(settings: &Settings) -> String {
    if !is_asked(settings) {
        return "  template_id = null\n".to_owned();
    }
    let row = look_up("masked");
    let beat = look_up(&format!("\"{HEARTBEAT_KEY}\""));
    format!(
        r#"  # What the sidecar knows of it.
  open = false
  template_id = null
  row, _problem = {row}
  class = row.value.class
  if class != null {{
    expires = row.value.expires
    if expires != null && (to_unix_timestamp(now()) >= (to_int(expires) ?? 0)) {{
      class = null
    }} else {{
      template_id = row.value.id
    }}
  }}
  if class == null {{
    beat, _problem = {beat}
    age = to_float(to_unix_timestamp(now(), unit: "milliseconds")) / 1000.0 - (to_float(beat.value.at) ?? 0.0)
    open = !bare && age <= {HEARTBEAT_SECONDS}.0
  }}
"#
    )
}
