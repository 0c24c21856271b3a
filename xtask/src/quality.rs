//! `cargo xtask quality`: builds the harness in release and hands it the arguments. Must not know what it measures.

use crate::step::run;
use crate::workspace::Workspace;

/// Builds, then measures; the arguments are those of `oddline-quality`.
pub(crate) fn measure(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    // A relative --data is meant from where the person is.
    cargo.current_dir(std::env::current_dir()?);
    cargo.args(["run", "--release", "--quiet", "--package", "oddline-quality", "--"]).args(arguments);
    run(&mut cargo)
}
