//! `oddline vrl`: the program for Vector's `remap` transform, written from the rules and options of an installation.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use oddline_engine::{
    Mode, Options, Profile, Settings,
    rules::{self, Rule, RuleSet},
};

use super::Usage;
use crate::rule_files;

/// Largest file of options that is read, in bytes.
const MAX_OPTIONS_BYTES: u64 = 1 << 20;

/// Write the program for Vector's remap transform.
///
/// It holds the built-in rules, and those of the files and folders that are named; write it anew when they change. Rules that
/// VRL cannot express are named on standard error and in the program. Ready configurations lie in vector-config/.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  oddline vrl --output /etc/vector/oddline.vrl
  oddline vrl --rules my-rules/ --rules more.toml --mode copy --profile ecs > oddline.vrl
  oddline vrl --options oddline.toml --check")]
pub struct Vrl {
    /// A rule file, or a folder of them (.toml, .rules, .txt), beside the built-in rules; may be given more than once.
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// A TOML file of options: those of the plugins as they are, or a sidecar's configuration, of which `[engine]` counts.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// How tags are named.
    #[arg(long, value_parser = ["nested", "flat", "otel", "ecs"])]
    profile: Option<String>,
    /// Questionable records wait for the sidecar, flow on while it gets a copy, or are judged in Vector alone.
    #[arg(long, value_parser = ["divert", "copy", "inline"])]
    mode: Option<String>,
    /// Where to write the program instead of standard output; the file is replaced at once, or not at all.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write nothing; tell whether every rule can be in the program.
    #[arg(long, conflicts_with = "output")]
    check: bool,
}

impl Vrl {
    /// Runs the command.
    ///
    /// # Errors
    /// If options or rules cannot be read, or the program cannot be written; with `--check`, if a rule is left out.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = self.settings()?;
        let (rules, mut warnings) = self.rules(&settings)?;
        let program = oddline_vrl::program(&settings, &rules);
        warnings.extend(program.left_out.iter().map(|it| {
            let own = rules.iter().find(|rule| *rule.name == *it.rule && !rule.is_builtin());
            let place = own.map(|rule| format!("{}:{}: rule ", rule.file, rule.line)).unwrap_or_default();
            format!("{place}{}: {}", it.rule, it.reason)
        }));
        complain(&warnings);
        if self.check {
            return match warnings.len() {
                0 => Ok(()),
                left_out => anyhow::bail!("{left_out} of the rules cannot be in the program"),
            };
        }
        let text = self.header(&settings, &rules) + &program.text;
        match &self.output {
            None => std::io::stdout().write_all(text.as_bytes()).context("standard output"),
            Some(path) => replace(path, &text).with_context(|| path.display().to_string()),
        }
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut options = match &self.options {
            Some(path) => {
                read_options(path).map_err(|reason| Usage(format!("{}: {reason}", path.display())))?
            }
            None => Options::default(),
        };
        match self.profile.as_deref() {
            None => {}
            Some("flat") => options.profile = Some(Profile::Flat),
            Some("otel") => options.profile = Some(Profile::Otel),
            Some("ecs") => options.profile = Some(Profile::Ecs),
            Some(_) => options.profile = Some(Profile::Nested),
        }
        match self.mode.as_deref() {
            None => {}
            Some("copy") => options.mode = Some(Mode::Copy),
            Some("inline") => options.mode = Some(Mode::Inline),
            Some(_) => options.mode = Some(Mode::Divert),
        }
        Ok(Settings::new(&options).map_err(|errors| Usage(errors.to_string()))?)
    }

    /// The rules in force, each name once, and what is wrong with others.
    fn rules(&self, settings: &Settings) -> anyhow::Result<(Vec<Rule>, Vec<String>)> {
        let builtin = if settings.builtin_rules() { rules::builtin_rules() } else { Vec::new() };
        let (mut all, mut problems) = (builtin, Vec::new());
        let named = settings.rules_path().map(PathBuf::from);
        for path in named.iter().chain(&self.rules) {
            let files = rule_files::read(path).map_err(|error| Usage(format!("rules {error}")))?;
            for mut parsed in files {
                all.append(&mut parsed.rules);
                problems.extend(parsed.problems.iter().map(ToString::to_string));
            }
        }
        Ok((all, problems))
    }

    /// What the program was written from. Without a date, so that the same rules and options give the same file.
    fn header(&self, settings: &Settings, rules: &[Rule]) -> String {
        let hash = RuleSet::compile(rules.to_vec()).set.hash() >> 32;
        let mut paths: BTreeSet<String> = self.rules.iter().map(|path| path.display().to_string()).collect();
        paths.extend(settings.rules_path().map(str::to_owned));
        let plain = |text: &str| text.replace(char::is_control, " ");
        let mut lines = vec![
            format!("Written by `oddline vrl`, oddline/{} rules:{hash:08x}.", env!("CARGO_PKG_VERSION")),
            format!("Mode {}, profile {}.", word(settings.mode()), word(settings.profile())),
        ];
        lines.extend(paths.iter().map(|path| format!("Rules: the built-in ones and {}", plain(path))));
        lines.push("Write it anew when rules or options change; changes made here are lost.".to_owned());
        lines.iter().map(|line| format!("# {line}\n")).collect()
    }
}

fn word(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn read_options(path: &Path) -> Result<Options, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MAX_OPTIONS_BYTES {
        return Err(format!("{bytes} bytes, the limit is {MAX_OPTIONS_BYTES}"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Options::from_toml(&text).map_err(|error| error.to_string())
}

/// Writes beside the file and renames, so that a Vector that reloads never sees half a program.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary file is its owner's alone; Vector often runs as another user.
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what is left out is for people, the program for Vector")]
fn complain(warnings: &[String]) {
    for warning in warnings {
        eprintln!("oddline: left out: {}", warning.replace(char::is_control, " "));
    }
}
