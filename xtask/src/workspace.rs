//! Where things are: the checkout, the target folder, cargo. Takes `cargo metadata`, gives paths and commands that
//! start in the checkout's root.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use cargo_metadata::MetadataCommand;
use cargo_metadata::semver::Version;

/// The checkout that this program was built from, or was started in.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder; `CARGO_TARGET_DIR` moves it out of the checkout.
    pub(crate) target: PathBuf,
    /// The oldest compiler that the packages promise to build with.
    pub(crate) rust_version: Version,
}

impl Workspace {
    pub(crate) fn find() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec().context("cannot read the workspace")?;
        let rust_version = metadata
            .workspace_packages()
            .into_iter()
            .filter_map(|package| package.rust_version.clone())
            .max()
            .context("no package names its rust-version")?;
        Ok(Self {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
            rust_version,
        })
    }

    /// The cargo that started us, without what it told us about ourselves: with that, a build script that looks at
    /// it would run anew.
    pub(crate) fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// A command that starts in the root and never waits for an answer.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(std::process::Stdio::null());
        for (name, _) in std::env::vars_os() {
            let told = name.to_str().is_some_and(|name| {
                name == "CARGO" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if told {
                command.env_remove(name);
            }
        }
        command
    }

    /// Where the filters lie for people, tests and packages, whatever their build profile.
    pub(crate) fn plugin_folder(&self) -> PathBuf {
        self.target.join("plugin-dist")
    }
}
