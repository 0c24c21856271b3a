//! The rules in force: the built-in ones and a user's own, from a file or a directory of files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use oddline_engine::{
    Settings,
    rules::{self, RuleSet},
};

/// Largest rule file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads and compiles the rules that the settings name. A broken rule or file is left out with a warning; the rest counts.
pub fn load(settings: &Settings) -> Arc<RuleSet> {
    let mut all = if settings.builtin_rules() { rules::builtin_rules() } else { Vec::new() };
    let mut problems = Vec::new();
    if let Some(path) = settings.rules_path() {
        match read(Path::new(path)) {
            Ok(files) => {
                for (file, text) in files {
                    let mut parsed = rules::parse(&file, &text);
                    all.append(&mut parsed.rules);
                    problems.append(&mut parsed.problems);
                }
            }
            Err(error) => tracing::warn!(rules = path, %error, "rules cannot be read"),
        }
    }
    let compiled = RuleSet::compile(all);
    for problem in problems.iter().chain(&compiled.problems) {
        tracing::warn!(%problem, "rule left out");
    }
    Arc::new(compiled.set)
}

/// Where a user's rules lie if nothing else is said: `$XDG_CONFIG_HOME/oddline/rules`.
pub fn usual_path() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    home.map(|home| home.join("oddline/rules"))
}

/// Names and texts, in the order of the names.
pub(crate) fn read(path: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files: Vec<PathBuf> = if path.is_dir() {
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?
    } else {
        vec![path.to_owned()]
    };
    let hidden =
        |path: &PathBuf| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    files.retain(|file| file.is_file() && !hidden(file) || file == path);
    files.sort();
    files.iter().map(|file| Ok((file.display().to_string(), read_one(file)?))).collect()
}

pub(crate) fn read_one(file: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let bytes = fs::metadata(file).map_err(named)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(named(io::Error::other(format!("{bytes} bytes, the limit is {MAX_FILE_BYTES}"))));
    }
    fs::read_to_string(file).map_err(named)
}

#[cfg(test)]
mod tests {
    use oddline_engine::Options;

    use super::*;

    fn rules(path: &Path, builtin: bool) -> usize {
        let options = Options {
            rules: Some(path.display().to_string()),
            builtin_rules: Some(builtin),
            ..Options::default()
        };
        load(&Settings::new(&options).unwrap()).len()
    }

    #[test]
    fn a_file_or_a_directory_beside_the_built_in_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.rules"), "PUMP_STOPPED \"pump stopped\" 6\n").unwrap();
        fs::write(
            folder.path().join("more.toml"),
            "[[rules]]\nname = \"VALVE\"\npattern = \"valve stuck\"\nscore = 3\n",
        )
        .unwrap();
        fs::write(folder.path().join(".hidden"), "HIDDEN \"hidden words\" 6\n").unwrap();
        assert_eq!(rules(folder.path(), false), 2);
        assert_eq!(rules(&folder.path().join("mine.rules"), false), 1);
        assert_eq!(rules(folder.path(), true), 2 + RuleSet::builtin().len());
    }

    #[test]
    fn what_is_broken_or_absent_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.rules"), "BROKEN \"(\" 6\nPUMP_STOPPED \"pump stopped\" 6\n")
            .unwrap();
        assert_eq!(rules(folder.path(), false), 1);
        assert_eq!(rules(&folder.path().join("absent"), true), RuleSet::builtin().len());
    }
}
