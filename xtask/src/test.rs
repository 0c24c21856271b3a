//! `cargo xtask test`: everything that must pass, one check after the other, cheapest first. Takes the checks to run,
//! gives the first failure. CI runs the same checks, split over machines.

use std::time::Instant;

use clap::ValueEnum;

use crate::step::{run as run_step, say};
use crate::wasm::{PURE_TARGET, Source};
use crate::workspace::Workspace;
use crate::{artifacts, setup};

/// One thing that must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Check {
    /// The code is formatted.
    Fmt,
    /// All tests, with the filters, the Lua module and the program built for them.
    Test,
    /// Clippy finds nothing, in tests and benches neither.
    Clippy,
    /// The documentation builds, private items included, with no dead link.
    Doc,
    /// Engine and codec compile where there is no host: no files, clock, network or threads.
    Wasm,
}

/// Runs the checks named, or all of them.
pub(crate) fn run(
    workspace: &Workspace,
    source: Source,
    only: &[Check],
    arguments: &[String],
) -> anyhow::Result<()> {
    setup::tools(workspace)?;
    let checks = if only.is_empty() { Check::value_variants() } else { only };
    let mut times = Vec::new();
    for check in checks {
        let name = check.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        say(&format!("== {name}"));
        let start = Instant::now();
        check.run(workspace, source, arguments)?;
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f32()));
    }
    say(&format!("== all passed: {}", times.join(", ")));
    Ok(())
}

impl Check {
    fn run(self, workspace: &Workspace, source: Source, arguments: &[String]) -> anyhow::Result<()> {
        let mut cargo = workspace.cargo();
        match self {
            Self::Fmt => run_step(cargo.args(["fmt", "--all", "--check"])),
            Self::Test => {
                let toolchain = setup::wasm_toolchain(workspace, source)?;
                cargo.env("ODDLINE_NATIVE_FILTER", artifacts::native_filter(workspace)?);
                let wasm = artifacts::wasm_filter(workspace, &toolchain)?;
                if let Some(compiled) = artifacts::compiled_filter(workspace, &wasm)? {
                    cargo.env("ODDLINE_WASM_COMPILED", compiled);
                }
                cargo.env("ODDLINE_WASM_FILTER", wasm);
                cargo.env("ODDLINE_LUA_MODULE", artifacts::lua_module(workspace)?);
                cargo.env("ODDLINE_DETECTOR", artifacts::detector(workspace, &toolchain)?);
                cargo.env("ODDLINE_EXAMPLE_DETECTOR", artifacts::example_detector(workspace, &toolchain)?);
                cargo.env("ODDLINE_BIN", artifacts::oddline(workspace)?);
                cargo.env("ODDLINE_XTASK", std::env::current_exe()?);
                run_step(cargo.args(["test", "--workspace"]).args(arguments))
            }
            Self::Clippy => {
                run_step(cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
            }
            Self::Doc => {
                cargo.env("RUSTDOCFLAGS", "-D warnings");
                run_step(cargo.args(["doc", "--workspace", "--no-deps", "--document-private-items"]))
            }
            Self::Wasm => {
                let toolchain = setup::wasm_toolchain(workspace, source)?;
                let mut cargo = toolchain.cargo(workspace, "check", PURE_TARGET);
                run_step(cargo.args(["-p", "oddline-engine", "-p", "oddline-codec"]))
            }
        }
    }
}
