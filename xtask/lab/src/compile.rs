//! Compiles the daemon and the guest's program.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use xtask_common::arch::Arch;

use crate::{initramfs::GuestPrograms, process, workspace};

/// How to compile.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// For which machines.
    pub arch: &'static Arch,
    /// Optimized.
    pub release: bool,
    /// Without shared libraries: runs on any distribution, and in a guest without one.
    pub linked_statically: bool,
}

impl BuildOptions {
    /// What this machine runs.
    pub const NATIVE: Self = Self { arch: Arch::OWN, release: true, linked_statically: false };

    /// What guests of this architecture run.
    #[must_use]
    pub fn guest(arch: &'static Arch) -> Self {
        Self { arch, release: true, linked_statically: true }
    }
}

/// Compiles the daemon and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn daemon(options: BuildOptions) -> Result<PathBuf> {
    binary("socktrace", "socktrace", options)
}

/// Compiles what goes into a guest.
///
/// # Errors
///
/// When a program does not compile.
pub fn programs(arch: &'static Arch, with_daemon: bool) -> Result<GuestPrograms> {
    let guest = guest(arch)?;
    let daemon = if with_daemon { Some(daemon(BuildOptions::guest(arch))?) } else { None };
    Ok(GuestPrograms { guest, daemon, packages: Vec::new() })
}

/// Compiles the guest's program, of which some also runs on the host, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn guest(arch: &'static Arch) -> Result<PathBuf> {
    binary("socktrace-scenarios", "guest", BuildOptions::guest(arch))
}

/// Compiles what writes the manual, for this machine, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub fn manual() -> Result<PathBuf> {
    // As guests' programs, it shares what it depends on with the daemon that goes into packages.
    let options = BuildOptions::guest(Arch::OWN);
    binary("socktrace-manual", "socktrace-manual", options)
}

fn binary(package: &str, name: &str, options: BuildOptions) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root());
    cargo.args(["build", "--quiet", "--locked", "--package", package, "--bin", name]);
    let mut directory = workspace::cargo_target();
    let arch = options.arch;
    let mut flags = Vec::new();
    if options.linked_statically {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
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
    if options.release {
        cargo.arg("--release");
    }
    process::run(&mut cargo).with_context(|| format!("cannot compile {name}"))?;
    Ok(directory.join(if options.release { "release" } else { "debug" }).join(name))
}
