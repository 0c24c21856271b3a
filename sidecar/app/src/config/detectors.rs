//! `[detectors]`: which components look at records, and when one is turned off. Takes it as written, gives it checked;
//! reads no component.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::Faults;

/// Detectors of an operator's own.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct Detectors {
    pub files: Vec<DetectorFile>,
    pub wait: Duration,
    pub faults: usize,
    pub within: Duration,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "see defaults.toml")]
pub struct DetectorFile {
    pub name: String,
    pub path: PathBuf,
    pub weight: f32,
    pub options: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    files: Vec<WrittenFile>,
    wait_ms: u64,
    faults: u64,
    fault_minutes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    path: PathBuf,
    name: Option<String>,
    weight: Option<f64>,
    #[serde(default)]
    options: toml::Table,
}

impl Written {
    pub(super) fn check(self, faults: &mut Faults) -> Detectors {
        faults.range("detectors.wait_ms", self.wait_ms, 1, 10_000);
        faults.range("detectors.faults", self.faults, 1, 1_000);
        faults.range("detectors.fault_minutes", self.fault_minutes, 1, 1_440);
        let files: Vec<DetectorFile> = self.files.into_iter().map(|file| file.check(faults)).collect();
        let mut names = BTreeSet::new();
        for file in files.iter().filter(|file| !names.insert(&file.name)) {
            faults.0.push(format!("detectors.files: two are called `{}`: set name", file.name));
        }
        Detectors {
            wait: Duration::from_millis(self.wait_ms),
            faults: self.faults as usize,
            within: Duration::from_secs(self.fault_minutes.saturating_mul(60)),
            files,
        }
    }
}

impl WrittenFile {
    fn check(self, faults: &mut Faults) -> DetectorFile {
        let stem =
            || self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = self.name.unwrap_or_else(stem);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            let wanted = "1 to 64 of A-Z a-z 0-9 _ . -";
            faults.0.push(format!("detectors.files: name is `{}`, wanted: {wanted}", short(&name)));
        }
        let weight = self.weight.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&weight) {
            faults
                .0
                .push(format!("detectors.files: weight of `{}` is {weight}, not within 0..=1", short(&name)));
        }
        let mut options = Vec::with_capacity(self.options.len());
        for (option, value) in self.options {
            match text(&value) {
                Some(value) => options.push((option, value)),
                None => faults.0.push(format!(
                    "detectors.files: option `{}` of `{}` is {}, wanted: text, a number, true or false",
                    short(&option),
                    short(&name),
                    value.type_str()
                )),
            }
        }
        DetectorFile { name, path: self.path, weight: weight as f32, options }
    }
}

/// As a component is given it.
fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Sources};
    use super::*;

    fn load(file: &str) -> Result<Detectors, Vec<String>> {
        let sources = Sources {
            file: Some(("oddline.toml".into(), file.into())),
            environment: vec![("HOME".into(), "/home/someone".into())],
            flags: Vec::new(),
        };
        Config::load(&sources).map(|config| config.detectors).map_err(|errors| errors.0)
    }

    #[test]
    fn files_have_a_name_a_weight_and_options() {
        let file = r#"
            [detectors]
            wait_ms = 50
            [[detectors.files]]
            path = "/opt/slow-requests.wasm"
            options = { limit_ms = 500, field = "took", strict = true, share = 0.5 }
            [[detectors.files]]
            path = "/opt/other.wasm"
            name = "second"
            weight = 0.7
        "#;
        let detectors = load(file).unwrap();
        assert_eq!((detectors.wait, detectors.faults), (Duration::from_millis(50), 3));
        let [first, second] = detectors.files.as_slice() else { panic!("{detectors:?}") };
        assert_eq!((first.name.as_str(), first.weight), ("slow-requests", 1.0));
        let mut options: Vec<String> =
            first.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Tables keep their order or not, by what else is compiled in.
        options.sort();
        assert_eq!(options, ["field=took", "limit_ms=500", "share=0.5", "strict=true"]);
        assert_eq!((second.name.as_str(), second.weight), ("second", 0.7));
        assert!(load("").unwrap().files.is_empty());
    }

    #[test]
    fn every_fault_is_named() {
        let file = r#"
            [detectors]
            faults = 0
            wait_ms = 10001
            [[detectors.files]]
            path = "a b.wasm"
            weight = 1.1
            options = { list = [1] }
            [[detectors.files]]
            path = "/opt/x.wasm"
            [[detectors.files]]
            path = "/srv/x.wasm"
        "#;
        assert_eq!(
            load(file).unwrap_err(),
            [
                "detectors.wait_ms is 10001, not within 1..=10000",
                "detectors.faults is 0, not within 1..=1000",
                "detectors.files: name is `a b`, wanted: 1 to 64 of A-Z a-z 0-9 _ . -",
                "detectors.files: weight of `a b` is 1.1, not within 0..=1",
                "detectors.files: option `list` of `a b` is array, wanted: text, a number, true or false",
                "detectors.files: two are called `x`: set name",
            ]
        );
        assert_eq!(
            load("[detectors]\nfiles = \"x.wasm\"").unwrap_err(),
            ["oddline.toml: `detectors.files` is `x.wasm`, wanted: a list, in the file"]
        );
        assert!(load("[[detectors.files]]\npath = \"x\"\nwieght = 1").unwrap_err()[0].contains("wieght"));
    }
}
