//! Compiles the daemon and the guest's program.

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
    /// To try things out: compiled in a fraction of a release's time, and not much slower.
    Try,
    /// What is packed and measured.
    Release,
}

impl Profile {
    /// As cargo's options name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Try => "try",
            Self::Release => "release",
        }
    }

    /// The directory of what is compiled with it.
    const fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Try => "try",
            Self::Release => "release",
        }
    }
}

/// How to compile.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// For which machines.
    pub arch: &'static Arch,
    /// How much to optimize.
    pub profile: Profile,
    /// Without shared libraries: runs on any distribution, and in a guest without one.
    pub linked_statically: bool,
}

impl BuildOptions {
    /// What this machine runs.
    pub const NATIVE: Self =
        Self { arch: Arch::OWN, profile: Profile::Release, linked_statically: false };

    /// What packages have in them, and what is measured in guests.
    #[must_use]
    pub const fn released(arch: &'static Arch) -> Self {
        Self { arch, profile: Profile::Release, linked_statically: true }
    }

    /// What is tried out, on this host or in guests.
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

/// Compiles what the kernel programs are linked from, while their linker is still being built. The
/// daemon's build script would wait for that, and then compile all of this one after the other.
pub(crate) fn kernel_library() {
    let root = workspace::root();
    if Toolchain::find(root).is_ok() {
        return;
    }
    let Some(compiler) = Compiler::find() else { return };
    let architecture = std::env::consts::ARCH;
    let target_dir = socktrace_toolchain::target_dir(root, architecture);
    let mut cargo = Toolchain::to_be(root, compiler).cargo_library(root, architecture, &target_dir);
    // What goes wrong here does so once more in the build script, and is reported there.
    drop(cargo.output());
}

/// Compiles what goes into a guest, in one go: dependencies that differ in features alone are not
/// compiled twice.
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

/// Compiles the guest's program, of which some also runs on the host, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn guest(options: BuildOptions) -> Result<PathBuf> {
    Ok(programs(options, false)?.guest)
}

/// Compiles what writes the manual, for this machine, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn manual() -> Result<PathBuf> {
    // So it shares what it depends on with the daemon that goes into packages.
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

/// Compiles programs and returns the directory that they are in.
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
        // Flags hold for programs of a target that is named; build scripts and macros are the
        // host's, and cannot be static.
        cargo.args(["--target", arch.rust_target]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        directory.push(arch.rust_target);
    }
    let names: Vec<_> = binaries.iter().map(|binary| binary.name).collect();
    let names = names.join(" and ");
    run(&mut cargo, &names).with_context(|| format!("cannot compile {names}"))?;
    Ok(directory.join(options.profile.directory()))
}

/// Lets cargo show its progress where it can, and else says in the end what it did.
fn run(cargo: &mut Command, names: &str) -> Result<()> {
    /// Less is not worth a line.
    const LONG: Duration = Duration::from_secs(2);
    if progress::is_terminal() {
        return progress::lend(|| process::run(cargo));
    }
    let step = progress::step(format_args!("Compiling {names}"));
    process::run(cargo.arg("--quiet"))?;
    step.done_if_longer(LONG, format_args!("Compiled {names}"));
    Ok(())
}
