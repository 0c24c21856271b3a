//! What operators may write in a body, and which template they mean by it.

use std::sync::Arc;

use oddline_analyze::Analyzer;
use oddline_engine::TemplateId;
use serde::Deserialize;

use crate::error::ApiError;

/// Longest time for which an exception may be asked: ten years. For ever is to say nothing.
const MAX_SECONDS: u64 = 10 * 366 * 86_400;

/// As it is written: exactly one of the first four.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    message: Option<String>,
    template: Option<String>,
    template_id: Option<String>,
    rule: Option<String>,
    expires_seconds: Option<u64>,
}

/// What an operator wants.
#[derive(Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) about: About,
    pub(super) expires_seconds: Option<u64>,
}

/// What it is about.
#[derive(Debug, PartialEq)]
pub(super) enum About {
    Message(String),
    Template(String),
    Id(TemplateId),
    Rule(String),
}

/// Reads a body.
pub(super) fn wish(body: &[u8]) -> Result<Wish, ApiError> {
    let written: Written = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("body is not as expected: {error}")))?;
    let about = match (written.message, written.template, written.template_id, written.rule) {
        (Some(message), None, None, None) => About::Message(message),
        (None, Some(template), None, None) => About::Template(template),
        (None, None, Some(id), None) => About::Id(TemplateId::parse(&id).ok_or_else(|| {
            let id: String = id.chars().take(40).collect();
            ApiError::invalid(format!("template_id is {id:?}, not 16 hex digits"))
        })?),
        (None, None, None, Some(rule)) => About::Rule(rule),
        _ => return Err(ApiError::invalid("give exactly one of message, template, template_id, rule")),
    };
    if let About::Message(text) | About::Template(text) = &about
        && text.trim().is_empty()
    {
        return Err(ApiError::invalid("message or template is empty"));
    }
    if let Some(seconds) = written.expires_seconds
        && !(1..=MAX_SECONDS).contains(&seconds)
    {
        return Err(ApiError::invalid(format!("expires_seconds is {seconds}, not within 1..={MAX_SECONDS}")));
    }
    Ok(Wish { about, expires_seconds: written.expires_seconds })
}

/// The text of the template that is meant.
pub(super) async fn template(analyzer: &Analyzer, about: About) -> Result<Arc<str>, ApiError> {
    Ok(match about {
        About::Message(message) => {
            analyzer.template_of(message.as_bytes()).await.map_err(oddline_analyze::operate::Refused::from)?.1
        }
        About::Template(text) => text.into(),
        About::Id(id) => analyzer.text_of(id)?,
        About::Rule(_) => return Err(ApiError::invalid("a rule has no template")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<About, &str>) {
        let read = wish(body.as_bytes()).map(|wish| wish.about).map_err(|error| error.message);
        assert_eq!(read, expected.map_err(str::to_owned), "{body}");
    }

    #[test]
    fn exactly_one_thing_is_meant() {
        check(r#"{"message":"a"}"#, Ok(About::Message("a".into())));
        check(r#"{"rule":"OOM","expires_seconds":60}"#, Ok(About::Rule("OOM".into())));
        let id = TemplateId::of("a");
        check(&format!(r#"{{"template_id":"{id}"}}"#), Ok(About::Id(id)));
        let one = "give exactly one of message, template, template_id, rule";
        check("{}", Err(one));
        check(r#"{"message":"a","rule":"b"}"#, Err(one));
        check(r#"{"template":" "}"#, Err("message or template is empty"));
        check(r#"{"template_id":"xyz"}"#, Err("template_id is \"xyz\", not 16 hex digits"));
    }

    #[test]
    fn times_at_the_limit_one_over_and_ten_times() {
        let read = |seconds: u64| wish(format!(r#"{{"rule":"A","expires_seconds":{seconds}}}"#).as_bytes());
        assert_eq!(read(MAX_SECONDS).unwrap().expires_seconds, Some(MAX_SECONDS));
        for seconds in [0, MAX_SECONDS + 1, 10 * MAX_SECONDS] {
            assert!(read(seconds).unwrap_err().message.contains("not within 1..=316224000"));
        }
    }
}
