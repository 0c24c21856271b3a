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

/// Statements that find out which rules are silenced, once for an event: they cost a look-up, so they are for events that
/// may hit a rule. They add to the local `rules_known`, each name between two tabs. None if no rule can be.
pub(crate) fn silenced(settings: &Settings) -> String {
    if !is_asked(settings) {
        return String::new();
    }
    format!(
        r#"if !contains(rules_known, "\t") {{
feedback, _problem = {}
names = filter(array(feedback.value.silenced) ?? []) -> |_place, name| {{ is_string(name) }}
rules_known = rules_known + "\t" + (join(names, "\t") ?? "") + "\t"
}}
"#,
        look_up(&format!("\"{RULES_KEY}\""))
    )
}

/// The statements that set `offset`, which feedback has moved all scores by.
pub(crate) fn offset(settings: &Settings) -> String {
    if !is_asked(settings) {
        return String::new();
    }
    format!(
        r#"  feedback, _problem = {}
  offset = to_float(feedback.value.offset) ?? 0.0
"#,
        look_up(&format!("\"{RULES_KEY}\""))
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
row = {row}.value ?? null
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
    let beat = look_up(&format!("\"{HEARTBEAT_KEY}\""));
    format!(
        r#"is_open = false
if class == null && !bare {{
  beat, _problem = {beat}
  age = to_float(to_unix_timestamp(now(), unit: "milliseconds")) / 1000.0 - (to_float(beat.value.at) ?? 0.0)
  is_open = age <= {HEARTBEAT_SECONDS}.0
}}
"#
    )
}
