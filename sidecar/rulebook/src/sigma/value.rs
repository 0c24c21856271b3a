//! Values and modifiers of Sigma: takes one detection item, gives the test on its field.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsigma_parser::{DetectionItem, Modifier, SigmaString, SigmaValue, SpecialChar, StringPart};

use super::cidr;
use crate::expression::{Expr, Literal, Op};

/// Most values of one item, all variants counted.
const MAX_VALUES: usize = 4_096;
/// What a dash on a Windows command line may also be.
const DASHES: [&str; 5] = ["-", "/", "\u{2013}", "\u{2014}", "\u{2015}"];

/// The test of one item on the field at `path`; `keyword` items look anywhere in the message.
pub(super) fn test(item: &DetectionItem, path: &str, keyword: bool) -> Result<Expr, String> {
    let has = |modifier| item.field.has_modifier(modifier);
    for modifier in &item.field.modifiers {
        if let Some(reason) = inexpressible(*modifier) {
            return Err(format!("{path}: {reason}"));
        }
    }
    if item.values.len() > MAX_VALUES {
        return Err(format!("{path}: has {} values, more than the limit of {MAX_VALUES}", item.values.len()));
    }
    let mut tests = Vec::new();
    for value in &item.values {
        tests.push(one(item, value, path, keyword)?);
    }
    if tests.is_empty() {
        return Err(format!("{path}: has no value"));
    }
    Ok(if has(Modifier::All) { Expr::all(tests) } else { Expr::any(tests) })
}

/// Why a modifier has no counterpart here.
fn inexpressible(modifier: Modifier) -> Option<&'static str> {
    match modifier {
        Modifier::Expand => {
            Some("`expand` asks for a placeholder's values, which only its environment knows")
        }
        Modifier::FieldRef => Some("`fieldref` compares two fields; write it by hand as `when`"),
        Modifier::Minute
        | Modifier::Hour
        | Modifier::Day
        | Modifier::Week
        | Modifier::Month
        | Modifier::Year => Some("asks for a part of the time; rules here do not look at clocks"),
        _ => None,
    }
}

fn one(item: &DetectionItem, value: &SigmaValue, path: &str, keyword: bool) -> Result<Expr, String> {
    let has = |modifier| item.field.has_modifier(modifier);
    let test = |op| Expr::test(path, op);
    if has(Modifier::Exists) {
        let wanted = matches!(value, SigmaValue::Bool(true))
            || value_text(value).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        return Ok(test(if wanted { Op::Exists } else { Op::Missing }));
    }
    if has(Modifier::Re) {
        let regex = value_text(value).ok_or_else(|| format!("{path}: `re` without a regex"))?;
        return Ok(test(Op::Matches(with_flags(&regex, &item.field.modifiers))));
    }
    if has(Modifier::Cidr) {
        let network = value_text(value).ok_or_else(|| format!("{path}: `cidr` without a network"))?;
        return cidr::regex(&network).map(|regex| test(Op::Matches(regex)));
    }
    let signs = [(Modifier::Gt, ">"), (Modifier::Gte, ">="), (Modifier::Lt, "<"), (Modifier::Lte, "<=")];
    if let Some((_, sign)) = signs.into_iter().find(|(modifier, _)| has(*modifier)) {
        let number = match value {
            SigmaValue::Integer(number) => number.to_string(),
            SigmaValue::Float(number) if number.is_finite() => number.to_string(),
            _ => return Err(format!("{path}: `{sign}` with something that is not a number")),
        };
        return Ok(test(Op::Compare(sign, Literal::Number(number))));
    }
    let tested = match value {
        SigmaValue::Null => test(Op::Missing),
        SigmaValue::Bool(value) => test(Op::Compare("==", Literal::Bool(*value))),
        SigmaValue::Integer(number) if is_whole(item, keyword) => {
            test(Op::Compare("==", Literal::Number(number.to_string())))
        }
        SigmaValue::Float(number) if is_whole(item, keyword) && number.is_finite() => {
            test(Op::Compare("==", Literal::Number(number.to_string())))
        }
        other => {
            let variants = variants(item, other, path)?;
            Expr::any(variants.iter().map(|parts| text(item, parts, path, keyword)).collect())
        }
    };
    Ok(if has(Modifier::Neq) { Expr::not(tested) } else { tested })
}

/// Whether the value is all of the field.
fn is_whole(item: &DetectionItem, keyword: bool) -> bool {
    let partial = [
        Modifier::Contains,
        Modifier::StartsWith,
        Modifier::EndsWith,
        Modifier::Base64,
        Modifier::Base64Offset,
    ];
    !keyword && !partial.iter().any(|modifier| item.field.has_modifier(*modifier))
}

fn value_text(value: &SigmaValue) -> Option<String> {
    match value {
        SigmaValue::String(text) => Some(text.original.clone()),
        SigmaValue::Integer(_) | SigmaValue::Float(_) => Some(value.to_string()),
        SigmaValue::Bool(_) | SigmaValue::Null => None,
    }
}

/// Sigma's regexes mind case unless `i` is given; ours do not unless told.
fn with_flags(regex: &str, modifiers: &[Modifier]) -> String {
    let mut on = String::new();
    if modifiers.contains(&Modifier::Multiline) {
        on.push('m');
    }
    if modifiers.contains(&Modifier::DotAll) {
        on.push('s');
    }
    if modifiers.contains(&Modifier::IgnoreCase) {
        return if on.is_empty() { regex.to_owned() } else { format!("(?{on}:{regex})") };
    }
    // A regex without letters means the same either way.
    let minds_case = regex.chars().any(|c| c.is_ascii_alphabetic());
    match (minds_case, on.is_empty()) {
        (false, true) => regex.to_owned(),
        (false, false) => format!("(?{on}:{regex})"),
        (true, _) => format!("(?{on}-i:{regex})"),
    }
}

/// The texts that a value stands for once dashes and encodings are applied.
fn variants(item: &DetectionItem, value: &SigmaValue, path: &str) -> Result<Vec<Vec<StringPart>>, String> {
    let has = |modifier| item.field.has_modifier(modifier);
    let parts = match value {
        SigmaValue::String(text) => text.parts.clone(),
        other => SigmaString::from_raw(&other.to_string()).parts,
    };
    let mut variants = if has(Modifier::WindAsh) { dashes(&parts) } else { vec![parts] };
    let (offsets, base64) = (has(Modifier::Base64Offset), has(Modifier::Base64));
    if !base64 && !offsets {
        if has(Modifier::Wide) || has(Modifier::Utf16) || has(Modifier::Utf16be) {
            return Err(format!("{path}: UTF-16 without base64 would look for NUL bytes in text"));
        }
        return Ok(variants);
    }
    let mut encoded = Vec::new();
    for parts in variants.drain(..) {
        let plain: Option<Vec<&str>> = parts
            .iter()
            .map(|part| match part {
                StringPart::Plain(text) => Some(text.as_str()),
                StringPart::Special(_) => None,
            })
            .collect();
        let plain = plain.ok_or_else(|| format!("{path}: a wildcard inside a base64 value"))?.concat();
        let bytes: Vec<u8> = if has(Modifier::Wide) || has(Modifier::Utf16) {
            plain.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else if has(Modifier::Utf16be) {
            plain.encode_utf16().flat_map(u16::to_be_bytes).collect()
        } else {
            plain.into_bytes()
        };
        if offsets {
            encoded.extend((0..3).map(|offset| at_offset(&bytes, offset)));
        } else {
            encoded.push(STANDARD.encode(&bytes));
        }
    }
    encoded.retain(|text| !text.is_empty());
    Ok(encoded.into_iter().map(|text| vec![StringPart::Plain(text)]).collect())
}

/// What of a text encoded in the middle of something longer does not depend on its neighbours.
fn at_offset(bytes: &[u8], offset: usize) -> String {
    let mut shifted = vec![0u8; offset];
    shifted.extend_from_slice(bytes);
    let encoded = STANDARD.encode(&shifted);
    let start = [0, 2, 3][offset];
    let end = match shifted.len() % 3 {
        0 => encoded.len(),
        1 => encoded.len().saturating_sub(3),
        _ => encoded.len().saturating_sub(2),
    };
    encoded.get(start..end).unwrap_or_default().to_owned()
}

/// The value with each dash that begins an option replaced by what else may stand there.
fn dashes(parts: &[StringPart]) -> Vec<Vec<StringPart>> {
    let replaced = |dash: &str| {
        let part = |part: &StringPart| match part {
            StringPart::Plain(text) => StringPart::Plain(with_dash(text, dash)),
            special => special.clone(),
        };
        parts.iter().map(part).collect::<Vec<_>>()
    };
    let mut variants: Vec<Vec<StringPart>> = Vec::new();
    for dash in DASHES {
        let variant = replaced(dash);
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    variants
}

/// Only a dash at the start or after a blank begins an option.
fn with_dash(text: &str, dash: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if matches!(c, '-' | '/') && before.is_whitespace() {
            out.push_str(dash);
        } else {
            out.push(c);
        }
        before = c;
    }
    out
}

fn text(item: &DetectionItem, parts: &[StringPart], path: &str, keyword: bool) -> Expr {
    let has = |modifier| item.field.has_modifier(modifier);
    let wild = || StringPart::Special(SpecialChar::WildcardMulti);
    let mut parts = parts.to_vec();
    let anywhere = keyword || has(Modifier::Contains) || has(Modifier::Base64Offset) || has(Modifier::Base64);
    if anywhere || has(Modifier::EndsWith) {
        parts.insert(0, wild());
    }
    if anywhere || has(Modifier::StartsWith) {
        parts.push(wild());
    }
    parts.dedup_by(|a, b| *a == wild() && *b == wild());
    let encoded = has(Modifier::Base64) || has(Modifier::Base64Offset);
    if has(Modifier::Cased) || encoded {
        return Expr::test(path, Op::Matches(format!("(?-i:{})", regex(&parts))));
    }
    let plain = |text: &String| text.clone();
    let op = match parts.as_slice() {
        [] => Op::Compare("==", Literal::Text(String::new())),
        [StringPart::Plain(text)] => Op::Compare("==", Literal::Text(plain(text))),
        [StringPart::Special(SpecialChar::WildcardMulti)] => Op::Exists,
        [StringPart::Special(SpecialChar::WildcardMulti), StringPart::Plain(text)] => {
            Op::EndsWith(plain(text))
        }
        [StringPart::Plain(text), StringPart::Special(SpecialChar::WildcardMulti)] => {
            Op::StartsWith(plain(text))
        }
        [
            StringPart::Special(SpecialChar::WildcardMulti),
            StringPart::Plain(text),
            StringPart::Special(SpecialChar::WildcardMulti),
        ] => Op::Contains(plain(text)),
        parts => Op::Matches(regex(parts)),
    };
    Expr::test(path, op)
}

/// A text with wildcards as a regex over the whole field.
fn regex(parts: &[StringPart]) -> String {
    let is_wild =
        |part: Option<&StringPart>| matches!(part, Some(StringPart::Special(SpecialChar::WildcardMulti)));
    let (open, close) = (is_wild(parts.first()), is_wild(parts.last()));
    let last = parts.len().saturating_sub(1);
    let mut regex = String::from(if open { "" } else { "^" });
    for (place, part) in parts.iter().enumerate() {
        match part {
            StringPart::Plain(text) => regex.push_str(&regex_syntax::escape(text)),
            StringPart::Special(SpecialChar::WildcardSingle) => regex.push('.'),
            StringPart::Special(SpecialChar::WildcardMulti) if place == 0 || place == last => {}
            StringPart::Special(SpecialChar::WildcardMulti) => regex.push_str(".*"),
        }
    }
    if !close {
        regex.push('$');
    }
    regex
}
