//! Finds what compiles the kernel programs, and says how to call it.
//!
//! Stable Rust has no `core` for the BPF target. Debian packages one for its own compiler; elsewhere
//! it takes a nightly compiler with its library's source. Either way the linker must read the LLVM
//! bitcode that very compiler writes, so it is built for the compiler's own LLVM.
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

/// The release of bpf-linker that is installed when none fits.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// The target the kernel programs are compiled for.
pub const TARGET: &str = "bpfel-unknown-none";

/// The feature of the kernel programs by which they have messages.
pub const LOG_FEATURE: &str = "log";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The environment variable that names a file which is locked while a toolchain is being installed.
pub const LOCK_VARIABLE: &str = "SOCKTRACE_TOOLCHAIN_LOCK";

/// What a build script or a user's shell may have set for the host compiler, and would break ours.
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

/// A compiler that can make BPF code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// Debian's, with the packaged `core` for BPF.
    Debian {
        /// Major version of the LLVM inside.
        llvm: u32,
    },
    /// rustup's nightly, which compiles `core` from source.
    Nightly {
        /// Major version of the LLVM inside.
        llvm: u32,
    },
}

impl Compiler {
    /// The compiler to use on this machine, if there is one.
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

    /// The file that changes when the compiler does.
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

    /// `cargo SUBCOMMAND`, set up to compile with this compiler and nothing inherited.
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

/// A compiler with the linker that goes with it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The bpf-linker made for the compiler's LLVM.
    pub linker: PathBuf,
}

impl Toolchain {
    /// As [`Self::find`], but if one is being installed, as the environment says, after that. So the
    /// daemon's dependencies can be compiled meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Self::find`].
    pub fn wait_for(workspace: &Path) -> Result<Self, String> {
        if let Some(path) = env::var_os(LOCK_VARIABLE)
            && let Ok(file) = File::open(&path)
        {
            file.lock_shared()
                .map_err(|error| format!("cannot lock {}: {error}", path.display()))?;
        }
        Self::find(workspace)
    }

    /// What [`Self::find`] will find once the linker of a compiler is built, which takes longer than
    /// the compiler's installation.
    #[must_use]
    pub fn to_be(workspace: &Path, compiler: Compiler) -> Self {
        Self { compiler, linker: own_linker(workspace, compiler) }
    }

    /// The toolchain of this machine, where `workspace` is the repository's root.
    ///
    /// # Errors
    ///
    /// Text for the user: what is missing and the commands that install it.
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

    /// `cargo SUBCOMMAND` over the kernel programs, for a daemon on `architecture` (as Rust names
    /// it), with compiler output in `target_dir`.
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

    /// `cargo build` of what the kernel programs are linked from, which takes no linker. The
    /// arguments are those of [`Self::cargo`].
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
            // Debug information is what the linker makes BTF of.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
            // Or else every zeroed array is a call of a loop over its bytes, which costs at run time
            // and multiplies the verifier's work.
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
            // The workspace strips release builds, which would take the BTF's source away.
            .env("CARGO_PROFILE_RELEASE_STRIP", "none");
        command
    }
}

/// Flags by which it does not show where something was compiled: the same source makes the same bytes in
/// any directory and for any user.
#[must_use]
pub fn remappings(workspace: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    // Where both fit, the last one counts.
    let directories = [(Some(workspace), "/socktrace"), (home.as_deref(), "/cargo")];
    let flags = directories
        .into_iter()
        .filter_map(|(from, to)| Some(format!("--remap-path-prefix={}={to}", from?.display())));
    flags.collect()
}

/// Where the kernel programs for daemons on `architecture` are compiled: one directory for every
/// profile of the daemon, as they are the same for each.
#[must_use]
pub fn target_dir(workspace: &Path, architecture: &str) -> PathBuf {
    workspace.join("target/ebpf").join(architecture)
}

/// Where the object lies after `cargo build` with `target_dir`.
#[must_use]
pub fn object(target_dir: &Path) -> PathBuf {
    target_dir.join(TARGET).join("release/socktrace-ebpf")
}

/// Where `cargo install --root` puts the bpf-linker for one LLVM.
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
    // A linker does not report its LLVM. One that a user installed goes with their nightly;
    // nothing ties it to Debian's compiler.
    if matches!(compiler, Compiler::Debian { .. }) {
        return None;
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join("bpf-linker"))
        .find(|path| path.is_file())
}

/// What to run so that a toolchain is found.
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

/// The major version of LLVM in the output of `rustc -vV`.
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
