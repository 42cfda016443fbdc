//! Prometheus, which scrapes socktrace in guests, and its promtool, from Debian's package.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xtask_common::arch::Arch;

use crate::{archive, cpio::Cpio, kernel::BOOKWORM, mirror::Mirrors, userland};

const PACKAGE: &str = "prometheus";

/// Version of the archive's content. Increase it when that changes.
const FORMAT: u32 = 1;

/// Path of the program that checks and tests rules.
///
/// # Errors
///
/// When it cannot be fetched.
pub(crate) fn promtool(mirrors: impl FnOnce() -> Result<Mirrors>) -> Result<PathBuf> {
    Ok(tree(Arch::OWN, mirrors)?.join("usr/bin/promtool"))
}

/// Archive with only Prometheus. It uses the C library of the guest's other programs.
///
/// # Errors
///
/// When it cannot be fetched, or the archive cannot be written.
pub(crate) fn archive(
    arch: &'static Arch,
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<PathBuf> {
    archive::cached(&format!("{PACKAGE}-{}-{FORMAT}", arch.name), |file| {
        let program = tree(arch, mirrors)?.join("usr/bin/prometheus");
        write(file.as_file(), &program).context("cannot make the guest's Prometheus")
    })
}

fn write(file: &File, program: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let mut cpio = Cpio::new(BufWriter::new(file));
    cpio.file("/bin/prometheus", 0o755, &bytes)?;
    cpio.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

/// Directory of the unpacked package. Its dependencies are only the C library and files of its web
/// pages.
fn tree(arch: &'static Arch, mirrors: impl FnOnce() -> Result<Mirrors>) -> Result<PathBuf> {
    userland::unpacked_alone(PACKAGE, &BOOKWORM, arch, mirrors)
}
