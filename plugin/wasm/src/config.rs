//! Takes the directories that the host opens for the module, gives settings from the first `oddline.toml` in them.
//!
//! `filter_wasm` has no parameters for a module. What it has is `accessible_paths`: those directories are searched, in
//! the order written there. Must not know: hosts, records.

use std::{
    fs, io,
    path::{Path, PathBuf},
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
                let options: Options =
                    toml::from_str(&text).map_err(|error| fault(&path, &error.to_string()))?;
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
    fn faults_name_the_file_the_option_and_what_is_allowed_in_one_line() {
        for (text, part) in [
            ("treshold = 1", "treshold"),
            ("sigma = 21", "option `sigma` is `21`; allowed: 1..=20"),
            ("mode = \"sideways\"", "sideways"),
            ("key = ", "TOML"),
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
