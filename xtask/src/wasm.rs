//! The compilers that can build for wasm here. Takes the machine as it is (installs nothing), gives a toolchain that
//! makes cargo commands for a wasm target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::semver::Version;

use crate::step::output;
use crate::workspace::Workspace;

/// What Fluent Bit's `filter_wasm` runs.
pub(crate) const FILTER_TARGET: &str = "wasm32-wasip1";
/// No host at all: what builds for it has no files, clock, network or threads to reach for.
pub(crate) const PURE_TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_COMPONENT_LINKERS: [&str; 2] = [
    "/usr/lib/rustlib/x86_64-unknown-linux-gnu/bin/wasm-component-ld",
    "/usr/lib/rustlib/aarch64-unknown-linux-gnu/bin/wasm-component-ld",
];
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const DEBIAN_WASI: &str = "/usr/lib/wasm32-wasi";

/// Without these in the module, Fluent Bit puts its own heap over the module's memory. The start code that both
/// toolchains link gives `_initialize`, which the host calls once; without it, the linker would have every call of an
/// export run the C library's constructors anew.
const FILTER_EXPORTS: [&str; 2] = ["-Clink-arg=--export=malloc", "-Clink-arg=--export=free"];

/// Which toolchains may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The one that cargo runs with if it has the targets, else Debian's.
    Any,
    /// Debian's only.
    Debian,
}

/// A compiler with all it needs for both targets.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The toolchain in use has both targets' standard library, and wasi's start code for libraries.
    Installed { wasi_start: PathBuf },
    /// Debian's compiler, which builds the standard library from Debian's source; linked by this program.
    Debian { linker: PathBuf },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { .. } => write!(formatter, "the installed Rust toolchain"),
            Self::Debian { linker } => write!(formatter, "Debian's {DEBIAN_RUSTC} and {}", linker.display()),
        }
    }
}

impl Toolchain {
    /// The first one that is complete, if any.
    pub(crate) fn find(workspace: &Workspace, source: Source) -> Option<Self> {
        if source == Source::Any && missing_targets(workspace).is_empty() {
            let library = target_library(&sysroot(workspace)?, FILTER_TARGET);
            return Some(Self::Installed { wasi_start: library.join("self-contained/crt1-reactor.o") });
        }
        let complete = missing_debian_packages(workspace).is_empty();
        linker(workspace).filter(|_| complete).map(|linker| Self::Debian { linker })
    }

    /// `cargo <verb> --target <target>` with this toolchain. Flags of the caller's environment are for the native
    /// build and dropped.
    pub(crate) fn cargo(&self, workspace: &Workspace, verb: &str, target: &str) -> Command {
        let mut flags: Vec<String> = Vec::new();
        if target == FILTER_TARGET {
            flags.extend(FILTER_EXPORTS.map(str::to_owned));
            flags.push("-Cstrip=symbols".to_owned());
        }
        let mut cargo = match self {
            Self::Installed { wasi_start } => {
                if target == FILTER_TARGET {
                    flags.push(format!("-Clink-arg={}", wasi_start.display()));
                }
                workspace.cargo()
            }
            Self::Debian { linker } => {
                flags.push(format!("-Clinker={}", linker.display()));
                if target == FILTER_TARGET {
                    flags.extend(debian_wasi_flags());
                }
                debian_cargo(workspace)
            }
        };
        cargo.args([verb, "--target", target]);
        if matches!(self, Self::Debian { .. }) {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        cargo
    }
}

impl Toolchain {
    /// Runs a line of a README that builds a component with plain `cargo`, in a folder of the checkout; `built` is where
    /// the build goes. The folder's own settings name the linker that this toolchain brings.
    pub(crate) fn shell(&self, workspace: &Workspace, folder: &Path, line: &str, built: &Path) -> Command {
        let mut shell = workspace.command("sh");
        shell.args(["-c", line]).current_dir(workspace.root.join(folder));
        shell.env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", built);
        if let Self::Debian { linker } = self {
            // Cargo takes this for the command-line switch of its name.
            shell.env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
            shell.env("RUSTC", DEBIAN_RUSTC).env_remove("RUSTUP_TOOLCHAIN");
            let beside = linker.with_file_name("wasm-component-ld");
            let own = DEBIAN_COMPONENT_LINKERS.iter().map(PathBuf::from);
            if let Some(linker) = std::iter::once(beside).chain(own).find(|path| path.exists()) {
                shell.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            }
            let path = std::env::var_os("PATH").unwrap_or_default();
            let debian = Path::new(DEBIAN_CARGO).parent().map(Path::to_owned);
            let folders = debian.into_iter().chain(std::env::split_paths(&path));
            if let Ok(path) = std::env::join_paths(folders) {
                shell.env("PATH", path);
            }
        }
        shell
    }
}

/// The targets that the toolchain in use lacks.
pub(crate) fn missing_targets(workspace: &Workspace) -> Vec<&'static str> {
    let root = sysroot(workspace);
    let lacks = |target: &&str| !root.as_ref().is_some_and(|root| target_library(root, target).is_dir());
    [FILTER_TARGET, PURE_TARGET].into_iter().filter(lacks).collect()
}

/// The Debian packages that lack for [`Toolchain::Debian`]; a compiler that is too old counts as lacking.
pub(crate) fn missing_debian_packages(workspace: &Workspace) -> Vec<&'static str> {
    let version = output(workspace.command(DEBIAN_RUSTC).arg("--version"));
    let recent = version.and_then(|text| version_of(&text)).is_some_and(|it| it >= workspace.rust_version);
    let present = [
        ("rustc-web", recent),
        ("cargo-web", recent && Path::new(DEBIAN_CARGO).exists()),
        ("rust-web-src", Path::new(DEBIAN_STD).exists()),
        ("wasi-libc", Path::new(DEBIAN_WASI).join("libc.a").exists()),
        ("rust-web-llvm", linker(workspace).is_some()),
    ];
    present.into_iter().filter(|(_, present)| !present).map(|(package, _)| package).collect()
}

/// Debian's cargo and compiler. They get a target folder of their own, for cargo keeps one compiler's answers per folder.
fn debian_cargo(workspace: &Workspace) -> Command {
    let mut cargo = workspace.command(DEBIAN_CARGO);
    cargo.env("RUSTC", DEBIAN_RUSTC).env("CARGO_TARGET_DIR", workspace.target.join("debian"));
    // Building the standard library is not stable, hence the switch; the compiler is a release.
    cargo.env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
    cargo
}

/// wasi-libc and its start code from Debian's package instead of the copies that rustup's target brings.
fn debian_wasi_flags() -> [String; 4] {
    [
        "-Clink-self-contained=no".to_owned(),
        format!("-L{DEBIAN_WASI}"),
        format!("-Clink-arg={DEBIAN_WASI}/crt1-reactor.o"),
        "-Ctarget-feature=+crt-static".to_owned(),
    ]
}

/// The wasm linker: the toolchain's own, or the one that Debian's rust-web-llvm brings.
fn linker(workspace: &Workspace) -> Option<PathBuf> {
    let root = sysroot(workspace);
    let host = output(rustc(workspace).args(["--print", "host-tuple"]));
    let own = root.zip(host).map(|(root, host)| root.join("lib/rustlib").join(host).join("bin/rust-lld"));
    own.into_iter().chain([PathBuf::from("/usr/bin/rust-lld")]).find(|path| path.exists())
}

fn rustc(workspace: &Workspace) -> Command {
    workspace.command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn sysroot(workspace: &Workspace) -> Option<PathBuf> {
    output(rustc(workspace).args(["--print", "sysroot"])).map(PathBuf::from)
}

fn target_library(root: &Path, target: &str) -> PathBuf {
    root.join("lib/rustlib").join(target).join("lib")
}

/// The version in what `rustc --version` prints.
fn version_of(text: &str) -> Option<Version> {
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        let debian = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)";
        assert_eq!(version_of(debian), Some(Version::new(1, 96, 0)));
        assert_eq!(version_of("rustc"), None);
        assert_eq!(version_of("rustc unknown"), None);
    }

    #[test]
    fn native_flags_do_not_reach_wasm() {
        let workspace = Workspace::find().unwrap();
        let toolchain = Toolchain::Installed { wasi_start: PathBuf::from("/lib/start.o") };
        let cargo = toolchain.cargo(&workspace, "check", PURE_TARGET);
        let environment: Vec<_> = cargo.get_envs().collect();
        assert!(environment.contains(&("RUSTFLAGS".as_ref(), None)));
        assert!(environment.contains(&("CARGO_ENCODED_RUSTFLAGS".as_ref(), Some("".as_ref()))));
    }

    #[test]
    fn the_filter_exports_its_allocator() {
        let workspace = Workspace::find().unwrap();
        let [wasi_start, linker] = ["/lib/crt1-reactor.o", "/bin/ld"].map(PathBuf::from);
        for toolchain in [Toolchain::Installed { wasi_start }, Toolchain::Debian { linker }] {
            let cargo = toolchain.cargo(&workspace, "build", FILTER_TARGET);
            let flags = cargo.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS");
            let flags = flags.unwrap().1.unwrap().to_str().unwrap();
            assert!(flags.contains("--export=malloc\u{1f}-Clink-arg=--export=free"), "{flags}");
            assert!(flags.contains("crt1-reactor.o"), "{flags}");
        }
    }
}
