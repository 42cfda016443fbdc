//! Other tools that watch TCP, from Debian's packages, to compare measurements of socktrace with.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xtask_common::arch::Arch;

use crate::{archive, cpio::Cpio, elf, kernel::TRIXIE, mirror::Mirrors, userland};

/// Packages with the tools, from a newer release than the guest's other programs.
const PACKAGES: [&str; 2] = ["bpftrace", "libbpf-tools"];

const PROGRAMS: [&str; 5] = [
    "usr/bin/bpftrace",
    "usr/sbin/tcptracer-libbpf",
    "usr/sbin/tcpstates-libbpf",
    "usr/sbin/tcplife-libbpf",
    "usr/sbin/tcpconnlat-libbpf",
];

/// Version of the archive's content. Increase it when that changes.
const FORMAT: u32 = 1;

/// Archive with the tools and their libraries, all in `/peers` of a guest. The tools need that
/// directory as their root, because they use a newer C library than the guest's other programs.
///
/// # Errors
///
/// When they cannot be fetched, or the archive cannot be written.
pub(crate) fn archive(
    arch: &'static Arch,
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<PathBuf> {
    archive::cached(&format!("peers-{}-{FORMAT}", arch.name), |file| {
        let tree = userland::unpacked(&PACKAGES, &TRIXIE, arch, mirrors)?;
        write(file.as_file(), &tree, arch)
    })
}

fn write(file: &File, tree: &Path, arch: &Arch) -> Result<()> {
    let read =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let libraries_in = [tree.join("usr/lib").join(arch.gnu)];
    let mut libraries = BTreeSet::new();
    let mut cpio = Cpio::new(BufWriter::new(file));
    for program in PROGRAMS {
        let path = tree.join(program);
        let name = program.rsplit('/').next().unwrap_or(program);
        cpio.file(&format!("/peers/bin/{name}"), 0o755, &read(&path)?)?;
        libraries.extend(elf::libraries(&path, &libraries_in)?);
    }
    for library in libraries {
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        cpio.file(&format!("/peers/lib/{}/{name}", arch.gnu), 0o755, &read(&library)?)?;
    }
    let name = arch.loader.rsplit('/').next().unwrap_or(arch.loader);
    cpio.link(&format!("/peers{}", arch.loader), &format!("/lib/{}/{name}", arch.gnu))?;
    for directory in ["/peers/dev", "/peers/proc", "/peers/sys", "/peers/tmp"] {
        cpio.directory(directory)?;
    }
    cpio.finish()?.into_inner().map_err(io::IntoInnerError::<BufWriter<&File>>::into_error)?;
    Ok(())
}
