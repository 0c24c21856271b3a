//! The part of the program that writes: the verdict becomes the tags of the event, in the user's style.
//!
//! Takes settings, gives statements. A field of the event under one of our names is user data: it moves to
//! `<name>_original`, as in every shell. Metadata `%oddline` says which template of which tag it is, and whether the event
//! goes on the detour. Must not know how a verdict came about.

use std::collections::BTreeSet;

use oddline_codec::{DETOUR_KEY, MARKER_KEY, SUMMARY_KEY, TAG_KEY, TagField, TagStyle, original_name};
use oddline_engine::{Annotate, Mode, Profile, Settings};

use crate::{advice, text};

/// Names tried for a field that must make way; where even the last is taken, it becomes a list of both values.
const NAMES: usize = 4;

/// The statements before the verdict: the template's id where the sidecar has not told it, and what must make way.
pub(crate) fn prepare(settings: &Settings) -> String {
    let style = TagStyle::of(settings);
    let names: Vec<String> = style
        .reserved()
        .map(|name| name.to_string())
        .filter(|name| !ROUTING.contains(&name.as_str()))
        .collect();
    format!(
        r#"if template_id == null {{
  hash = int({{ if size >= 0 {{ xxhash(masked, "XXH3-64") }} else {{ null }} }}) ?? 0
  if hash >= 0 {{
    template_id = format_int(hash, 16) ?? ""
  }} else {{
    # The lower 63 bits, and the highest one in the first digit.
    template_id = format_int(hash + 9223372036854775807 + 1, 16) ?? ""
  }}
  if length(template_id) != 16 {{
    template_id = slice("000000000000000" + template_id, -16) ?? ""
  }}
  if hash < 0 {{
    first = parse_int(slice(template_id, 0, 1) ?? "", 16) ?? 0
    template_id = (slice("89abcdef", first, first + 1) ?? "") + (slice(template_id, 1) ?? "")
  }}
}}
if shape == 1 {{
{moves}}}
"#,
        moves = names.iter().map(|name| make_way(name)).collect::<String>(),
    )
}

/// Keys that mean something on the detour only: there they make way.
const ROUTING: [&str; 4] = [MARKER_KEY, SUMMARY_KEY, DETOUR_KEY, TAG_KEY];

fn make_way(name: &str) -> String {
    let mut taken = BTreeSet::new();
    let mut branches = Vec::new();
    let mut last = String::new();
    for _ in 0..NAMES {
        let free = original_name(name, |candidate| taken.contains(candidate));
        last = text::field(&free);
        branches.push((format!("!exists({last})"), format!("{last} = moved")));
        taken.insert(free);
    }
    format!(
        r#"  if exists({field}) {{
    moved = del({field})
    {} else {{
      {last} = [{last}, moved]
    }}
  }}
"#,
        text::chain(branches.into_iter(), 4),
        field = text::field(name),
    )
}

/// For routes and counts. Of what else is there nothing counts.
const METADATA: &str = "  %oddline = {\"tag\": tag, \"template_id\": template_id}\n";

/// The statements for an event that is known and ordinary.
pub(crate) fn quiet(settings: &Settings) -> String {
    let style = TagStyle::of(settings);
    let tags = if style.annotate == Annotate::All {
        let fields = TagField::ALL.into_iter().filter(|field| is_quiet(*field));
        let value = |field| match field {
            TagField::Score => "0.0",
            TagField::Level => "\"none\"",
            _ => "template_id",
        };
        fields.map(|field| format!("  {} = {}\n", place(&style, field, None), value(field))).collect()
    } else {
        String::new()
    };
    tags + METADATA
}

/// The statements for all other events.
pub(crate) fn told(settings: &Settings, model: &str) -> String {
    let style = TagStyle::of(settings);
    let is_asked = advice::is_asked(settings);
    let (pending, mode) = (style.pending(), settings.mode());
    let is_same = style.profile == pending.profile && style.detail == pending.detail;
    let mut statements = format!("  model = {}\n", text::string(model));
    if is_asked {
        statements += "  similarity = null\n  nearest = null\n  if class != null {\n    similarity = %oddline.value.similarity\n    nearest = %oddline.value.nearest\n  }\n";
    }
    statements += METADATA;
    if is_asked {
        let ways: String = ROUTING.iter().map(|name| make_way(name)).collect();
        let routing = ROUTING.map(text::field).join(" || ");
        let extra = match mode {
            Mode::Copy => {
                // A configuration puts the tags of the copy under it, as `set!` can.
                format!("  %oddline.key = {}\n", text::string(&style.key))
                    + &write(&pending, is_asked, Some("%oddline.pending"))
                    + "  status = null\n  if level != \"none\" {\n    status = \"inline\"\n  }\n"
            }
            _ if is_same => String::new(),
            _ => write(&pending, is_asked, None),
        };
        statements += &format!(
            r#"  is_pending = status == "pending"
  if is_pending {{
  %oddline.detour = true
  if ({routing}) != null {{
{ways}  }}
{extra}  }}
"#
        );
    }
    let skip = if is_asked && mode != Mode::Copy && !is_same { " && !is_pending" } else { "" };
    statements +=
        &format!("  if status != null && shape != 2{skip} {{\n{}  }}\n", write(&style, is_asked, None));
    if style.annotate == Annotate::All {
        let quiet: Vec<TagField> = TagField::ALL.into_iter().filter(|it| is_quiet(*it)).collect();
        statements += &format!(
            r#"  if status == null && shape != 2 {{
{}  if rule != null {{
{}  }}
  }}
"#,
            assign(&style, &quiet, None),
            of_rule(&style, None),
        );
    }
    statements + BARE
}

/// An event that is no object has no place for tags: they go into its metadata.
const BARE: &str = r#"  if shape == 2 {
    %oddline.tags = compact({"score": round(score, precision: 3), "level": level, "status": status, "rule": rule, "reason": reason})
  }
"#;

/// Every tag of a flagged event, at its place in a style or in one object elsewhere.
fn write(style: &TagStyle, is_asked: bool, elsewhere: Option<&str>) -> String {
    let always: Vec<TagField> =
        TagField::ALL.into_iter().filter(|field| !is_of_rule(*field) && !is_optional(*field)).collect();
    let mut statements = assign(style, &always, elsewhere);
    statements += &format!("  if rule != null {{\n{}  }}\n", of_rule(style, elsewhere));
    let optional = TagField::ALL.into_iter().filter(|field| is_asked && is_optional(*field));
    for field in optional.filter(|field| field.is_in(style.detail)) {
        let one = assign(style, &[field], elsewhere);
        statements += &format!("  if {} {{\n{one}  }}\n", guard(field));
    }
    statements
}

fn of_rule(style: &TagStyle, elsewhere: Option<&str>) -> String {
    let fields: Vec<TagField> = TagField::ALL.into_iter().filter(|field| is_of_rule(*field)).collect();
    assign(style, &fields, elsewhere)
}

/// The fields at their places. One by one: that costs less than an object of them.
fn assign(style: &TagStyle, fields: &[TagField], elsewhere: Option<&str>) -> String {
    let fields = fields.iter().filter(|field| field.is_in(style.detail));
    fields.map(|it| format!("    {} = {}\n", place(style, *it, elsewhere), value(style, *it))).collect()
}

fn place(style: &TagStyle, field: TagField, elsewhere: Option<&str>) -> String {
    if style.profile != Profile::Nested {
        return text::field(&style.name(field).to_string());
    }
    let object = elsewhere.map_or_else(|| text::field(&style.key), str::to_owned);
    format!("{object}.{}", field.as_str())
}

fn is_quiet(field: TagField) -> bool {
    matches!(field, TagField::Score | TagField::Level | TagField::TemplateId)
}

fn is_of_rule(field: TagField) -> bool {
    matches!(field, TagField::Rule | TagField::Category | TagField::RuleScore)
}

fn is_optional(field: TagField) -> bool {
    matches!(field, TagField::Similarity | TagField::Nearest | TagField::Expected | TagField::Actual)
}

/// When an optional tag is there.
fn guard(field: TagField) -> &'static str {
    match field {
        TagField::Similarity => "similarity != null",
        TagField::Nearest => "nearest != null",
        _ => "rate != null",
    }
}

/// A tag's value, in the locals of the program.
fn value(style: &TagStyle, field: TagField) -> &'static str {
    match field {
        TagField::Score if style.profile == Profile::Ecs => "round(score * 100.0, precision: 1)",
        TagField::Score => "round(score, precision: 3)",
        TagField::Level => "level",
        TagField::TemplateId => "template_id",
        TagField::Status => "status",
        TagField::Flags => "signals",
        TagField::Rule => "rule",
        TagField::Category => "(string(rule_parts[7]) ?? \"\")",
        TagField::RuleScore => "round(to_float(rule_parts[2]) ?? 0.0, precision: 3)",
        TagField::Template => "masked",
        TagField::Similarity => "round(to_float(similarity) ?? 0.0, precision: 3)",
        TagField::Nearest => "nearest",
        TagField::Expected => "rate.expected",
        TagField::Actual => "rate.actual",
        TagField::Reason => "reason",
        TagField::Model => "model",
    }
}
