//! Installs what a fresh machine lacks. Takes the machine, gives the tools that the other commands need, or an error
//! that says what to install by hand. Asks nothing and says what it does.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::step::{output, run, say};
use crate::wasm::{Source, Toolchain, missing_debian_packages, missing_targets};
use crate::workspace::Workspace;

/// A C compiler (SQLite and zstd are C), rustfmt and clippy.
pub(crate) fn tools(workspace: &Workspace) -> anyhow::Result<()> {
    if output(workspace.command("cc").arg("--version")).is_none() {
        say("no C compiler: installing one");
        install(workspace, &["gcc", "libc6-dev"])?;
    }
    for (subcommand, component, package) in
        [("fmt", "rustfmt", "rustfmt-web"), ("clippy", "clippy", "rust-web-clippy")]
    {
        if output(workspace.cargo().args([subcommand, "--version"])).is_some() {
            continue;
        }
        say(&format!("no {component}: installing it"));
        let rustup = run(workspace.command("rustup").args(["component", "add", component]));
        rustup.or_else(|_| install(workspace, &[package]))?;
    }
    Ok(())
}

/// A toolchain for wasm; when there is none, rustup's targets, and where rustup has none to give, Debian's packages.
pub(crate) fn wasm_toolchain(workspace: &Workspace, source: Source) -> anyhow::Result<Toolchain> {
    if let Some(toolchain) = Toolchain::find(workspace, source) {
        return Ok(toolchain);
    }
    if source == Source::Any {
        let targets = missing_targets(workspace);
        say(&format!("no standard library for {}: asking rustup for it", targets.join(", ")));
        let added = run(workspace.command("rustup").args(["target", "add"]).args(targets));
        match (added, Toolchain::find(workspace, source)) {
            (Ok(()), Some(toolchain)) => return Ok(toolchain),
            (Ok(()), None) => say("rustup added the targets to another toolchain than cargo runs"),
            (Err(error), Some(toolchain)) => {
                say(&format!("{error:#}; going on with {toolchain}"));
                return Ok(toolchain);
            }
            (Err(error), None) => say(&format!("{error:#}; trying Debian's packages")),
        }
    }
    install(workspace, &missing_debian_packages(workspace))?;
    let lacking = missing_debian_packages(workspace);
    Toolchain::find(workspace, source).with_context(|| {
        let needed = &workspace.rust_version;
        format!(
            "still lacking after the installation: {} (Rust {needed} or newer is needed)",
            lacking.join(", ")
        )
    })
}

/// Installs Debian packages, as root or by sudo. Removes nothing to make room for them.
fn install(workspace: &Workspace, packages: &[&str]) -> anyhow::Result<()> {
    let line = format!("apt-get install {}", packages.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this is no Debian: install by hand what `{line}` would");
    }
    let root = output(workspace.command("id").arg("-u")).is_some_and(|user| user == "0");
    if !root && output(workspace.command("sudo").args(["-n", "true"])).is_none() {
        bail!("not root, and sudo asks for a password: run `sudo {line}` and start again");
    }
    let apt = || {
        let mut apt = workspace.command(if root { "apt-get" } else { "sudo" });
        if !root {
            apt.args(["-n", "--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        }
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    let install = |mut apt: Command| {
        run(apt.args(["install", "-y", "--no-install-recommends", "--no-remove"]).args(packages))
    };
    // Package lists are often empty or stale on a fresh machine; fetching them takes a while, so only when needed.
    install(apt()).or_else(|_| run(apt().arg("update")).and_then(|()| install(apt())))
}
