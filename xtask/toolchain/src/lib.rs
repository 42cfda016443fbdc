//! Finds the toolchain that compiles the kernel programs, and builds the commands that run it.
//!
//! Stable Rust has no `core` for the BPF target. Debian packages one for its own compiler;
//! elsewhere, a nightly compiler with the source of its library is needed. Either way the linker
//! must read the LLVM bitcode of that very compiler, so it is built for the same LLVM.
//!
//! socktrace's build script depends on it.

mod strip;

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

pub use strip::strip;

/// Release of bpf-linker to install if no suitable one is present.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// Target that the kernel programs are compiled for.
pub const TARGET: &str = "bpfel-unknown-none";

/// Feature that adds log messages to the kernel programs.
pub const LOG_FEATURE: &str = "log";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Environment variable with the path of a file that is locked while a toolchain is being
/// installed.
pub const LOCK_VARIABLE: &str = "SOCKTRACE_TOOLCHAIN_LOCK";

/// Variables that a build script or a user's shell may have set for the host compiler, and that
/// would break this one.
const FOREIGN_VARIABLES: [&str; 11] = [
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A compiler that can generate BPF code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// Debian's compiler, with the packaged `core` for BPF.
    Debian {
        /// Major version of its LLVM.
        llvm: u32,
    },
    /// rustup's nightly compiler, which compiles `core` from source.
    Nightly {
        /// Major version of its LLVM.
        llvm: u32,
    },
}

impl Compiler {
    /// Returns the compiler to use on this machine, if there is one.
    pub fn find() -> Option<Self> {
        Self::debian().or_else(Self::nightly)
    }

    fn debian() -> Option<Self> {
        let sysroot = output(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
        let library = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET);
        let version = output(Command::new(DEBIAN_RUSTC).arg("-vV"))?;
        library.is_dir().then_some(Self::Debian { llvm: llvm_major(&version)? })
    }

    fn nightly() -> Option<Self> {
        let rustc = |argument: &[&str]| {
            output(Command::new("rustup").args(["run", "nightly", "rustc"]).args(argument))
        };
        let sysroot = rustc(&["--print", "sysroot"])?;
        // A nightly without the component rust-src cannot build `core`.
        let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
        let version = rustc(&["-vV"])?;
        source.is_dir().then_some(Self::Nightly { llvm: llvm_major(&version)? })
    }

    /// Major version of the LLVM that writes this compiler's bitcode.
    #[must_use]
    pub fn llvm(self) -> u32 {
        match self {
            Self::Debian { llvm } | Self::Nightly { llvm } => llvm,
        }
    }

    /// Path of a file that changes when the compiler does.
    #[must_use]
    pub fn watched_file(self) -> Option<PathBuf> {
        match self {
            Self::Debian { .. } => Some(DEBIAN_RUSTC.into()),
            Self::Nightly { .. } => {
                output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))
                    .map(|path| path.trim().into())
            }
        }
    }

    /// `cargo SUBCOMMAND`, set up to use this compiler and to inherit no settings.
    #[must_use]
    pub fn cargo(self, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Debian { .. } => {
                let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                Command::new(cargo)
            }
            Self::Nightly { .. } => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
        };
        command.arg(subcommand);
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        match self {
            // `--target` with a bare-metal target needs unstable flags of the stable compiler.
            Self::Debian { .. } => command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1"),
            Self::Nightly { .. } => command.args(["-Z", "build-std=core"]).env_remove("CARGO"),
        };
        command
    }
}

/// A compiler and the linker that matches it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The bpf-linker built for the compiler's LLVM.
    pub linker: PathBuf,
}

impl Toolchain {
    /// Like [`Self::find`], but if the environment names the lock of an installation, waits for
    /// that first. The daemon's dependencies can be compiled in the meantime.
    ///
    /// # Errors
    ///
    /// Same as [`Self::find`].
    pub fn wait_for(workspace: &Path) -> Result<Self, String> {
        if let Some(path) = env::var_os(LOCK_VARIABLE)
            && let Ok(file) = File::open(&path)
        {
            file.lock_shared()
                .map_err(|error| format!("cannot lock {}: {error}", path.display()))?;
        }
        Self::find(workspace)
    }

    /// The toolchain that [`Self::find`] will return once the compiler's linker is built. Building
    /// it takes longer than installing the compiler.
    #[must_use]
    pub fn to_be(workspace: &Path, compiler: Compiler) -> Self {
        Self { compiler, linker: own_linker(workspace, compiler) }
    }

    /// Finds the toolchain of this machine. `workspace` is the repository's root.
    ///
    /// # Errors
    ///
    /// Text for the user: what is missing, and the commands that install it.
    pub fn find(workspace: &Path) -> Result<Self, String> {
        let compiler = Compiler::find().ok_or_else(|| {
            format!(
                "no compiler for the kernel programs found: install Debian's rustc-web with \
                 libstd-rust-web-dev-bpf, or a nightly Rust with its source. {}",
                advice()
            )
        })?;
        let linker = find_linker(compiler, workspace).ok_or_else(|| {
            format!(
                "no bpf-linker for LLVM {} found, which the compiler of the kernel programs uses. \
                 {}",
                compiler.llvm(),
                advice()
            )
        })?;
        Ok(Self { compiler, linker })
    }

    /// `cargo SUBCOMMAND` for the kernel programs of a daemon on `architecture` (Rust's name), with
    /// compiler output in `target_dir`.
    #[must_use]
    pub fn cargo(
        &self,
        subcommand: &str,
        workspace: &Path,
        architecture: &str,
        target_dir: &Path,
    ) -> Command {
        let mut command = self.cargo_over_package(subcommand, workspace, architecture, target_dir);
        command.args(["--bin", "socktrace-ebpf"]);
        command
    }

    /// `cargo build` of the library that the kernel programs are linked with, which needs no
    /// linker. The arguments are those of [`Self::cargo`].
    #[must_use]
    pub fn cargo_library(
        &self,
        workspace: &Path,
        architecture: &str,
        target_dir: &Path,
    ) -> Command {
        let mut command = self.cargo_over_package("build", workspace, architecture, target_dir);
        command.arg("--lib");
        command
    }

    fn cargo_over_package(
        &self,
        subcommand: &str,
        workspace: &Path,
        architecture: &str,
        target_dir: &Path,
    ) -> Command {
        let flags = [
            format!("-Clinker={}", self.linker.display()),
            format!("--cfg=bpf_target_arch=\"{architecture}\""),
            // The linker generates BTF from the debug information.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
            // Otherwise every zeroed array becomes a call to a loop over its bytes, which costs run
            // time and multiplies the verifier's work.
            "-Clink-arg=--disable-expand-memcpy-in-order".into(),
        ];
        let flags: Vec<_> = flags.into_iter().chain(remappings(workspace)).collect();
        let mut command = self.compiler.cargo(subcommand);
        command
            .current_dir(workspace)
            .args(["--release", "--package", "socktrace-ebpf", "--features", "programs"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            // The workspace strips release builds, which would remove the debug information that
            // BTF is made from.
            .env("CARGO_PROFILE_RELEASE_STRIP", "none");
        command
    }
}

/// Compiler flags that hide where something was compiled, so that the same source makes the same
/// bytes in any directory and for any user.
#[must_use]
pub fn remappings(workspace: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    // If both match, the last one applies.
    let directories = [(Some(workspace), "/socktrace"), (home.as_deref(), "/cargo")];
    let flags = directories
        .into_iter()
        .filter_map(|(from, to)| Some(format!("--remap-path-prefix={}={to}", from?.display())));
    flags.collect()
}

/// Directory in which the kernel programs for daemons on `architecture` are compiled. All profiles
/// of the daemon share it, as the programs are the same.
#[must_use]
pub fn target_dir(workspace: &Path, architecture: &str) -> PathBuf {
    workspace.join("target/ebpf").join(architecture)
}

/// Path of the object after `cargo build` with `target_dir`.
#[must_use]
pub fn object(target_dir: &Path) -> PathBuf {
    target_dir.join(TARGET).join("release/socktrace-ebpf")
}

/// Directory in which `cargo install --root` puts the bpf-linker for an LLVM.
#[must_use]
pub fn linker_root(workspace: &Path, llvm: u32) -> PathBuf {
    workspace.join(format!("target/tools/bpf-linker-{BPF_LINKER_VERSION}-llvm-{llvm}"))
}

fn own_linker(workspace: &Path, compiler: Compiler) -> PathBuf {
    linker_root(workspace, compiler.llvm()).join("bin/bpf-linker")
}

fn find_linker(compiler: Compiler, workspace: &Path) -> Option<PathBuf> {
    let own = own_linker(workspace, compiler);
    if own.is_file() {
        return Some(own);
    }
    // A linker does not report its LLVM. One that a user has installed matches their nightly
    // compiler, but not necessarily Debian's.
    if matches!(compiler, Compiler::Debian { .. }) {
        return None;
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join("bpf-linker"))
        .find(|path| path.is_file())
}

/// Commands that install a toolchain, as text for the user.
#[must_use]
pub fn advice() -> String {
    if Path::new("/etc/debian_version").exists() {
        "Run: cargo xtask setup".into()
    } else {
        format!(
            "Run: rustup toolchain install nightly --component rust-src && cargo install \
             bpf-linker@{BPF_LINKER_VERSION} --locked --no-default-features --features llvm-N, \
             with N the major version that `rustup run nightly rustc -vV` gives for LLVM"
        )
    }
}

/// Major version of LLVM in the output of `rustc -vV`.
fn llvm_major(version: &str) -> Option<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version:"))?;
    llvm.trim().split('.').next()?.parse().ok()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_version_is_read_from_rustc() {
        let version = "rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
        assert_eq!(llvm_major("LLVM version: unknown\n"), None);
    }
}
