//! Compiles the daemon and the guest's program.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{initramfs::Programs, process, workspace};

/// Static programs run on any distribution, and in a guest without one. Only programs for a target
/// that is named are linked so; build scripts and macros, which cannot be, are for the host.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// How to compile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Optimized.
    pub(crate) release: bool,
    /// Without shared libraries.
    pub(crate) linked_statically: bool,
}

impl Options {
    /// What guests run.
    pub(crate) const GUEST: Self = Self { release: true, linked_statically: true };

    /// What this machine runs.
    pub(crate) const NATIVE: Self = Self { release: true, linked_statically: false };
}

/// Compiles the daemon and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn daemon(options: Options) -> Result<PathBuf> {
    binary("socktrace", "socktrace", options)
}

/// Compiles what goes into a guest.
///
/// # Errors
///
/// When a program does not compile.
pub(crate) fn programs(with_daemon: bool) -> Result<Programs> {
    let guest = guest()?;
    let daemon = if with_daemon { Some(daemon(Options::GUEST)?) } else { None };
    Ok(Programs { guest, daemon })
}

/// Compiles the guest's program, which also runs on the host, and returns its path.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn guest() -> Result<PathBuf> {
    binary("xtask", "guest", Options::GUEST)
}

fn binary(package: &str, name: &str, options: Options) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root());
    cargo.args(["build", "--quiet", "--locked", "--package", package, "--bin", name]);
    let mut directory = workspace::cargo_target();
    if options.linked_statically {
        cargo.args(["--target", STATIC_TARGET]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
        directory.push(STATIC_TARGET);
    }
    if options.release {
        cargo.arg("--release");
    }
    process::run(&mut cargo).with_context(|| format!("cannot compile {name}"))?;
    Ok(directory.join(if options.release { "release" } else { "debug" }).join(name))
}
