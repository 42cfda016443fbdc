//! Compilation of the daemon and of the guest's program.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use socktrace_toolchain::{Compiler, LOCK_VARIABLE, Toolchain};
use xtask_common::arch::Arch;

use crate::{initramfs::GuestPrograms, process, progress, workspace};

/// A profile of the workspace's `Cargo.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Not optimized.
    Dev,
    /// For trying things out: compiles in a fraction of a release's time, and is not much slower.
    Try,
    /// For packages and measurements.
    Release,
}

impl Profile {
    /// Name in cargo's options.
    const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Try => "try",
            Self::Release => "release",
        }
    }

    /// Directory of its build output.
    const fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Try => "try",
            Self::Release => "release",
        }
    }
}

/// Options for compilation.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// Architecture to compile for.
    pub arch: &'static Arch,
    /// Profile to compile with.
    pub profile: Profile,
    /// Whether to link without shared libraries, so that it runs on any distribution, and in a
    /// guest that has none.
    pub linked_statically: bool,
}

impl BuildOptions {
    /// Options for programs that this machine runs.
    pub const NATIVE: Self =
        Self { arch: Arch::OWN, profile: Profile::Release, linked_statically: false };

    /// Options for programs that are packaged, or measured in guests.
    #[must_use]
    pub const fn released(arch: &'static Arch) -> Self {
        Self { arch, profile: Profile::Release, linked_statically: true }
    }

    /// Options for programs to try out, on this host or in guests.
    #[must_use]
    pub const fn tried(arch: &'static Arch) -> Self {
        Self { arch, profile: Profile::Try, linked_statically: true }
    }
}

/// Compiles the daemon and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn daemon(options: BuildOptions) -> Result<PathBuf> {
    Ok(binaries(&[DAEMON], options)?.join(DAEMON.name))
}

/// Compiles the library that the kernel programs are linked with, while their linker is still being
/// built. The daemon's build script would wait for the linker, and compile the library only then.
pub(crate) fn kernel_library() {
    let root = workspace::root();
    if Toolchain::find(root).is_ok() {
        return;
    }
    let Some(compiler) = Compiler::find() else { return };
    let architecture = std::env::consts::ARCH;
    let target_dir = socktrace_toolchain::target_dir(root, architecture);
    let mut cargo = Toolchain::to_be(root, compiler).cargo_library(root, architecture, &target_dir);
    // An error here occurs again in the build script, which reports it.
    drop(cargo.output());
}

/// Compiles the programs that go into a guest together, so that dependencies that differ only in
/// features are not compiled twice.
///
/// # Errors
///
/// When a program does not compile.
pub fn programs(options: BuildOptions, with_daemon: bool) -> Result<GuestPrograms> {
    let wanted = if with_daemon { &[GUEST, DAEMON][..] } else { &[GUEST] };
    let directory = binaries(wanted, options)?;
    let daemon = with_daemon.then(|| directory.join(DAEMON.name));
    Ok(GuestPrograms { guest: directory.join(GUEST.name), daemon, files: Vec::new() })
}

/// Compiles the guest's program, parts of which also run on the host, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn guest(options: BuildOptions) -> Result<PathBuf> {
    Ok(programs(options, false)?.guest)
}

/// Compiles the program that writes the manual, for this machine, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn manual() -> Result<PathBuf> {
    // With these options it shares dependencies with the daemon that is packaged.
    Ok(binaries(&[MANUAL], BuildOptions::released(Arch::OWN))?.join(MANUAL.name))
}

/// A program of the workspace.
#[derive(Clone, Copy)]
struct Binary {
    package: &'static str,
    name: &'static str,
}

const DAEMON: Binary = Binary { package: "socktrace", name: "socktrace" };
const GUEST: Binary = Binary { package: "socktrace-scenarios", name: "guest" };
const MANUAL: Binary = Binary { package: "socktrace-manual", name: "socktrace-manual" };

/// Compiles programs, and returns the directory that contains them.
fn binaries(binaries: &[Binary], options: BuildOptions) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root()).args(["build", "--locked"]);
    cargo.args(["--profile", options.profile.name()]);
    for Binary { package, name } in binaries {
        cargo.args(["--package", package, "--bin", name]);
    }
    cargo.env(LOCK_VARIABLE, workspace::toolchain_lock());
    let mut directory = workspace::cargo_target();
    let arch = options.arch;
    let mut flags = Vec::new();
    if options.linked_statically {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
        if options.profile == Profile::Release {
            flags.extend(socktrace_toolchain::remappings(workspace::root()));
        }
    }
    if !arch.is_own() {
        flags.push(format!("-Clinker={}", arch.cross_linker()));
    }
    if !flags.is_empty() {
        // Flags apply to programs of an explicitly named target. Build scripts and macros are for
        // the host, and cannot be static.
        cargo.args(["--target", arch.rust_target]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        directory.push(arch.rust_target);
    }
    let names: Vec<_> = binaries.iter().map(|binary| binary.name).collect();
    let names = names.join(" and ");
    run(&mut cargo, &names).with_context(|| format!("cannot compile {names}"))?;
    Ok(directory.join(options.profile.directory()))
}

/// Runs cargo with its own progress output on a terminal. Elsewhere, reports at the end what was
/// compiled.
fn run(cargo: &mut Command, names: &str) -> Result<()> {
    /// Shorter runs are not worth a line.
    const LONG: Duration = Duration::from_secs(2);
    if progress::is_terminal() {
        return progress::lend(|| process::run(cargo));
    }
    let step = progress::step(format_args!("Compiling {names}"));
    process::run(cargo.arg("--quiet"))?;
    step.done_if_longer(LONG, format_args!("Compiled {names}"));
    Ok(())
}
