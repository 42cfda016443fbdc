//! Everything a boot needs, made ready once for any number of boots.

use std::{path::PathBuf, thread};

use anyhow::{Context as _, Result, anyhow};
use xtask_common::{arch::Arch, job};

use crate::{
    compile,
    debian_system::{self, Role},
    initramfs,
    initramfs::GuestPrograms,
    kernel::{Kernel, Series},
    kvm,
    mirror::MirrorArgs,
    packages::stage,
    peers, prometheus,
    qemu::Accelerator,
    setup::{Need, Setup},
    workspace,
};

/// A kernel with the files that go with it.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// The system that is booted.
    pub kernel: Kernel,
    /// The part of the files that is the same for each guest.
    pub base: PathBuf,
    /// An archive of modules to load, where the base has none and they are needed.
    pub modules: Option<PathBuf>,
    /// What a guest has, its files included.
    pub memory_mib: u32,
}

/// Enough for sockets that fail, and for a service.
const MEMORY_MIB: u32 = 1024;

/// Half of it is what files may take, and Podman with all it needs takes 200 MiB before it has any image.
const CONTAINERS_MEMORY_MIB: u32 = 2048;

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
    Ok(BootFiles { kernel, base, modules: None, memory_mib: MEMORY_MIB })
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
    let base = debian_system::archive(series, Role::Service, || setup.mirrors(mirrors))?;
    let place = |(index, path)| (format!("{}/{index}.deb", job::PACKAGES), path);
    let files = packages()?.into_iter().enumerate().map(place).collect();
    let programs = GuestPrograms { daemon: None, files, ..programs.clone() };
    Ok((BootFiles { kernel, base, modules: None, memory_mib: MEMORY_MIB }, programs))
}

/// A kernel with a Debian system that runs containers, and with what the daemon's image is made of.
///
/// # Errors
///
/// When something cannot be installed, fetched or written.
pub fn containers(
    series: &'static Series,
    programs: &GuestPrograms,
    setup: &Setup,
    mirrors: &MirrorArgs,
) -> Result<(BootFiles, GuestPrograms)> {
    let kernel = kernel(series, Arch::OWN, setup, mirrors)?;
    setup.ensure(&[Need::DebianSystem])?;
    let _lock = workspace::lock_caches()?;
    let base = debian_system::archive(series, Role::Containers, || setup.mirrors(mirrors))?;
    let modules = Some(initramfs::container_modules(&kernel)?);
    let daemon = programs.daemon.as_deref().context("there is no daemon for an image")?;
    let place = |(name, path)| (format!("{}/{name}", job::IMAGE), path);
    let files = stage::image(daemon)?.into_iter().map(place).collect();
    let programs = GuestPrograms { daemon: None, files, ..programs.clone() };
    Ok((BootFiles { kernel, base, modules, memory_mib: CONTAINERS_MEMORY_MIB }, programs))
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

/// Installs what guests need and compiles what runs in them, to be tried out.
///
/// # Errors
///
/// When something cannot be installed or does not compile.
pub fn programs(arch: &'static Arch, setup: &Setup, with_daemon: bool) -> Result<GuestPrograms> {
    Ok(programs_and(arch, setup, with_daemon, || Ok(()))?.0)
}

/// As [`programs`]; while the compiler runs, `fetch` does, as soon as what guests need is installed.
///
/// # Errors
///
/// As [`programs`], and those of `fetch`.
pub fn programs_and<T: Send>(
    arch: &'static Arch,
    setup: &Setup,
    with_daemon: bool,
    fetch: impl FnOnce() -> Result<T> + Send,
) -> Result<(GuestPrograms, T)> {
    let options = compile::BuildOptions::tried(arch);
    let needs = if with_daemon {
        &[Need::Build, Need::Machines(arch)][..]
    } else {
        &[Need::Machines(arch)]
    };
    setup.ensure(&[Need::Target(arch)])?;
    compile_and(setup, needs, || compile::programs(options, with_daemon), fetch)
}

/// As [`programs`], with the programs as they are released.
///
/// # Errors
///
/// As [`programs`].
pub fn released_programs(arch: &'static Arch, setup: &Setup) -> Result<GuestPrograms> {
    setup.ensure(&[Need::Build, Need::Target(arch), Need::Machines(arch)])?;
    compile::programs(compile::BuildOptions::released(arch), true)
}

/// Compiles the daemon to be tried out on this host.
///
/// # Errors
///
/// When something cannot be installed or the daemon does not compile.
pub fn daemon(setup: &Setup) -> Result<PathBuf> {
    setup.ensure(&[Need::Target(Arch::OWN)])?;
    let options = compile::BuildOptions::tried(Arch::OWN);
    Ok(compile_and(setup, &[Need::Build], || compile::daemon(options), || Ok(()))?.0)
}

/// Compiles while everything is installed and fetched: what is compiled waits by itself for the
/// compiler of the kernel programs.
fn compile_and<P, T: Send>(
    setup: &Setup,
    needs: &[Need],
    compile: impl FnOnce() -> Result<P>,
    fetch: impl FnOnce() -> Result<T> + Send,
) -> Result<(P, T)> {
    let others: Vec<_> = needs.iter().copied().filter(|need| *need != Need::Build).collect();
    if !setup.allowed {
        // Better now than when most is compiled.
        setup.ensure(needs)?;
    }
    let lock = needs.contains(&Need::Build).then(workspace::lock_toolchain).transpose()?;
    thread::scope(|scope| {
        let fetched = scope.spawn(move || {
            setup.install_packages(needs)?;
            thread::scope(|scope| {
                let toolchain = scope.spawn(|| match lock {
                    Some(_lock) => {
                        scope.spawn(compile::kernel_library);
                        setup.ensure(&[Need::Build])
                    }
                    None => Ok(()),
                });
                let fetched = setup.ensure(&others).and_then(|()| fetch());
                join(toolchain)?;
                fetched
            })
        });
        let compiled = compile();
        // What could not be installed is why something does not compile.
        let fetched = join(fetched)?;
        Ok((compiled?, fetched))
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// What to run guests in real time with.
///
/// # Errors
///
/// When QEMU cannot be run.
pub fn accelerator(files: &BootFiles, programs: &GuestPrograms) -> Result<Accelerator> {
    let _lock = workspace::lock_caches()?;
    kvm::accelerator(files, programs)
}
