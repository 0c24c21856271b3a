//! What is told, as JSON. Log text stands in strings only, where JSON escapes it.

use oddline_analyze::{
    findings::Finding,
    operate::{Excepted, Exception},
};
use serde_json::{Value, json};

pub(super) fn exception(exception: &Exception) -> Value {
    let mut told = match &exception.what {
        Excepted::Template { id, text } => json!({ "template_id": id.to_string(), "template": &**text }),
        Excepted::Rule(rule) => json!({ "rule": rule }),
    };
    if let Some(expires) = exception.expires {
        told["expires"] = expires.into();
    }
    told
}

pub(super) fn finding(finding: &Finding) -> Value {
    // As in tags: three digits are enough.
    let score = (f64::from(finding.score) * 1_000.0).round() / 1_000.0;
    let mut told = json!({
        "time": finding.at,
        "source": &*finding.source,
        "level": finding.level.as_str(),
        "score": score,
        "template_id": finding.template_id.to_string(),
        "template": &*finding.template,
        "reason": &*finding.reason,
    });
    if let Some(rule) = &finding.rule {
        told["rule"] = json!(&**rule);
    }
    told
}
