//! `oddline-quality`: arguments in, tables or JSON out. `cargo xtask quality` builds it in release and calls it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use oddline_quality::{
    detector::Kind,
    harness,
    input::{self, Folder},
    report::{Measured, Report},
    sets::{self, Set},
};

/// Measure how well Oddline detects, on folders of labelled logs, beside simpler detectors.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask quality")]
struct Arguments {
    /// Folder with one folder for each data set [default: ../shared/data from the project's root]
    #[arg(long, value_name = "DIR", env = "ODDLINE_DATA")]
    data: Option<PathBuf>,
    /// Only sets of this kind, or this folder; may be given more than once.
    #[arg(long, value_name = "NAME")]
    set: Vec<String>,
    /// Only these detectors.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "DETECTOR")]
    detector: Vec<Kind>,
    /// How the figures are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs: one JSON object.
    Json,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(text) => {
            use std::io::Write as _;
            // Whoever reads may have seen enough; then there is nobody to tell.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let data = &arguments.data.clone().unwrap_or_else(input::default_data);
    let folders = input::folders(data).with_context(|| {
        format!("no data: name a folder with --data or ODDLINE_DATA (tried {})", data.display())
    })?;
    let detectors = if arguments.detector.is_empty() { &Kind::ALL[..] } else { &arguments.detector };
    let mut report = Report::default();
    for set in sets::ALL {
        let of_set: Vec<&Folder> = folders.iter().filter(|folder| (set.recognises)(folder)).collect();
        if of_set.is_empty() && is_wanted(arguments, set, None) {
            report.skipped.push(format!("{}: no folder of this kind", set.name));
        }
        for folder in of_set.into_iter().filter(|folder| is_wanted(arguments, set, Some(folder))) {
            report.measured.push(run(set, folder, detectors)?);
        }
    }
    for folder in folders.iter().filter(|folder| !sets::ALL.iter().any(|set| (set.recognises)(folder))) {
        report.skipped.push(format!("{}: not a kind of data that is known", folder.name));
    }
    anyhow::ensure!(
        !report.measured.is_empty(),
        "nothing to measure in {}: {}",
        data.display(),
        report.skipped.join("; ")
    );
    Ok(match arguments.format {
        Format::Table => report.table(),
        Format::Json => serde_json::to_string_pretty(&report.json())?,
    })
}

fn is_wanted(arguments: &Arguments, set: &Set, folder: Option<&Folder>) -> bool {
    let names = &arguments.set;
    names.is_empty()
        || names.iter().any(|name| name == set.name || folder.is_some_and(|folder| *name == folder.name))
}

fn run(set: &Set, folder: &Folder, detectors: &[Kind]) -> anyhow::Result<Measured> {
    let bench = (set.load)(folder).with_context(|| format!("{} in {}", set.name, folder.name))?;
    let mut results = Vec::new();
    for detector in detectors {
        tell(&format!("{}: {} ({})", folder.name, detector.name(), bench.about));
        results.push(harness::run(&bench, *detector)?);
    }
    Ok(Measured { set: set.name, folder: folder.name.clone(), about: bench.about, results })
}

/// Progress and errors are not part of the output.
fn tell(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
