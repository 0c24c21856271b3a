//! The part of the program that weighs: what rules, table and text say becomes score, level, status and reason.
//!
//! Takes settings, gives statements. It is what the engine's modules `score` and
//! `engine` do with the signals that a program without memory can know: pattern, new (the sidecar does not know the
//! template), entropy (of such a message), burst, drop and semantic as the row tells them. Numbers that decide are the
//! engine's own, written with all their digits. Must not know where a row comes from, or how tags are named.

use oddline_codec::detour::{MAX_BYTES, MAX_LEVELS, Obstacle};
use oddline_engine::{Level, Settings, score};

use crate::{
    advice,
    text::{chain, float, string},
};

/// What being unknown to the sidecar scores: a look is worth it, a flag is not. See `WORTH_A_LOOK` of the engine.
const NEW: f32 = 0.3;
/// What random text scores beside it, as the engine's least.
const ENTROPY: f32 = 0.45;
/// Bits per byte from which text is random. The engine asks for 5.2, and for more than is usual for the source; what is
/// usual is not known here.
const ENTROPY_BITS: f64 = 5.5;
/// Length of a message, and of its longest run without a blank, from which it is looked at.
const ENTROPY_BYTES: (usize, usize) = (48, 24);
/// What a message that stays away scores.
const DROP: f32 = 0.55;
/// How many times the usual a burst is, for the steps of its strength.
const TIMES: [f64; 12] = [150.0, 100.0, 70.0, 50.0, 30.0, 20.0, 15.0, 10.0, 7.0, 5.0, 3.0, 2.0];
/// Least scores of the levels, see [`Level::of`].
const LEVELS: [(f32, Level); 4] =
    [(0.92, Level::Critical), (0.8, Level::High), (0.65, Level::Medium), (0.5, Level::Low)];

/// The statements. Before them are set: `message`, `masked`, `size`, `shape`, `rules_best`, and what
/// [`advice::section`] sets. Where there is nothing to tell, the statements `quiet` follow. Else `rule` (string or null),
/// `rule_parts` (see [`crate::rules::parts`]), `score`, `level`, `status` (null: none), `signals`, `reason` and `rate` are set,
/// and the statements `told` follow.
pub(crate) fn section(settings: &Settings, quiet: &str, told: &str) -> String {
    let is_asked = advice::is_asked(settings);
    let nothing = if is_asked {
        r#"rules_best == "~" && !is_open && !is_odd && shape != 2 && (class == null || class == "normal" || class == "seen")"#
    } else {
        r#"rules_best == "~" && shape != 2"#
    };
    let (heartbeat, excused, evidence) = if is_asked {
        let excused = r#"  if class == "exception" {
    is_odd = false
    rules_best = "~"
  }
"#;
        (advice::heartbeat(), excused, evidence() + &rate())
    } else {
        (String::new(), "", String::new())
    };
    let levels = LEVELS.iter().map(|(least, level)| {
        (format!("score >= {}", float((*least).into())), format!("level = {:?}", level.as_str()))
    });
    format!(
        r#"# The verdict.
{heartbeat}if {nothing} {{
{quiet}}} else {{
{excused}  rule = null
  rule_parts = []
  score = 0.0
  level = "none"
  status = null
  reason = ""
  signals = []
  rate = null
  strongest = 0.0
  doubt = 1.0
  offset = 0.0
  alone = 0.0
  strength = 0.0
{evidence}{rule}  if rule != null || strongest > 0.0 {{
{offset}{join}  {levels}
{route}  }}
{told}}}
"#,
        rule = rule(settings),
        offset = advice::offset(settings),
        join = join(settings.threshold()),
        levels = chain(levels, 2),
        route = if is_asked {
            route()
        } else {
            "  if level != \"none\" {\n    status = \"inline\"\n  }\n".to_owned()
        },
    )
}

/// What the row says of the message's meaning, or that there is none.
fn evidence() -> String {
    let (long, run) = ENTROPY_BYTES;
    format!(
        r#"  if is_open {{
    if match(masked, r'[A-Za-z[^\x00-\x7F]]') {{
      status = "pending"
      signals = ["new"]
      strongest = {new}
      reason = "new message (not known to the sidecar)"
      if size >= {long} && match(message, r'[^ \t\n\r]{{{run}}}') {{
        bits = shannon_entropy(slice(message, 0, 256) ?? "")
        if bits >= {bits} {{
          signals = ["new", "entropy"]
          strongest = {entropy}
          doubt = {doubt}
          reason = "unusually random text (" + to_string(round(bits, precision: 1)) + " bits per byte); " + reason
        }}
      }}
    }}
  }} else if class == "anomalous" {{
    signals = ["semantic"]
    strongest = to_float(%oddline.value.score) ?? 0.0
    if strongest > 0.99 {{
      strongest = 0.99
    }} else if strongest < 0.0 {{
      strongest = 0.0
    }}
    reason = "unlike anything known"
    nearest = %oddline.value.nearest
    similarity = %oddline.value.similarity
    if is_string(nearest) && nearest != "" && similarity != null {{
      cosine = to_string(round(to_float(similarity) ?? 0.0, precision: 2))
      reason = reason + " (nearest " + cosine + ": \"" + (truncate(nearest, 80) ?? "") + "\")"
    }}
  }}
"#,
        new = float(NEW.into()),
        bits = float(ENTROPY_BITS),
        entropy = float(ENTROPY.into()),
        doubt = float((1.0 - NEW / 2.0).into()),
    )
}

/// What the row says of how often it comes.
fn rate() -> String {
    let steps = TIMES.iter().map(|times| {
        let strength = (0.5 + 0.115 * times.log10()).clamp(0.5, 0.75);
        (format!("times >= {}", float(*times)), format!("strength = {strength:.4}"))
    });
    format!(
        r#"    if is_odd {{
      strength = {drop}
      kind = "drop"
      rate = %oddline.value.drop
      if %oddline.value.burst != null {{
        strength = 0.5
        kind = "burst"
        rate = %oddline.value.burst
      }}
      expected = to_float(rate.expected) ?? 0.0
      actual = to_float(rate.actual) ?? 0.0
      phrase = "drop: " + to_string(round(actual, precision: 1)) + " a minute, usually " + to_string(round(expected, precision: 1))
      if kind == "burst" {{
        phrase = "burst: " + to_string(round(actual, precision: 1)) + " a minute, usually at most " + to_string(round(expected, precision: 1))
        usual = if expected < 2.0 {{ 2.0 }} else {{ expected }}
        times = (actual / usual) ?? 1.0
        {steps}
      }}
      rate = {{"expected": round(expected, precision: 3), "actual": round(actual, precision: 3)}}
      signals = flatten([kind, signals])
      if strongest > strength {{
        reason = reason + "; " + phrase
        doubt = 1.0 - strength / 2.0
      }} else {{
        reason = if reason == "" {{ phrase }} else {{ phrase + "; " + reason }}
        doubt = 1.0 - strongest / 2.0
        strongest = strength
      }}
      strength = 0.0
    }}
"#,
        drop = float(DROP.into()),
        steps = chain(steps, 8),
    )
}

/// What a rule's score weighs, between tabs: its strength, and the score where it is all there is; both again for a template
/// that is known. All are the engine's, to the last digit. They stand in the rule's text, because a chain of comparisons
/// costs each event that hits a rule, and the compiler still more.
pub(crate) fn weights(settings: &Settings, severity: f32) -> String {
    let weights = [false, true].map(|is_known| {
        let strength = score::of_rule_on(severity, is_known);
        let alone = score::calibrate(score::join(std::iter::once(strength)), settings.threshold(), 0.0);
        format!("{}\t{}", float(strength.into()), float(alone.into()))
    });
    weights.join("\t")
}

/// The rule's part.
fn rule(settings: &Settings) -> String {
    let weights = "to_float(rule_parts[3]) ?? 0.0\n    alone = to_float(rule_parts[4]) ?? 0.0";
    let weights = if advice::is_asked(settings) {
        format!(
            r#"if class != null && ((class == "normal" && %oddline.value.similarity == null) || %oddline.value.habit == true) {{
      strength = to_float(rule_parts[5]) ?? 0.0
      alone = to_float(rule_parts[6]) ?? 0.0
    }} else {{
      strength = {weights}
    }}"#
        )
    } else {
        format!("strength = {weights}")
    };
    format!(
        r#"  if rules_best != "~" {{
    rule_parts = {parts}
    rule = rule_parts[1]
    {weights}
    signals = flatten(["pattern", signals])
    phrase = string(rule_parts[8]) ?? ""
    reason = if reason == "" {{ phrase }} else {{ reason + "; " + phrase }}
  }}
"#,
        parts = crate::rules::parts("rules_best"),
    )
}

/// All evidence becomes one score, and the threshold its middle.
fn join(threshold: f32) -> String {
    format!(
        r#"    if strongest == 0.0 && offset == 0.0 {{
      score = alone
    }} else {{
      if strength > strongest {{
        doubt = doubt * (1.0 - strongest / 2.0)
        strongest = strength
      }} else {{
        doubt = doubt * (1.0 - strength / 2.0)
      }}
      raw = 1.0 - (1.0 - strongest) * doubt
      if raw < {threshold} {{
        score = 0.5 * raw / {threshold} + offset
      }} else {{
        score = 0.5 + 0.5 * (raw - {threshold}) / {rest} + offset
      }}
      if score < 0.0 {{
        score = 0.0
      }} else if score > 1.0 {{
        score = 1.0
      }}
      score = round(score, 3)
    }}
"#,
        threshold = float(threshold.into()),
        rest = float((1.0 - threshold).max(1e-3).into()),
    )
}

/// Where the record goes.
fn route() -> String {
    format!(
        r#"    if is_open {{
      if level != "none" {{
        status = "pending"
      }}
{bounds}    }} else if level != "none" {{
      if class == "anomalous" {{
        status = "confirmed"
      }} else if class != null || shape == 2 {{
        status = "inline"
      }} else {{
        status = "skipped"
        reason = reason + "; sidecar absent, judged in the plugin alone"
      }}
    }}
"#,
        bounds = bounds(),
    )
}

/// Keeps a record from the detour that Vector's sink would discard there, or send again for ever: see [`MAX_LEVELS`] and
/// [`MAX_BYTES`]. Asked only of what would go there.
///
/// Text that is read to one level or the next is the same value if nothing lies deeper than the first, for what does stays text.
/// Few records have so many brackets that they must be read for that.
fn bounds() -> String {
    // Event and metadata stand in a list, one level above both.
    let (levels, brackets) = (MAX_LEVELS + 1, MAX_LEVELS + 2);
    let read = |levels: usize| format!("(parse_json(burden, max_depth: {levels}) ?? null)");
    format!(
        r#"      if status == "pending" {{
        burden = encode_json([., %, %])
        obstacle = ""
        if length(burden) > {MAX_BYTES} {{
          obstacle = {large}
        }} else if match(burden, {{r'\A(?:[^\x5b\x7b]*[\x5b\x7b]){{{brackets}}}'}}) && {shallow} != {deeper} {{
          obstacle = {deep}
        }}
        if obstacle != "" {{
          status = null
          if level != "none" {{
            status = "skipped"
            reason = reason + "; " + obstacle
          }}
        }}
      }}
"#,
        large = string(Obstacle::TooLarge.words()),
        deep = string(Obstacle::TooDeep.words()),
        shallow = read(levels),
        deeper = read(levels + 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_engine() {
        for (least, level) in LEVELS {
            assert_eq!(Level::of(least), level);
            assert!(Level::of(least.next_down()) < level);
        }
    }
}
