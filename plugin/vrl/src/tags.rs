//! The part of the program that writes: the verdict becomes the tags of the event, in the user's style.
//!
//! Takes settings, gives statements. A field of the event under one of our names is user data: it moves to
//! `<name>_original`, as in every shell. Metadata `%oddline` says which template of which tag it is, and whether the event
//! goes on the detour. Must not know how a verdict came about.

use std::collections::BTreeSet;

use oddline_codec::{TagField, TagStyle, original_name};
use oddline_engine::{Annotate, Mode, Profile, Settings};

use crate::{advice, text};

/// Names tried for a field that must make way; where even the last is taken, it becomes a list of both values.
const NAMES: usize = 4;

/// The statements between verdict and tags: the id where the sidecar has not told it, metadata, and what must make way.
pub(crate) fn prepare(settings: &Settings) -> String {
    let style = TagStyle::of(settings);
    let names: Vec<String> = style.reserved().map(|name| name.to_string()).collect();
    let any: Vec<String> = names.iter().map(|name| format!("exists({})", text::field(name))).collect();
    let moves: String = names.iter().map(|name| make_way(name)).collect();
    format!(
        r#"  if !is_string(template_id) {{
    hash = null
    if masked != null {{
      hash = xxhash(masked, "XXH3-64")
    }}
    hash = int(hash) ?? 0
    is_high = hash < 0
    if is_high {{
      hash = hash + 9223372036854775807 + 1
    }}
    template_id = slice("0000000000000000" + (format_int(hash, 16) ?? ""), -16) ?? ""
    if is_high {{
      first = parse_int(slice(template_id, 0, 1) ?? "", 16) ?? 0
      template_id = (slice("89abcdef", first, first + 1) ?? "") + (slice(template_id, 1) ?? "")
    }}
  }}
  %oddline = {{"tag": tag, "template_id": template_id}}
  if {any} {{
{moves}  }}
"#,
        any = any.join(" || "),
    )
}

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
        r#"    if exists({field}) {{
      moved = del({field})
      {} else {{
        {last} = [{last}, moved]
      }}
    }}
"#,
        text::chain(branches.into_iter(), 6),
        field = text::field(name),
    )
}

/// The statements for an event that has a status.
pub(crate) fn flagged(settings: &Settings) -> String {
    let style = TagStyle::of(settings);
    let is_asked = advice::is_asked(settings);
    let mine = write(&style, is_asked, None);
    if !is_asked {
        return mine;
    }
    let pending = style.pending();
    match settings.mode() {
        Mode::Copy => format!(
            r#"      if status == "pending" {{
{}      %oddline.detour = true
      status = null
      if level != "none" {{
        status = "inline"
      }}
      }}
      if status != null {{
{mine}      }}
"#,
            write(&pending, true, Some("%oddline.pending")),
        ),
        _ if style.profile == pending.profile && style.detail == pending.detail => {
            format!("{mine}      if status == \"pending\" {{\n        %oddline.detour = true\n      }}\n")
        }
        _ => format!(
            r#"      if status == "pending" {{
{}      %oddline.detour = true
      }} else {{
{mine}      }}
"#,
            write(&pending, true, None),
        ),
    }
}

/// The statements for an event without a status: three tags, six if a rule hit.
pub(crate) fn quiet(settings: &Settings) -> String {
    let style = TagStyle::of(settings);
    if style.annotate == Annotate::Flagged {
        return String::new();
    }
    let plain = |is_wanted: fn(TagField) -> bool, place: Option<&str>| {
        let fields: Vec<TagField> = TagField::ALL.into_iter().filter(|it| is_wanted(*it)).collect();
        assign(&style, &fields, place)
    };
    format!(
        r#"  if status == null && !bare {{
    if rule == null {{
{}    }} else {{
{}    }}
  }}
"#,
        plain(is_quiet, None),
        plain(|field| is_quiet(field) || is_of_rule(field), None),
    )
}

/// The statements for an event that is no object, and so has no place for tags: they go into its metadata.
pub(crate) const BARE: &str = r#"  if bare {
    %oddline.tags = compact({"score": round(score, precision: 3), "level": level, "status": status, "rule": rule, "reason": reason})
  }
"#;

/// Every tag of a flagged event, at its place in a style or as one object elsewhere.
fn write(style: &TagStyle, is_asked: bool, place: Option<&str>) -> String {
    let always: Vec<TagField> =
        TagField::ALL.into_iter().filter(|field| !is_of_rule(*field) && !is_optional(*field)).collect();
    let is_object = style.profile == Profile::Nested;
    let mut statements = assign(style, &always, is_object.then_some("tags"));
    let one = |field: TagField| {
        let value = value(style, field);
        if is_object {
            format!("        tags.{} = {value}\n", field.as_str())
        } else {
            format!("        {} = {value}\n", text::field(&style.name(field).to_string()))
        }
    };
    let is_in = |field: &TagField| field.is_in(style.detail);
    let rule: String =
        TagField::ALL.into_iter().filter(|it| is_of_rule(*it)).filter(is_in).map(one).collect();
    statements += &format!("      if rule != null {{\n{rule}      }}\n");
    for field in TagField::ALL.into_iter().filter(|it| is_asked && is_optional(*it)).filter(is_in) {
        statements += &format!("      if {} {{\n{}      }}\n", guard(field), one(field));
    }
    if is_object {
        let place = place.map_or_else(|| text::field(&style.key), str::to_owned);
        statements += &format!("      {place} = tags\n");
    }
    statements
}

/// The fields at their places, in one assignment if they are one object.
fn assign(style: &TagStyle, fields: &[TagField], place: Option<&str>) -> String {
    let fields = fields.iter().filter(|field| field.is_in(style.detail));
    if style.profile == Profile::Nested {
        let pairs: Vec<String> =
            fields.map(|field| format!("{:?}: {}", field.as_str(), value(style, *field))).collect();
        let place = place.map_or_else(|| text::field(&style.key), str::to_owned);
        return format!("      {place} = {{{}}}\n", pairs.join(", "));
    }
    fields
        .map(|field| {
            let name = style.name(*field).to_string();
            format!("      {} = {}\n", text::field(&name), value(style, *field))
        })
        .collect()
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
        TagField::Category => "rule_category",
        TagField::RuleScore => "round(rule_score, precision: 3)",
        TagField::Template => "masked",
        TagField::Similarity => "round(to_float(similarity) ?? 0.0, precision: 3)",
        TagField::Nearest => "nearest",
        TagField::Expected => "rate.expected",
        TagField::Actual => "rate.actual",
        TagField::Reason => "reason",
        TagField::Model => "model",
    }
}
