//! Takes the directories that the host opens for the module, gives settings from the first `oddline.toml` in them.
//!
//! `filter_wasm` has no parameters for a module. What it has is `accessible_paths`: those directories are searched, in
//! the order written there. Must not know: hosts, records.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use oddline_engine::{Options, Settings};

/// The file's name in one of the directories.
pub const FILE: &str = "oddline.toml";
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Settings from the first directory that holds the file; the defaults if none does.
///
/// # Errors
/// One line that names the file and everything that is wrong in it.
pub fn load(directories: &[PathBuf]) -> Result<(Settings, Option<PathBuf>), String> {
    for directory in directories {
        let path = directory.join(FILE);
        match read(&path) {
            Ok(text) => {
                let options = Options::from_toml(&text).map_err(|error| fault(&path, &error.to_string()))?;
                let settings = Settings::new(&options).map_err(|errors| fault(&path, &errors.to_string()))?;
                return Ok((settings, Some(path)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(&path, &error.to_string())),
        }
    }
    let settings = Settings::new(&Options::default()).map_err(|errors| errors.to_string())?;
    Ok((settings, None))
}

/// What is to be said of paths that the host does not open for the module: they look as if nothing were there.
pub fn out_of_reach(settings: &Settings, directories: &[PathBuf]) -> Vec<String> {
    let named = [("rules", settings.rules_path()), ("advice_dir", settings.advice_dir())];
    let outside = named.into_iter().filter_map(|(option, path)| Some((option, path?))).filter(|(_, path)| {
        !directories.iter().any(|directory| plain(Path::new(path)).starts_with(plain(directory)))
    });
    outside
        .map(|(option, path)| {
            format!("{option}: {path} does not lie below accessible_paths {directories:?}; put it there, or name its directory there too")
        })
        .collect()
}

/// Without `.`, so that a relative path lies below the working directory.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > MAX_BYTES {
        return Err(io::Error::other(format!("file has {bytes} bytes, more than the limit of {MAX_BYTES}")));
    }
    fs::read_to_string(path)
}

/// One line, though toml draws several.
fn fault(path: &Path, error: &str) -> String {
    let mut line = format!("{}:", path.display());
    for word in error.split_whitespace().take(200) {
        line.push(' ');
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(text: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), text).unwrap();
        directory
    }

    #[test]
    fn the_first_file_wins_and_none_means_defaults() {
        let (empty, first, second) =
            (tempfile::tempdir().unwrap(), directory("key = \"one\""), directory("key = \"two\""));
        let paths = [&empty, &first, &second].map(|directory| directory.path().to_owned());
        let (settings, path) = load(&paths).unwrap();
        assert_eq!((settings.key(), path), ("one", Some(first.path().join(FILE))));
        assert_eq!(load(&paths[..1]).unwrap(), (Settings::default(), None));
        assert_eq!(load(&[]).unwrap().0, Settings::default());
    }

    #[test]
    fn what_the_host_does_not_open_is_named_with_what_to_do() {
        let said = |rules: &str, directories: &[&str]| {
            let options = Options { rules: Some(rules.to_owned()), ..Options::default() };
            let directories: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
            out_of_reach(&Settings::new(&options).unwrap(), &directories)
        };
        for (rules, directories) in [
            ("/var/lib/oddline/rules", &["/tmp", "/var/lib/oddline/"][..]),
            ("/var/lib/oddline", &["/var/lib/oddline"]),
            ("./rules/mine.toml", &["."]),
            ("rules", &["./"]),
        ] {
            assert_eq!(said(rules, directories), [""; 0], "{rules} below {directories:?}");
        }
        for rules in ["/etc/rules", "/var/lib/oddline-rules", "rules"] {
            let told = format!(
                "rules: {rules} does not lie below accessible_paths [\"/var/lib/oddline\"]; put it there, or name its \
                 directory there too"
            );
            assert_eq!(said(rules, &["/var/lib/oddline"]), [told]);
        }
        assert_eq!(out_of_reach(&Settings::default(), &[]), [""; 0]);
    }

    #[test]
    fn faults_name_the_file_the_option_and_what_is_allowed_in_one_line() {
        for (text, part) in [
            ("treshold = 1", "treshold"),
            ("sigma = 21", "option `sigma` is `21`; allowed: 1..=20"),
            ("mode = \"sideways\"", "sideways"),
            ("key = ", "TOML"),
            ("[run]\ndrain_seconds = 10\n[engine]\nsigma = 21", "option `sigma` is `21`"),
        ] {
            let directory = directory(text);
            let error = load(&[directory.path().to_owned()]).unwrap_err();
            assert!(error.starts_with(&directory.path().join(FILE).display().to_string()), "{error}");
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_at_the_limit_is_read_and_one_over_is_refused() {
        let at = format!("#{}", "x".repeat(MAX_BYTES as usize - 1));
        assert!(load(&[directory(&at).path().to_owned()]).is_ok());
        for over in [1, 9 * MAX_BYTES as usize] {
            let text = format!("{at}{}", "x".repeat(over));
            let directory = directory(&text);
            let error = load(&[directory.path().to_owned()]).unwrap_err();
            assert!(error.contains("more than the limit of 1048576"), "{error}");
        }
    }
}
