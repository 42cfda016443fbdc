//! The few programs of a guest, from Debian's packages: a shell, and the tools that set up
//! networks.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xtask_common::arch::Arch;

use crate::{
    apt::{self, Apt, Archive},
    cpio::Cpio,
    elf,
    kernel::BOOKWORM,
    mirror::Mirrors,
    workspace,
};

const PACKAGES: [&str; 6] = ["bash", "busybox-static", "iproute2", "libc-bin", "nftables", "tmux"];

/// Programs to install, with the libraries they need. The rest of the packages is omitted.
const PROGRAMS: [&str; 6] =
    ["bin/bash", "bin/ip", "bin/ss", "sbin/tc", "usr/bin/tmux", "usr/sbin/nft"];

/// The C library's UTF-8 data, without which tmux shows nothing.
const CHARACTERS: &str = "usr/lib/locale/C.utf8/LC_CTYPE";

/// Unpacked packages.
#[derive(Debug)]
pub(crate) struct Userland {
    arch: &'static Arch,
    tree: PathBuf,
}

impl Userland {
    /// Returns the packages, which are fetched if necessary.
    ///
    /// # Errors
    ///
    /// When they cannot be fetched or unpacked.
    pub(crate) fn ensure(
        arch: &'static Arch,
        mirrors: impl FnOnce() -> Result<Mirrors>,
    ) -> Result<Self> {
        let tree = unpacked(&PACKAGES, &BOOKWORM, arch, mirrors)?;
        Ok(Self { arch, tree })
    }

    /// Adds the programs and their libraries to an archive.
    ///
    /// # Errors
    ///
    /// When a program or library is missing, or the archive cannot be written.
    pub(crate) fn add_to<W: Write>(&self, cpio: &mut Cpio<W>) -> Result<()> {
        cpio.directory("/bin")?;
        // A single directory of programs, under all its customary names.
        for (link, target) in [("/sbin", "bin"), ("/usr/bin", "../bin"), ("/usr/sbin", "../bin")] {
            cpio.link(link, target)?;
        }
        // The guest creates the links for its commands, as busybox can be run only there.
        cpio.file("/bin/busybox", 0o755, &read(&self.tree.join("bin/busybox"))?)?;
        // Busybox's own shell would take busybox's `ip` for the real one.
        cpio.link("/bin/sh", "bash")?;
        let directories = ["lib", "usr/lib"].map(|lib| self.tree.join(lib).join(self.arch.gnu));
        let mut libraries = BTreeSet::new();
        for program in PROGRAMS {
            let path = self.tree.join(program);
            let name = program.rsplit('/').next().unwrap_or(program);
            cpio.file(&format!("/bin/{name}"), 0o755, &read(&path)?)?;
            libraries.extend(elf::libraries(&path, &directories)?);
        }
        for library in libraries {
            let name = library.file_name().unwrap_or_default().to_string_lossy();
            cpio.file(&format!("/lib/{}/{name}", self.arch.gnu), 0o755, &read(&library)?)?;
        }
        cpio.file(&format!("/{CHARACTERS}"), 0o644, &read(&self.tree.join(CHARACTERS))?)?;
        // The C library needs the loader too, so it is present; programs expect it under this name.
        let loader = self.arch.loader;
        let name = loader.rsplit('/').next().unwrap_or(loader);
        cpio.link(loader, &format!("/lib/{}/{name}", self.arch.gnu))?;
        Ok(())
    }
}

/// Directory of these packages with all dependencies, fetched if necessary.
///
/// # Errors
///
/// When they cannot be fetched or unpacked.
pub(crate) fn unpacked(
    packages: &[&str],
    archive: &Archive,
    arch: &Arch,
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<PathBuf> {
    let download =
        |apt: &Apt, directory: &Path, what: &str| apt.download_closure(packages, directory, what);
    fetched(packages, archive, arch, mirrors, download)
}

/// Directory of one package without its dependencies, fetched if necessary.
///
/// # Errors
///
/// When it cannot be fetched or unpacked.
pub(crate) fn unpacked_alone(
    package: &str,
    archive: &Archive,
    arch: &Arch,
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<PathBuf> {
    let download = |apt: &Apt, directory: &Path, what: &str| {
        apt.download(&[package.to_owned()], directory, what)
    };
    fetched(&[package], archive, arch, mirrors, download)
}

fn fetched(
    packages: &[&str],
    archive: &Archive,
    arch: &Arch,
    mirrors: impl FnOnce() -> Result<Mirrors>,
    fetch: impl FnOnce(&Apt, &Path, &str) -> Result<()>,
) -> Result<PathBuf> {
    let parent = workspace::cache("userland").join(arch.name);
    let tree = parent.join(packages.join("-"));
    if !tree.is_dir() {
        let apt = Apt::open(archive, arch, &mirrors()?)?;
        fs::create_dir_all(&parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let download = tempfile::tempdir_in(&parent)?;
        let unpacked = download.path().join("tree");
        fetch(&apt, download.path(), &packages.join(", "))?;
        apt::unpack(download.path(), &unpacked)?;
        fs::rename(&unpacked, &tree)
            .with_context(|| format!("cannot move programs to {}", tree.display()))?;
    }
    Ok(tree)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
