//! Detection must not get worse unnoticed: figures of the shipped detector on a synthetic set, and on a quick slice of the
//! real data where it is, may not fall by more than [`SLACK`] below `recorded.toml`. `ODDLINE_RECORD=1` records them anew.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use oddline_quality::{
    detector::Kind,
    harness::{self, Bench, Figure, Goal},
    input::{self, Folder},
    sets, synthetic,
};

/// By this much a figure may fall.
const SLACK: f64 = 0.03;
/// Kinds of the slice: those that are done in seconds.
const KINDS: [&str; 4] = ["parsing", "build logs", "sessions", "alert levels"];
/// Files of the slice are at most this long, in bytes as they are stored.
const LONGEST: u64 = 400_000;

type Figures = BTreeMap<String, f64>;

#[test]
fn figures_on_the_synthetic_set_do_not_fall() {
    let figures = measured(&synthetic::bench(synthetic::SEED), "");
    assert!(figures.len() >= 4, "{figures:?}");
    hold("synthetic", &figures);
}

#[test]
fn figures_on_a_slice_of_real_data_do_not_fall() {
    let data = std::env::var_os("ODDLINE_DATA").map_or_else(input::default_data, PathBuf::from);
    let Ok(slice) = sliced(&data) else {
        return skipped(&format!("no labelled data in {}; ODDLINE_DATA names a folder", data.display()));
    };
    let mut figures = Figures::new();
    for set in sets::ALL.iter().filter(|set| KINDS.contains(&set.name)) {
        for folder in slice.folders.iter().filter(|folder| (set.recognises)(folder)) {
            let bench = (set.load)(folder).unwrap_or_else(|error| panic!("{}: {error:#}", folder.name));
            figures.extend(measured(&bench, &format!("{}: ", folder.name)));
        }
    }
    if figures.is_empty() {
        return skipped(&format!("{} has none of {KINDS:?}", data.display()));
    }
    // Figures of other data cannot be compared.
    let name = format!("slice {:016x}", slice.fingerprint);
    if !recorded().contains_key(&name) && !recording() {
        return skipped(&format!("nothing is recorded for the data in {} ({name})", data.display()));
    }
    hold(&name, &figures);
}

#[test]
fn a_fall_is_told_and_a_tremble_is_not() {
    let figures = |value| Figures::from([("F1".to_owned(), value)]);
    assert_eq!(fallen(&figures(0.9), &figures(0.88)), [""; 0]);
    assert_eq!(fallen(&figures(0.9), &figures(0.95)), [""; 0]);
    assert_eq!(fallen(&figures(0.9), &figures(0.86)), ["F1: 0.860, was 0.900"]);
    assert_eq!(fallen(&figures(0.9), &Figures::new()), ["F1: gone, was 0.900"]);
}

/// Figures of the shipped detector of which more is better.
fn measured(bench: &Bench, prefix: &str) -> Figures {
    let result =
        harness::run(bench, Kind::Oddline, |_, _| Ok(())).unwrap_or_else(|error| panic!("{error:#}"));
    // Precision and recall may be traded for each other; their F1 may not fall.
    let is_half = |figure: &Figure| figure.name.ends_with(" precision") || figure.name.ends_with(" recall");
    let rises = |figure: &Figure| !matches!(figure.goal, Some(Goal::AtMost(_))) && !is_half(figure);
    let rising = result.figures.into_iter().filter(rises);
    rising
        .filter_map(|figure| Some((format!("{prefix}{}", figure.name), rounded(figure.estimate.value?))))
        .collect()
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The short files of the data in a folder of their own, and what tells them from other data.
struct Slice {
    folders: Vec<Folder>,
    fingerprint: u64,
    /// Removed with it.
    _files: tempfile::TempDir,
}

fn sliced(data: &Path) -> anyhow::Result<Slice> {
    let slice = tempfile::tempdir()?;
    let mut files: Vec<(PathBuf, u64)> = Vec::new();
    for folder in input::folders(data)? {
        let pairs = folder.ending(".pass.log");
        let is_short = |path: &Path| path.metadata().is_ok_and(|it| it.len() <= LONGEST);
        for (_, path) in folder.ending("").into_iter().filter(|(_, path)| is_short(path)) {
            // Of build logs the first six cases.
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_chosen = pairs.is_empty()
                || pairs.iter().take(6).any(|(case, _)| name.starts_with(&format!("{case}.")));
            if is_chosen && (set_of(&folder).is_some_and(|set| KINDS.contains(&set))) {
                files.push((path.to_owned(), path.metadata()?.len()));
            }
        }
    }
    anyhow::ensure!(!files.is_empty(), "nothing to slice");
    let mut fingerprint = 0xcbf2_9ce4_8422_2325u64;
    for (path, length) in &files {
        let below = path.strip_prefix(data)?;
        let copy = slice.path().join(below);
        fs::create_dir_all(copy.parent().unwrap_or(slice.path()))?;
        fs::copy(path, copy)?;
        for byte in below.to_string_lossy().bytes().chain(length.to_le_bytes()) {
            fingerprint = (fingerprint ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    Ok(Slice { folders: input::folders(slice.path())?, fingerprint, _files: slice })
}

fn set_of(folder: &Folder) -> Option<&'static str> {
    sets::ALL.iter().find(|set| (set.recognises)(folder)).map(|set| set.name)
}

/// Compares with what is recorded, or records.
fn hold(name: &str, figures: &Figures) {
    if recording() {
        // Tests run at the same time and share the file.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock();
        let mut all = recorded();
        all.insert(name.to_owned(), figures.clone());
        fs::write(recorded_at(), toml::to_string(&all).unwrap()).unwrap();
        return;
    }
    let recorded = recorded();
    let was = recorded.get(name).unwrap_or_else(|| panic!("nothing is recorded as {name}"));
    let fallen = fallen(was, figures);
    assert!(fallen.is_empty(), "detection fell by more than {SLACK}:\n{}", fallen.join("\n"));
}

fn fallen(was: &Figures, is: &Figures) -> Vec<String> {
    let tell = |(name, was): (&String, &f64)| match is.get(name) {
        Some(is) if *is >= was - SLACK => None,
        Some(is) => Some(format!("{name}: {is:.3}, was {was:.3}")),
        None => Some(format!("{name}: gone, was {was:.3}")),
    };
    was.iter().filter_map(tell).collect()
}

fn recording() -> bool {
    std::env::var_os("ODDLINE_RECORD").is_some()
}

fn recorded() -> BTreeMap<String, Figures> {
    let text = fs::read_to_string(recorded_at()).unwrap_or_default();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", recorded_at().display()))
}

fn recorded_at() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded.toml")
}

/// Past the test harness, which would keep it to itself.
fn skipped(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED floor: {why}");
}
