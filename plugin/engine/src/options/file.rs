//! Takes the text of a TOML file, gives the options in it: a plugin's own file, or the sidecar's configuration. Must not know
//! what else a sidecar has, nor where the file lies.

use serde::Deserialize;

use super::Options;

/// A sidecar's configuration, as far as plugins read it.
#[derive(Deserialize)]
struct Configuration {
    engine: Option<Options>,
}

impl Options {
    /// Options from a TOML file. If it has a section `[engine]`, that counts and nothing else: one file can serve sidecar and
    /// plugins.
    ///
    /// # Errors
    /// If it is no TOML, or an option is unknown or of the wrong type; with the place in the text.
    pub fn from_toml(text: &str) -> Result<Options, toml::de::Error> {
        match toml::from_str(text) {
            Ok(Configuration { engine: Some(options) }) => Ok(options),
            Ok(Configuration { engine: None }) => toml::from_str(text),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_file_and_a_sidecars_give_the_same() {
        let plugin = Options::from_toml("threshold = 0.6\nmessage_paths = [\"a.b\", \"c\"]\n").unwrap();
        let sidecar =
            "[forward]\nlisten = \"\"\n[engine]\nthreshold = 0.6\nmessage_paths = [\"a.b\", \"c\"]\n[run]\n";
        assert_eq!(plugin.threshold, Some(0.6));
        assert_eq!(Options::from_toml(sidecar).unwrap(), plugin);
        assert_eq!(Options::from_toml("").unwrap(), Options::default());
        assert_eq!(Options::from_toml("[engine]\n").unwrap(), Options::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, part) in [
            ("\ntreshold = 1", 2, "treshold"),
            ("[engine]\n\ntreshold = 1", 3, "treshold"),
            ("[engine]\nthreshold = \"0.6\"", 2, "0.6"),
            ("[engine]\nkey = ", 2, "TOML parse error"),
            ("engine = 7", 1, "engine"),
            ("[run]\nlog = \"info\"", 1, "run"),
        ] {
            let error = Options::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}")) && error.contains(part), "{text}: {error}");
        }
    }
}
