//! The part of the program that asks what the sidecar knows: rows of the `memory` enrichment table.
//!
//! Takes settings, gives expressions and statements. A row that is not there, has expired or is of a wrong shape is no
//! row. What a row means is decided in `verdict`. Must not know how a message is masked, or how tags are named.

use oddline_engine::{
    Mode, Settings,
    advice::row::{HEARTBEAT_SECONDS, SIDECAR_KEY},
};

/// Name of the enrichment table in Vector's configuration.
pub(crate) const TABLE: &str = "oddline";

/// Whether the program asks at all.
pub(crate) fn is_asked(settings: &Settings) -> bool {
    settings.mode() != Mode::Inline
}

/// An expression: the row under a key, or null. Asking for all rows costs less than asking for the one: where there is none,
/// that is no error with a text.
fn look_up(key: &str) -> String {
    format!(r#"find_enrichment_table_records("{TABLE}", {{"key": {key}}})[0].value ?? null"#)
}

/// The statement that leaves the row of the sidecar itself in `state`, or false if there is none. It is asked once for an
/// event, if at all: a look-up costs as much as a dozen regexes.
pub(crate) fn ask() -> String {
    format!("state = {{ {} }} || false\n", look_up(&format!("\"{SIDECAR_KEY}\"")))
}

/// The statements before all that may ask.
pub(crate) fn unasked(settings: &Settings) -> &'static str {
    if is_asked(settings) { "state = null\n" } else { "" }
}

/// The statements that set `rules_known` to the rules that are silenced, each between two tabs. None if no rule can be.
pub(crate) fn silenced(settings: &Settings) -> String {
    if !is_asked(settings) {
        return String::new();
    }
    // An error that is caught costs Vector its text, so what is not there is not read.
    format!(
        "  rules_known = \"\"\n  {}  if state != false {{\n    rules_known = string(state.silenced) ?? \"\"\n  }}\n",
        ask()
    )
}

/// The statements that set `offset`, which feedback has moved all scores by.
pub(crate) fn offset(settings: &Settings) -> String {
    if !is_asked(settings) {
        return String::new();
    }
    format!(
        r#"  if state == null {{
    {}  }}
  if state != false {{
    offset = to_float(state.offset) ?? 0.0
  }}
"#,
        ask()
    )
}

/// The statements that set `class` (null: the sidecar does not know the template), `template_id` (null: not told) and
/// `is_odd` (the row tells of a burst or drop). The row is left in `%oddline.value`: reading a field of the event costs less
/// than reading a field of a local, which VRL copies whole each time.
pub(crate) fn section(settings: &Settings) -> String {
    if !is_asked(settings) {
        return "template_id = null\n".to_owned();
    }
    let row = look_up("masked");
    format!(
        r#"# What the sidecar knows of it.
class = null
template_id = null
is_odd = false
row = {row}
if row != null {{
  %oddline.value = row
  class = %oddline.value.class
  template_id = %oddline.value.id
  if (%oddline.value.burst || %oddline.value.drop || %oddline.value.expires) != null {{
    is_odd = (%oddline.value.burst || %oddline.value.drop) != null
    expires = %oddline.value.expires
    if expires != null && (to_unix_timestamp(now()) >= (to_int(expires) ?? 0)) {{
      class = null
      is_odd = false
    }}
  }}
}}
"#
    )
}

/// The statements that set `is_open`: whether a questionable record may go on the detour. They ask for the heartbeat of a
/// sidecar that does not know the template.
pub(crate) fn heartbeat() -> String {
    format!(
        r#"is_open = false
if class == null && shape != 2 {{
  if state == null {{
    {}  }}
  if state != false {{
    age = to_float(to_unix_timestamp(now(), unit: "milliseconds")) / 1000.0 - (to_float(state.at) ?? 0.0)
    is_open = age <= {HEARTBEAT_SECONDS}.0
  }}
}}
"#,
        ask()
    )
}
