//! Runs one command and shows it. Takes a `Command`, gives success or an error that repeats the command; the only
//! file here that prints.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Runs the command with our own output streams; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = shown(command);
    say(&format!("$ {line}"));
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// What the command prints, or nothing where it fails or is not installed.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One line for the person at the terminal. On standard error, so that what a command prints can be piped.
#[expect(clippy::print_stderr, reason = "a command for people; everything it says goes through here")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// One line of what was asked for, on standard output.
pub(crate) fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}

/// The command as one would type it, without the environment.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| match word.to_string_lossy() {
        word if word.is_empty() || word.contains([' ', '*', '$', '\'']) => format!("{word:?}"),
        word => word.into_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("cargo");
        command.args(["test", "--", "two words"]).env("SECRET", "1");
        assert_eq!(shown(&command), r#"cargo test -- "two words""#);
    }

    #[test]
    fn a_failing_command_is_named() {
        let error =
            run(Command::new("cargo").arg("no-such-command-here").stderr(std::process::Stdio::null()));
        assert!(error.unwrap_err().to_string().contains("cargo no-such-command-here"));
    }

    #[test]
    fn a_missing_program_gives_no_output() {
        assert_eq!(output(&mut Command::new("no-such-program-here")), None);
    }
}
