//! `oddline rules import` and `export`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use oddline_engine::rules::{MAX_FILE_BYTES, Rule};
use oddline_rulebook::{
    document,
    draft::{Draft, Imported, Remark},
    export::{Alerting, Target, export},
    import::{self, Importing, Language},
    sigma,
};
use serde::Serialize;

use super::{Home, home::replace, list::Filter};
use crate::commands::{
    Usage,
    print::{Format, harmless},
};

/// Most files that one import reads.
const MAX_FILES: usize = 20_000;
/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 16;

/// Bring rules in from Sigma, grok, or rule files.
///
/// What cannot be expressed is listed with the file and the reason. Folders are read with all that is in them; files of
/// other kinds in them are passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules import sigma/rules/web --output web.toml
  oddline rules import rule.yml --map c-uri=http.path --output -
  oddline rules import my-patterns.grok --prefix PLANT_ --format json")]
pub(super) struct Import {
    /// Files and folders.
    #[arg(value_name = "FILE|DIR", required = true)]
    from: Vec<PathBuf>,
    /// The rule file to write; `-` is standard output [default: imported.toml beside your own rules].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output if it is there.
    #[arg(long)]
    force: bool,
    /// What the files are written in; by their endings if not given.
    #[arg(long, value_enum)]
    language: Option<LanguageWord>,
    /// Put before names made of titles [default: SIGMA_ for Sigma, nothing for grok].
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Category of the rules [default: security for Sigma, as written for others].
    #[arg(long, value_name = "WORD")]
    category: Option<String>,
    /// Name of a field in Sigma rules and its name in your records; may be given more than once.
    #[arg(long, value_name = "FROM=TO")]
    map: Vec<String>,
    /// Whose names records use: those of the usual parsers, Sigma's own, or Elastic's.
    #[arg(long, default_value = "usual")]
    names: sigma::Naming,
    /// How the report is written.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LanguageWord {
    Sigma,
    Grok,
    Toml,
    Text,
}

/// What came of an import, as JSON.
#[derive(Debug, Serialize)]
struct Report<'i> {
    output: Option<String>,
    taken: usize,
    sources: BTreeMap<&'i str, Share>,
    left_out: &'i [Remark],
    notes: &'i [Remark],
}

/// How much of one kind of log could be taken.
#[derive(Debug, Default, Serialize)]
struct Share {
    taken: usize,
    left_out: usize,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let output = match &self.output {
            Some(path) if path == Path::new("-") => None,
            Some(path) => Some(path.clone()),
            None => Some(loaded.target().with_file_name("imported.toml")),
        };
        if let Some(path) = output.as_deref().filter(|path| path.exists() && !self.force) {
            return Err(Usage(format!("{} is there; replace it with --force", path.display())).into());
        }
        // Names of the rules that the output will stand beside, but not of the output that it replaces.
        let replaced = output.as_deref().map(|path| path.display().to_string());
        let others = loaded.all.iter().filter(|rule| replaced.as_deref() != Some(&*rule.file));
        let mut taken: BTreeSet<String> = others.map(|rule| rule.name.to_string()).collect();
        let imported = import::settle(self.read(&mut taken)?);
        let drafts: Vec<Draft> = imported.rules.iter().map(|it| it.draft.clone()).collect();
        let text = document::write(&drafts, "Brought in by `oddline rules import`.");
        match &output {
            None => io::stdout().write_all(text.as_bytes()).context("standard output")?,
            Some(_) if drafts.is_empty() => {}
            Some(path) => replace(path, &text)?,
        }
        let written = output.filter(|_| !drafts.is_empty()).map(|path| path.display().to_string());
        self.report(&imported, written)?;
        anyhow::ensure!(!drafts.is_empty(), "no rule could be taken");
        Ok(())
    }

    fn importing(&self, language: Language) -> anyhow::Result<Importing> {
        let mut names = sigma::Names { naming: self.names, map: BTreeMap::new() };
        for pair in &self.map {
            let (from, to) = pair
                .split_once('=')
                .filter(|(from, to)| !from.is_empty() && !to.is_empty())
                .ok_or_else(|| Usage(format!("--map {pair} is not written FROM=TO")))?;
            names.map.insert(from.to_owned(), to.to_owned());
        }
        let usual = if language == Language::Sigma { "SIGMA_" } else { "" };
        let prefix = self.prefix.clone().unwrap_or_else(|| usual.to_owned());
        Ok(Importing { prefix, category: self.category.clone(), names })
    }

    fn read(&self, taken: &mut BTreeSet<String>) -> anyhow::Result<Imported> {
        let mut files = Vec::new();
        for path in &self.from {
            collect(path, 0, &mut files)?;
        }
        let mut all = Imported::default();
        for (file, is_named) in files {
            let name = file.display().to_string();
            let left = |reason: String| Remark { file: name.clone(), rule: None, source: None, reason };
            let text = match text_of(&file) {
                Ok(text) => text,
                Err(reason) => {
                    all.left_out.push(left(reason));
                    continue;
                }
            };
            let chosen = self.language.map(|word| match word {
                LanguageWord::Sigma => Language::Sigma,
                LanguageWord::Grok => Language::Grok,
                LanguageWord::Toml => Language::Toml,
                LanguageWord::Text => Language::Text,
            });
            let Some(language) = chosen.or_else(|| import::language(&name, &text)) else {
                if is_named {
                    all.left_out.push(left("is of no known kind; name it with --language".to_owned()));
                }
                continue;
            };
            let mut one = import::import(language, &name, &text, &self.importing(language)?, taken);
            all.rules.append(&mut one.rules);
            all.left_out.append(&mut one.left_out);
            all.notes.append(&mut one.notes);
        }
        Ok(all)
    }

    /// To standard output, or to standard error where the rules themselves go to standard output.
    fn report(&self, imported: &Imported, output: Option<String>) -> anyhow::Result<()> {
        let mut sources: BTreeMap<&str, Share> = BTreeMap::new();
        for taken in &imported.rules {
            sources.entry(&taken.source).or_default().taken += 1;
        }
        for remark in &imported.left_out {
            sources.entry(remark.source.as_deref().unwrap_or("unknown")).or_default().left_out += 1;
        }
        let aside = self.output.as_deref() == Some(Path::new("-"));
        let mut out: Box<dyn Write> = if aside { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        let taken = imported.rules.len();
        if self.format == Format::Json {
            let report =
                Report { output, taken, sources, left_out: &imported.left_out, notes: &imported.notes };
            serde_json::to_writer(&mut out, &report).context("report")?;
            return writeln!(out).context("report");
        }
        for (what, remarks) in [("left out", &imported.left_out), ("note", &imported.notes)] {
            for remark in remarks {
                writeln!(out, "{what}: {}", harmless(&remark.to_string())).context("report")?;
            }
        }
        for (source, share) in sources {
            writeln!(out, "{source}: {} taken, {} left out", share.taken, share.left_out)
                .context("report")?;
        }
        let to = output.map_or(String::new(), |output| format!(" to {output}"));
        writeln!(out, "{taken} rules taken{to}, {} left out", imported.left_out.len()).context("report")
    }
}

/// All files under a path, in the order of their names; whether each was named itself.
fn collect(path: &Path, depth: usize, files: &mut Vec<(PathBuf, bool)>) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be read", path.display());
    if files.len() >= MAX_FILES {
        return Err(Usage(format!("more than {MAX_FILES} files; import them in parts")).into());
    }
    let metadata = if depth == 0 { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let metadata = metadata.with_context(failed)?;
    if metadata.is_file() {
        files.push((path.to_owned(), depth == 0));
    } else if metadata.is_dir() && depth <= MAX_DEPTH {
        let entries = fs::read_dir(path).with_context(failed)?;
        let mut inner: Vec<PathBuf> =
            entries.map(|it| Ok(it?.path())).collect::<io::Result<_>>().with_context(failed)?;
        inner.retain(|it| !it.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")));
        inner.sort();
        for path in inner {
            collect(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

/// A file's text, or why it has none that could be rules.
fn text_of(file: &Path) -> Result<String, String> {
    let bytes = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if bytes > MAX_FILE_BYTES as u64 {
        return Err(format!("has {bytes} bytes, more than the limit of {MAX_FILE_BYTES}; split it"));
    }
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 (byte {}); write it anew as UTF-8", error.utf8_error().valid_up_to())
    })
}

/// Give rules out: complete, as text lines, or as alert rules for Prometheus or Loki.
///
/// What the chosen format cannot hold is listed on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline rules export --own > my-rules.toml
  oddline rules export --as prometheus --min-score 5 --output oddline-alerts.yml
  oddline rules export --as loki --selector '{app=\"shop\"}'")]
pub(super) struct Export {
    /// What they are written as.
    #[arg(long = "as", value_enum, default_value = "toml")]
    target: TargetWord,
    #[command(flatten)]
    filter: Filter,
    /// The file to write; standard output if not given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Loki's stream selector.
    #[arg(long, default_value = "{job=~\".+\"}")]
    selector: String,
    /// How far an alert looks back, e.g. 5m.
    #[arg(long, default_value = "5m", value_parser = duration)]
    window: String,
    /// With json, text and losses as one JSON object.
    #[arg(long, value_enum, default_value = "pretty")]
    format: Format,
    #[command(flatten)]
    home: Home,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TargetWord {
    Toml,
    Text,
    Prometheus,
    Loki,
}

#[derive(Debug, Serialize)]
struct Exported<'e> {
    rules: usize,
    text: &'e str,
    losses: &'e [Remark],
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let loaded = self.home.load()?;
        let (target, alerts) = match self.target {
            TargetWord::Toml => (Target::Toml, false),
            TargetWord::Text => (Target::Text, false),
            TargetWord::Prometheus => (Target::Prometheus, true),
            TargetWord::Loki => (Target::Loki, true),
        };
        let rules = loaded.effective();
        self.filter.check(&rules)?;
        let chosen: Vec<&Rule> = rules.iter().filter(|rule| self.filter.lets_through(rule)).collect();
        let drafts: Vec<(Draft, String)> =
            chosen.iter().map(|rule| (Draft::from(*rule), format!("{}:{}", rule.file, rule.line))).collect();
        let alerting = Alerting {
            selector: self.selector,
            key: loaded.settings.key().to_owned(),
            window: self.window,
            // Unless a score is asked for, alerts are for what is worth waking someone.
            ..Alerting::default()
        };
        let alerting = match (alerts, self.filter.least_score()) {
            (true, Some(least)) => Alerting { min_score: least, ..alerting },
            _ => alerting,
        };
        let exported = export(&drafts, target, &alerting);
        let losses = exported.losses.as_slice();
        let text = match self.format {
            Format::Pretty => exported.text,
            Format::Json => {
                let whole = Exported { rules: chosen.len(), text: &exported.text, losses };
                format!("{}\n", serde_json::to_string(&whole)?)
            }
        };
        match &self.output {
            Some(file) => replace(file, &text)?,
            None => io::stdout().write_all(text.as_bytes()).context("standard output")?,
        }
        if self.format == Format::Pretty {
            for loss in losses {
                writeln!(io::stderr(), "{}", harmless(&loss.to_string())).context("standard error")?;
            }
            writeln!(io::stderr(), "{} rules, {} with a loss", chosen.len(), losses.len())
                .context("standard error")?;
        }
        Ok(())
    }
}

/// Prometheus writes durations as digits and a unit.
fn duration(text: &str) -> Result<String, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let good = digits.parse::<u32>().is_ok_and(|number| number > 0)
        && ["ms", "s", "m", "h", "d", "w", "y"].contains(&unit);
    if good { Ok(text.to_owned()) } else { Err("is not a duration such as 30s, 5m or 1h".to_owned()) }
}
