//! `oddline-quality`: arguments in, tables or JSON out. `cargo xtask quality` builds it in release and calls it.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use oddline_quality::{
    detector::Kind,
    harness::{self, Bench, Case, Outcome},
    input::{self, Folder},
    readme,
    report::{Measured, Report},
    sets, synthetic,
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
    /// Also write the tables into the README files, between their marks.
    #[arg(long)]
    write: bool,
    /// Also write what every detector said of every line, as JSON lines.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

/// What one detector said of one line.
#[derive(serde::Serialize)]
struct Said<'a> {
    folder: &'a str,
    detector: &'a str,
    case: &'a str,
    /// 1-based.
    line: usize,
    score: f32,
    level: &'a str,
    rule: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Where templates are asked for: that of the line in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    text: std::borrow::Cow<'a, str>,
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
        Ok(is_whole) => {
            if is_whole {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One folder to measure as one kind of data.
struct Job<'a> {
    set: &'static str,
    folder: &'a str,
    load: Box<dyn Fn() -> anyhow::Result<Bench> + 'a>,
}

/// Measures and prints; whether everything that was asked for could be read.
fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let data = &arguments.data.clone().unwrap_or_else(input::default_data);
    let mut report = Report::default();
    let folders = input::folders(data).unwrap_or_else(|error| {
        report.skipped.push(format!("all data: name a folder with --data or ODDLINE_DATA ({error:#})"));
        Vec::new()
    });
    let mut answers = match &arguments.answers {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let detectors = if arguments.detector.is_empty() { &Kind::ALL[..] } else { &arguments.detector };
    for job in jobs(arguments, &folders, &mut report) {
        match run(&job, detectors, answers.as_mut()) {
            Ok(measured) => report.measured.push(measured),
            Err(error) => report.unreadable.push(format!("{} in {}: {error:#}", job.set, job.folder)),
        }
    }
    answers.map(|mut file| file.flush()).transpose().context("the answers cannot be written")?;
    anyhow::ensure!(
        !report.measured.is_empty(),
        "nothing to measure: {}",
        [report.skipped, report.unreadable].concat().join("; ")
    );
    if arguments.write {
        readme::write(&report)?;
    }
    let text = match arguments.format {
        Format::Table => report.table(),
        Format::Json => serde_json::to_string_pretty(&report.json())?,
    };
    // Whoever reads may have seen enough; then there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(report.unreadable.is_empty())
}

/// What to measure, in the order of the sets; what is not there is noted in the report.
fn jobs<'a>(arguments: &Arguments, folders: &'a [Folder], report: &mut Report) -> Vec<Job<'a>> {
    let is_wanted = |set: &str, folder: &str| {
        arguments.set.is_empty() || arguments.set.iter().any(|name| name == set || name == folder)
    };
    let mut jobs = Vec::new();
    if is_wanted(synthetic::NAME, synthetic::NAME) {
        let load = Box::new(|| Ok(synthetic::bench(synthetic::SEED)));
        jobs.push(Job { set: synthetic::NAME, folder: synthetic::NAME, load });
    }
    for set in sets::ALL {
        let mut of_set = folders.iter().filter(|folder| (set.recognises)(folder)).peekable();
        if of_set.peek().is_none() && is_wanted(set.name, set.name) {
            report.skipped.push(format!("{}: no folder of this kind", set.name));
        }
        for folder in of_set.filter(|folder| is_wanted(set.name, &folder.name)) {
            let load = Box::new(|| (set.load)(folder));
            jobs.push(Job { set: set.name, folder: &folder.name, load });
        }
    }
    let unknown = folders.iter().filter(|folder| !sets::ALL.iter().any(|set| (set.recognises)(folder)));
    report.skipped.extend(unknown.map(|folder| format!("{}: not a kind of data that is known", folder.name)));
    jobs
}

fn run(
    job: &Job<'_>,
    detectors: &[Kind],
    mut answers: Option<&mut BufWriter<File>>,
) -> anyhow::Result<Measured> {
    let bench = (job.load)()?;
    let mut results = Vec::new();
    for detector in detectors {
        tell(&format!("{}: {} ({})", job.folder, detector.name(), bench.about));
        let witness = |case: &Case, outcome: &Outcome| match &mut answers {
            Some(file) => write_answers(file, job.folder, *detector, case, outcome),
            None => Ok(()),
        };
        results.push(harness::run(&bench, *detector, witness)?);
    }
    Ok(Measured { set: job.set, folder: job.folder.to_owned(), about: bench.about, results })
}

fn write_answers(
    file: &mut BufWriter<File>,
    folder: &str,
    detector: Kind,
    case: &Case,
    outcome: &Outcome,
) -> anyhow::Result<()> {
    let templates = outcome.templates.as_ref();
    for (at, (event, answer)) in case.events.iter().zip(&outcome.answers).enumerate() {
        let said = Said {
            folder,
            detector: detector.name(),
            case: &case.name,
            line: at + 1,
            score: answer.score,
            level: answer.level.as_str(),
            rule: answer.rule,
            reason: answer.reason.as_deref(),
            template: templates.and_then(|templates| Some(templates.get(at)?.1.as_str())),
            text: String::from_utf8_lossy(&event.line),
        };
        serde_json::to_writer(&mut *file, &said)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// Progress and errors are not part of the output.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
