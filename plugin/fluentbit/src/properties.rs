//! Takes a host's look-up of properties by name, gives checked settings or one line that names everything that is wrong.
//!
//! Unknown names never come here: the host refuses them by the map that `ffi.rs` gives it.

use oddline_engine::{OPTIONS, Options, Settings};

/// Reads every option of [`OPTIONS`].
///
/// # Errors
/// All faults: name, value, and what is allowed.
pub fn settings(property: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let mut options = Options::default();
    let mut faults = Vec::new();
    for spec in OPTIONS {
        if let Some(value) = property(spec.name)
            && let Err(error) = options.set(spec.name, &value)
        {
            faults.push(error.to_string());
        }
    }
    let settings = Settings::new(&options).map_err(|errors| faults.push(errors.to_string()));
    match settings {
        Ok(settings) if faults.is_empty() => Ok(settings),
        _ => Err(faults.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        settings(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn every_default_is_accepted_as_a_property() {
        for spec in OPTIONS.iter().filter(|spec| !spec.default.is_empty()) {
            assert_eq!(check(&[(spec.name, spec.default)]), check(&[]), "{}", spec.name);
        }
    }

    /// The rows of the README's table, one per option.
    fn table() -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        let row = |spec: &oddline_engine::OptionSpec| {
            let default = if spec.default.is_empty() { String::new() } else { format!("`{}`", spec.default) };
            // Long lists may break where the page is narrow.
            let default = default.replace(',', ", ");
            format!("| `{}` | {default} | {} | {} |\n", spec.name, cell(spec.values), spec.doc)
        };
        let rows: String = OPTIONS.iter().map(row).collect();
        format!("| property | default | values | meaning |\n|---|---|---|---|\n{rows}")
    }

    #[test]
    fn the_readme_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let table = table();
        assert!(readme.contains(&table), "plugin/README.md is to contain this table:\n{table}");
    }

    #[test]
    fn all_faults_are_told_at_once_with_value_and_range() {
        let error = check(&[("mode", "sideways"), ("sigma", "21"), ("threshold", "high")]).unwrap_err();
        for part in [
            "option `mode` is `sideways`; allowed: divert|copy|inline",
            "option `sigma` is `21`; allowed: 1..=20",
            "option `threshold` is `high`; allowed: 0.05..=0.95",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
