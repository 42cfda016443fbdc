//! Preparation of everything a boot needs, done once for any number of boots.

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

/// A kernel and the files that go with it.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// System to boot.
    pub kernel: Kernel,
    /// Archive with the files that all guests share.
    pub base: PathBuf,
    /// Archive with modules to load, if they are needed and the base has none.
    pub modules: Option<PathBuf>,
    /// Memory of a guest, including its files.
    pub memory_mib: u32,
}

/// Enough for failing sockets, and for a service.
const MEMORY_MIB: u32 = 1024;

/// Files may take half of this. Podman with its dependencies takes 200 MiB, without any image.
const CONTAINERS_MEMORY_MIB: u32 = 2048;

/// Fetches a kernel, and builds the files that its guests share.
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

/// Fetches a kernel, with a Debian system for its guests. In place of the daemon, the system gets
/// the packages that `packages` makes.
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

/// Fetches a kernel, with a Debian system that runs containers, and with the files for the daemon's
/// image.
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
/// When none is present and none can be fetched.
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
/// When they are not present and cannot be fetched.
pub fn peers(arch: &'static Arch, setup: &Setup, mirrors: &MirrorArgs) -> Result<PathBuf> {
    let _lock = workspace::lock_caches()?;
    peers::archive(arch, || setup.mirrors(mirrors))
}

/// Fetches Prometheus for guests.
///
/// # Errors
///
/// When it is not present and cannot be fetched.
pub fn prometheus(arch: &'static Arch, setup: &Setup, mirrors: &MirrorArgs) -> Result<PathBuf> {
    let _lock = workspace::lock_caches()?;
    prometheus::archive(arch, || setup.mirrors(mirrors))
}

/// Fetches the program that checks Prometheus's rules.
///
/// # Errors
///
/// When it is not present and cannot be fetched.
pub fn promtool(setup: &Setup, mirrors: &MirrorArgs) -> Result<PathBuf> {
    let _lock = workspace::lock_caches()?;
    prometheus::promtool(|| setup.mirrors(mirrors))
}

/// Installs what guests need, and compiles the programs to try out in them.
///
/// # Errors
///
/// When something cannot be installed or does not compile.
pub fn programs(arch: &'static Arch, setup: &Setup, with_daemon: bool) -> Result<GuestPrograms> {
    Ok(programs_and(arch, setup, with_daemon, || Ok(()))?.0)
}

/// Like [`programs`]. While the compiler runs, also runs `fetch` once the needs of guests are
/// installed.
///
/// # Errors
///
/// Same as [`programs`], and the errors of `fetch`.
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

/// Like [`programs`], with the release profile.
///
/// # Errors
///
/// Same as [`programs`].
pub fn released_programs(arch: &'static Arch, setup: &Setup) -> Result<GuestPrograms> {
    setup.ensure(&[Need::Build, Need::Target(arch), Need::Machines(arch)])?;
    compile::programs(compile::BuildOptions::released(arch), true)
}

/// Compiles the daemon to try out on this host.
///
/// # Errors
///
/// When something cannot be installed or the daemon does not compile.
pub fn daemon(setup: &Setup) -> Result<PathBuf> {
    setup.ensure(&[Need::Target(Arch::OWN)])?;
    let options = compile::BuildOptions::tried(Arch::OWN);
    Ok(compile_and(setup, &[Need::Build], || compile::daemon(options), || Ok(()))?.0)
}

/// Compiles while needs are installed and files are fetched. The build waits for the compiler of
/// the kernel programs on its own.
fn compile_and<P, T: Send>(
    setup: &Setup,
    needs: &[Need],
    compile: impl FnOnce() -> Result<P>,
    fetch: impl FnOnce() -> Result<T> + Send,
) -> Result<(P, T)> {
    let others: Vec<_> = needs.iter().copied().filter(|need| *need != Need::Build).collect();
    if !setup.allowed {
        // Fails now, and not after most is compiled.
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
        // Reported first, as a failed installation is why something does not compile.
        let fetched = join(fetched)?;
        Ok((compiled?, fetched))
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// Returns the accelerator for guests that run in real time.
///
/// # Errors
///
/// When QEMU cannot be run.
pub fn accelerator(files: &BootFiles, programs: &GuestPrograms) -> Result<Accelerator> {
    let _lock = workspace::lock_caches()?;
    kvm::accelerator(files, programs)
}
