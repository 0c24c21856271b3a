//! Builds what tests and people run: the program, the filters, the detector component. Takes cargo's own word for where
//! an artifact lies, gives its path.

use std::ffi::OsString;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use cargo_metadata::{Artifact, Message};

use crate::interpreted;
use crate::step::{output, say, shown};
use crate::wasm::{FILTER_TARGET, PURE_TARGET, Toolchain};
use crate::workspace::Workspace;

/// The `oddline` program in the tests' profile. Built with the features that the whole workspace settles on, so that
/// `test` after `demo` compiles nothing twice.
pub(crate) fn oddline(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace.cargo();
    build(cargo.args(["build", "--workspace", "--bin", "oddline"]), |artifact| {
        artifact.executable.as_ref().filter(|path| path.file_stem() == Some("oddline")).map(Into::into)
    })
}

/// The `oddline` program as it is installed, for measuring.
pub(crate) fn oddline_release(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace.cargo();
    build(cargo.args(["build", "--release", "-p", "oddline"]), |artifact| {
        artifact.executable.as_ref().filter(|path| path.file_stem() == Some("oddline")).map(Into::into)
    })
}

/// `flb-filter_oddline.so`: the name by which Fluent Bit finds the filter `oddline` in it.
pub(crate) fn native_filter(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace.cargo();
    let built = build(cargo.args(["build", "--profile", "plugin", "-p", "oddline-fluentbit"]), |artifact| {
        with_extension(artifact, std::env::consts::DLL_EXTENSION)
    })?;
    deliver(&built, &workspace.plugin_folder(), "flb-filter_oddline.so")
}

/// `oddline.wasm` for Fluent Bit's `filter_wasm`.
pub(crate) fn wasm_filter(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let mut cargo = toolchain.cargo(workspace, "build", FILTER_TARGET);
    let built = build(cargo.args(["--profile", "plugin", "-p", "oddline-wasm"]), |artifact| {
        with_extension(artifact, "wasm")
    })?;
    let module = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let quicker = interpreted::without_tees(&module)
        .with_context(|| format!("{} cannot be made what Fluent Bit interprets", built.display()))?;
    deliver_bytes(&quicker, &workspace.plugin_folder(), "oddline.wasm")
}

/// `oddline.aot`: the wasm filter as machine code, which Fluent Bit runs without interpreting it. `None` where WAMR's compiler
/// is not installed: it comes with Fluent Bit's sources, not with cargo.
pub(crate) fn compiled_filter(workspace: &Workspace, wasm: &Path) -> anyhow::Result<Option<PathBuf>> {
    let Some(compiler) = wasm_compiler(workspace) else { return Ok(None) };
    let folder = workspace.plugin_folder();
    let (compiled, fresh) = (folder.join("oddline.aot"), folder.join("oddline.aot.new"));
    // Always anew: what is there may be another compiler's, which Fluent Bit cannot load.
    crate::step::run(workspace.command(&compiler).arg("-o").args([&fresh, wasm]))?;
    std::fs::rename(&fresh, &compiled).with_context(|| format!("cannot write {}", compiled.display()))?;
    Ok(Some(compiled))
}

/// What `ODDLINE_WAMRC` names, else Fluent Bit's `flb-wamrc` or WAMR's own `wamrc` on the path.
fn wasm_compiler(workspace: &Workspace) -> Option<OsString> {
    let is_there = |name: &OsString| output(workspace.command(name).arg("--version")).is_some();
    let on_path = || ["flb-wamrc", "wamrc"].map(OsString::from).into_iter().find(is_there);
    std::env::var_os("ODDLINE_WAMRC").or_else(on_path)
}

/// `oddline-detector.wasm`: the engine as a component. The compiler makes a module that says what it is meant to be; the
/// encoder makes that of it.
pub(crate) fn detector(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let mut cargo = toolchain.cargo(workspace, "build", PURE_TARGET);
    cargo.env("CARGO_PROFILE_PLUGIN_STRIP", "symbols");
    let built = build(cargo.args(["--profile", "plugin", "-p", "oddline-component"]), |artifact| {
        with_extension(artifact, "wasm")
    })?;
    let module = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let encoder = wit_component::ComponentEncoder::default().validate(true).module(&module);
    let component = encoder
        .and_then(|mut encoder| encoder.encode())
        .with_context(|| format!("{} cannot be made a component", built.display()))?;
    deliver_bytes(&component, &workspace.plugin_folder(), "oddline-detector.wasm")
}

/// `oddline.so` for Vector's `lua` transform, with the script of its hooks beside it.
pub(crate) fn lua_module(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--profile", "plugin", "-p", "oddline-lua", "--no-default-features"]);
    // Without this feature the library has a Lua of its own, and no entry for another.
    let built = build(cargo.args(["--features", "module"]), |artifact| {
        with_extension(artifact, std::env::consts::DLL_EXTENSION)
    })?;
    let folder = workspace.plugin_folder().join("lua");
    deliver(&workspace.root.join("plugin/lua/oddline_hooks.lua"), &folder, "oddline_hooks.lua")?;
    deliver(&built, &folder, "oddline.so")
}

/// The detector of `examples/detector`, built by the command that its README gives: the first line of its first block.
pub(crate) fn example_detector(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
    let folder = Path::new("examples/detector");
    let readme = workspace.root.join(folder).join("README.md");
    let text =
        std::fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let line = text.split_once("```sh\n").and_then(|(_, block)| block.lines().next());
    let line = line.with_context(|| format!("{} has no command", readme.display()))?;
    let built = workspace.target.join("examples-wasm");
    crate::step::run(&mut toolchain.shell(workspace, folder, line, &built))?;
    let component = built.join(PURE_TARGET).join("release/slow_requests.wasm");
    anyhow::ensure!(component.is_file(), "`{line}` built no {}", component.display());
    Ok(component)
}

/// Runs a cargo build and gives the last artifact that `wanted` picks.
fn build(cargo: &mut Command, wanted: impl Fn(&Artifact) -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let line = shown(cargo);
    say(&format!("$ {line}"));
    let cargo = cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = cargo.spawn().with_context(|| format!("cannot start `{line}`"))?;
    let messages = child.stdout.take().context("cargo's output is not piped")?;
    let mut found = None;
    for message in Message::parse_stream(BufReader::new(messages)) {
        if let Message::CompilerArtifact(artifact) = message.context("cannot read what cargo reports")? {
            found = wanted(&artifact).or(found);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    found.with_context(|| {
        format!("`{line}` built nothing that can be loaded: is it still `crate-type = [\"cdylib\"]`?")
    })
}

fn with_extension(artifact: &Artifact, extension: &str) -> Option<PathBuf> {
    let cdylib = artifact.target.crate_types.iter().any(|kind| kind.to_string() == "cdylib");
    let file = artifact.filenames.iter().find(|file| file.extension() == Some(extension));
    file.filter(|_| cdylib).map(Into::into)
}

/// Copies a built file under its public name. By rename: a Fluent Bit that has the old file loaded would crash if it
/// were written over. Left alone when nothing changed.
fn deliver(built: &Path, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let content = std::fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    deliver_bytes(&content, folder, name)
}

fn deliver_bytes(content: &[u8], folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let target = folder.join(name);
    if std::fs::read(&target).is_ok_and(|old| old == content) {
        return Ok(target);
    }
    let fresh = folder.join(format!("{name}.new"));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&fresh, content))
        .and_then(|()| std::fs::rename(&fresh, &target))
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(target)
}
