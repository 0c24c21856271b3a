//! Log sources of Sigma: takes one, gives the names that its fields have in the records that shippers deliver.

use std::{collections::BTreeMap, str::FromStr};

use rsigma_parser::LogSource;

/// Which names records use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// As the usual parsers and the services themselves write them.
    #[default]
    Usual,
    /// As in the Sigma rule.
    Sigma,
    /// Elastic Common Schema.
    Ecs,
}

impl FromStr for Naming {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "usual" => Ok(Naming::Usual),
            "sigma" => Ok(Naming::Sigma),
            "ecs" => Ok(Naming::Ecs),
            other => Err(format!("`{other}` is none of usual, sigma, ecs")),
        }
    }
}

/// Fields of access logs as Fluent Bit's `apache2` and `nginx` parsers name them: the path holds the query.
const WEB_USUAL: [(&str, &str); 14] = [
    ("c-uri", "path"),
    ("c-uri-query", "path"),
    ("c-uri-stem", "path"),
    ("cs-uri", "path"),
    ("cs-uri-query", "path"),
    ("cs-uri-stem", "path"),
    ("cs-method", "method"),
    ("sc-status", "code"),
    ("c-useragent", "agent"),
    ("cs-user-agent", "agent"),
    ("cs-referer", "referer"),
    ("cs-referrer", "referer"),
    ("c-ip", "remote"),
    ("src_ip", "remote"),
];

const WEB_ECS: [(&str, &str); 17] = [
    ("c-uri", "url.original"),
    ("c-uri-query", "url.query"),
    ("c-uri-stem", "url.path"),
    ("c-uri-extension", "url.extension"),
    ("cs-uri", "url.original"),
    ("cs-uri-query", "url.query"),
    ("cs-uri-stem", "url.path"),
    ("cs-method", "http.request.method"),
    ("sc-status", "http.response.status_code"),
    ("c-useragent", "user_agent.original"),
    ("cs-user-agent", "user_agent.original"),
    ("cs-referer", "http.request.referrer"),
    ("cs-referrer", "http.request.referrer"),
    ("cs-host", "url.domain"),
    ("c-ip", "source.ip"),
    ("src_ip", "source.ip"),
    ("dst_ip", "destination.ip"),
];

const PROCESS_ECS: [(&str, &str); 6] = [
    ("Image", "process.executable"),
    ("CommandLine", "process.command_line"),
    ("CurrentDirectory", "process.working_directory"),
    ("User", "user.name"),
    ("ParentImage", "process.parent.executable"),
    ("ParentCommandLine", "process.parent.command_line"),
];

/// Google's audit log as it is delivered; Sigma writes a collector's flattened names.
const GCP: [(&str, &str); 2] = [
    ("gcp.audit.method_name", "protoPayload.methodName"),
    ("gcp.audit.service_name", "protoPayload.serviceName"),
];

/// Okta's system log as it is delivered; Sigma writes some of its names in small letters.
const OKTA: [(&str, &str); 3] =
    [("eventtype", "eventType"), ("displaymessage", "displayMessage"), ("displayname", "displayName")];

/// How fields are renamed: what a person asked for, else the table of the log source.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Whose names.
    pub naming: Naming,
    /// `from` to `to`, before any table.
    pub map: BTreeMap<String, String>,
}

/// The names of one log source.
#[derive(Clone, Debug)]
pub struct SourceNames<'a> {
    map: &'a BTreeMap<String, String>,
    tables: Vec<&'static [(&'static str, &'static str)]>,
}

impl Names {
    /// The names for rules about this log source.
    pub fn for_source(&self, source: &LogSource) -> SourceNames<'_> {
        let is = |field: &Option<String>, words: &[&str]| {
            field.as_deref().is_some_and(|word| words.contains(&word))
        };
        let web = is(&source.category, &["webserver", "proxy", "webapplication"])
            || is(&source.product, &["apache", "nginx", "modsecurity"])
            || is(&source.service, &["apache", "nginx", "iis"]);
        let mut tables: Vec<&'static [(&str, &str)]> = Vec::new();
        match self.naming {
            Naming::Sigma => {}
            Naming::Usual if web => tables.push(&WEB_USUAL),
            Naming::Ecs if web => tables.push(&WEB_ECS),
            Naming::Ecs if is(&source.category, &["process_creation"]) => tables.push(&PROCESS_ECS),
            Naming::Usual | Naming::Ecs => {}
        }
        if self.naming != Naming::Sigma && is(&source.product, &["gcp"]) {
            tables.push(&GCP);
        }
        if self.naming != Naming::Sigma && is(&source.product, &["okta"]) {
            tables.push(&OKTA);
        }
        SourceNames { map: &self.map, tables }
    }
}

impl SourceNames<'_> {
    /// What a field of a Sigma rule is called in records.
    pub(crate) fn of<'n>(&'n self, field: &'n str) -> &'n str {
        let wanted = self.map.get(field).map(String::as_str);
        let known = || self.tables.iter().flat_map(|table| table.iter()).find(|(from, _)| *from == field);
        wanted.or_else(|| known().map(|(_, to)| *to)).unwrap_or(field)
    }
}

/// A log source in one word, for reports.
pub fn label(source: &LogSource) -> String {
    let parts = [&source.product, &source.category, &source.service];
    let words: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    if words.is_empty() { "any".to_owned() } else { words.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_asks_for_goes_before_the_tables() {
        let web = LogSource { category: Some("webserver".to_owned()), ..LogSource::default() };
        let mut names = Names::default();
        assert_eq!(names.for_source(&web).of("sc-status"), "code");
        names.map.insert("sc-status".to_owned(), "http.status".to_owned());
        assert_eq!(names.for_source(&web).of("sc-status"), "http.status");
        assert_eq!(names.for_source(&web).of("cs-cookie"), "cs-cookie");
        names.naming = Naming::Ecs;
        assert_eq!(names.for_source(&web).of("cs-method"), "http.request.method");
        assert_eq!(names.for_source(&LogSource::default()).of("cs-method"), "cs-method");
        assert_eq!(label(&web), "webserver");
    }
}
