//! The `oddline` program: arguments in, exit code out (0 fine, 64 bad usage or configuration, 1 the rest).

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser};
use oddline::{
    commands::{self, Usage, run_to_end},
    config::ConfigErrors,
};

/// Exit code for what the caller can put right: arguments and configuration.
const USAGE: u8 = 64;
/// What blocking work that nobody waits for any more may still take.
const ENDING: Duration = Duration::from_millis(500);

/// Finds the odd line in the log stream that you already ship.
#[derive(Debug, Parser)]
#[command(name = "oddline", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one value of it in the life of the program")]
enum Command {
    Run(commands::run::Run),
    Demo(commands::demo::Demo),
    Scan(commands::scan::Scan),
    Learn(commands::learn::Learn),
    Check(commands::check::Check),
    Rules(commands::rules::Rules),
    Vrl(commands::vrl::Vrl),
    #[cfg(feature = "detectors")]
    Detectors(commands::detectors::Detectors),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, for standard output.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| run_to_end(runtime, arguments.command.run(), ENDING));
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        // serde_json keeps the error of writing to itself, and says only its kind.
        let written = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(written)
            == Some(std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed) {
        // Whoever reads us has seen enough: `oddline scan … | head`.
        return ExitCode::SUCCESS;
    }
    complain(&error);
    ExitCode::from(if error.is::<ConfigErrors>() || error.is::<Usage>() { USAGE } else { 1 })
}

#[expect(clippy::print_stderr, reason = "the last word of a command, after any logging")]
fn complain(error: &anyhow::Error) {
    for line in format!("{error:#}").lines() {
        eprintln!("oddline: {line}");
    }
}

impl Command {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Command::Run(run) => run.run().await,
            Command::Demo(demo) => demo.run().await,
            Command::Scan(scan) => scan.run().await,
            Command::Learn(learn) => learn.run().await,
            Command::Check(check) => check.run().await,
            Command::Rules(rules) => rules.run().await,
            Command::Vrl(vrl) => vrl.run(),
            #[cfg(feature = "detectors")]
            Command::Detectors(detectors) => detectors.run().await,
            Command::Completions { shell } => {
                // First into memory: the generator panics where it cannot write, as into a pipe that is closed.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "oddline", &mut script);
                Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
            }
        }
    }
}
