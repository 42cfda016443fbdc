//! Everything a boot needs, made ready once for any number of boots.

use std::path::PathBuf;

use anyhow::Result;
use xtask_common::arch::Arch;

use crate::{
    compile, debian_system, initramfs,
    initramfs::GuestPrograms,
    kernel::{Kernel, Series},
    kvm,
    mirror::MirrorArgs,
    peers, prometheus,
    qemu::Accelerator,
    setup::{Need, Setup},
    workspace,
};

/// A kernel with the files that go with it.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// What is booted.
    pub kernel: Kernel,
    /// The part of the files that is the same for each guest.
    pub base: PathBuf,
}

/// Fetches a kernel and makes the part of its guests' files that is the same for each.
///
/// # Errors
///
/// When something cannot be fetched or written.
pub fn boot_files(
    series: &'static Series,
    arch: &'static Arch,
    setup: &Setup,
    mirrors: &MirrorArgs,
) -> Result<BootFiles> {
    let kernel = kernel(series, arch, setup, mirrors)?;
    let _lock = workspace::lock_caches()?;
    let base = initramfs::base(&kernel, || setup.mirrors(mirrors))?;
    Ok(BootFiles { kernel, base })
}

/// A kernel with a Debian system for its guests, and with the packages that `packages` makes in place
/// of the daemon.
///
/// # Errors
///
/// When something cannot be installed, fetched, packed or written.
pub fn system(
    series: &'static Series,
    programs: &GuestPrograms,
    packages: impl FnOnce() -> Result<Vec<PathBuf>>,
    setup: &Setup,
    mirrors: &MirrorArgs,
) -> Result<(BootFiles, GuestPrograms)> {
    let kernel = kernel(series, Arch::OWN, setup, mirrors)?;
    setup.ensure(&[Need::Packages, Need::DebianSystem])?;
    let _lock = workspace::lock_caches()?;
    let base = debian_system::archive(series, || setup.mirrors(mirrors))?;
    let programs = GuestPrograms { daemon: None, packages: packages()?, ..programs.clone() };
    Ok((BootFiles { kernel, base }, programs))
}

/// Fetches a kernel.
///
/// # Errors
///
/// When none is here and none can be fetched.
pub fn kernel(
    series: &'static Series,
    arch: &'static Arch,
    setup: &Setup,
    mirrors: &MirrorArgs,
) -> Result<Kernel> {
    let _lock = workspace::lock_caches()?;
    Kernel::ensure(series, arch, || setup.mirrors(mirrors))
}

/// Fetches other tools that watch TCP.
///
/// # Errors
///
/// When they are not here and cannot be fetched.
pub fn peers(arch: &'static Arch, setup: &Setup, mirrors: &MirrorArgs) -> Result<PathBuf> {
    let _lock = workspace::lock_caches()?;
    peers::archive(arch, || setup.mirrors(mirrors))
}

/// Fetches Prometheus for guests.
///
/// # Errors
///
/// When it is not here and cannot be fetched.
pub fn prometheus(arch: &'static Arch, setup: &Setup, mirrors: &MirrorArgs) -> Result<PathBuf> {
    let _lock = workspace::lock_caches()?;
    prometheus::archive(arch, || setup.mirrors(mirrors))
}

/// Fetches the program that checks Prometheus's rules.
///
/// # Errors
///
/// When it is not here and cannot be fetched.
pub fn promtool(setup: &Setup, mirrors: &MirrorArgs) -> Result<PathBuf> {
    let _lock = workspace::lock_caches()?;
    prometheus::promtool(|| setup.mirrors(mirrors))
}

/// Installs what guests need and compiles what runs in them.
///
/// # Errors
///
/// When something cannot be installed or does not compile.
pub fn programs(arch: &'static Arch, setup: &Setup, with_daemon: bool) -> Result<GuestPrograms> {
    if with_daemon {
        setup.ensure(&[Need::Build])?;
    }
    setup.ensure(&[Need::Target(arch), Need::Machines(arch)])?;
    compile::programs(arch, with_daemon)
}

/// What to run guests in real time with.
///
/// # Errors
///
/// When QEMU cannot be run.
pub fn accelerator(files: &BootFiles, programs: &GuestPrograms) -> Result<Accelerator> {
    let _lock = workspace::lock_caches()?;
    kvm::accelerator(&files.kernel, &files.base, programs)
}
