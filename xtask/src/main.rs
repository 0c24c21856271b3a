//! `cargo xtask`: the one entry for people. Takes a command, runs the tools it needs and shows each step. Must not
//! know how the product works: it only calls cargo and what cargo builds.
#![forbid(unsafe_code)]

mod artifacts;
mod bench;
mod interpreted;
mod quality;
mod setup;
mod step;
mod test;
mod wasm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::step::{run, say};
use crate::workspace::Workspace;

/// Build, try and test Oddline. Every command first installs what it lacks and says so.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    /// Build for wasm with Debian's compiler, even where rustup has the targets.
    #[arg(long, global = true)]
    debian: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what a fresh machine lacks: C compiler, rustfmt, clippy, wasm targets.
    Setup,
    /// Show the main job on your terminal: a stream with faults in it, annotated as it flows.
    Demo {
        /// Passed on to `oddline demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run everything that must pass: format, filters, tests, lints, documentation, wasm.
    Test {
        /// Only these checks, in this order; without it, all.
        #[arg(long, value_delimiter = ',', value_name = "CHECK")]
        only: Vec<test::Check>,
        /// Passed on to `cargo test --workspace`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Build what runs in the shipper: flb-filter_oddline.so and oddline.wasm for Fluent Bit, lua/ for Vector.
    ///
    /// Where WAMR's compiler is (flb-wamrc or wamrc on the path, or what ODDLINE_WAMRC names), oddline.aot too.
    Plugin,
    /// Build oddline.wasm alone, and oddline.aot where WAMR's compiler is.
    Wasm,
    /// Build oddline-detector.wasm, the engine as a WebAssembly component, and the detector of examples/.
    Component,
    /// Measure speed and memory: engine, backends, sidecar, filters in Fluent Bit where there is one.
    ///
    /// Builds everything first, then measures one after the other; figures are printed as soon as a bench has them. A bench that
    /// fails costs only its own figures: the others run, and the failed ones are named at the end.
    #[command(after_help = bench::EXAMPLES)]
    Bench {
        /// Only these benches, in the order below; without it, all.
        #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "NAME")]
        only: Vec<bench::Bench>,
        /// How the figures are printed.
        #[arg(long, value_enum, default_value = "table")]
        format: bench::Format,
        /// Also write the table into the README, between its marks. Takes all benches.
        #[arg(long, conflicts_with = "only")]
        write: bool,
    },
    /// Measure detection on labelled logs, beside simpler detectors; `--help` lists the options.
    #[command(disable_help_flag = true)]
    Quality {
        /// Passed on to `oddline-quality`: --data DIR, --set NAME, --format table|json and more.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    let source = if arguments.debian { wasm::Source::Debian } else { wasm::Source::Any };
    match arguments.command {
        Command::Setup => {
            setup::tools(&workspace)?;
            let toolchain = setup::wasm_toolchain(&workspace, source)?;
            say(&format!("ready: wasm is built with {toolchain}"));
            Ok(())
        }
        Command::Demo { arguments } => {
            let oddline = artifacts::oddline(&workspace)?;
            run(std::process::Command::new(oddline).arg("demo").args(arguments))
        }
        Command::Test { only, arguments } => test::run(&workspace, source, &only, &arguments),
        Command::Bench { only, format, write } => bench::run(&workspace, source, &only, (format, write)),
        Command::Quality { arguments } => quality::measure(&workspace, &arguments),
        Command::Plugin => {
            let toolchain = setup::wasm_toolchain(&workspace, source)?;
            let native = artifacts::native_filter(&workspace)?;
            let wasm = wasm_filters(&workspace, &toolchain)?;
            let lua = artifacts::lua_module(&workspace)?;
            say(&format!("built {}\n{wasm}\nbuilt {}", native.display(), lua.display()));
            Ok(())
        }
        Command::Component => {
            let toolchain = setup::wasm_toolchain(&workspace, source)?;
            let component = artifacts::detector(&workspace, &toolchain)?;
            let example = artifacts::example_detector(&workspace, &toolchain)?;
            say(&format!("built {}\nbuilt {}", component.display(), example.display()));
            Ok(())
        }
        Command::Wasm => {
            let toolchain = setup::wasm_toolchain(&workspace, source)?;
            say(&wasm_filters(&workspace, &toolchain)?);
            Ok(())
        }
    }
}

/// Builds the wasm filter, and says what there is of it.
fn wasm_filters(workspace: &Workspace, toolchain: &wasm::Toolchain) -> anyhow::Result<String> {
    let wasm = artifacts::wasm_filter(workspace, toolchain)?;
    Ok(match artifacts::compiled_filter(workspace, &wasm)? {
        Some(compiled) => format!("built {}\nbuilt {}", wasm.display(), compiled.display()),
        None => format!(
            "built {} (Fluent Bit interprets it; with its flb-wamrc on the path, oddline.aot is built too, which takes less \
             than a tenth of the time: plugin/README.md)",
            wasm.display()
        ),
    })
}
