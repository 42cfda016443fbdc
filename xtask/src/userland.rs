//! The few programs of a guest, from Debian's packages: a shell, and the tools that set up networks.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    apt::{self, Apt},
    cpio::Cpio,
    kernel::BOOKWORM,
    mirror::Mirrors,
    process, workspace,
};

const PACKAGES: [&str; 4] = ["bash", "busybox-static", "iproute2", "nftables"];

/// Programs with the libraries they need. Everything else in the packages stays out.
const PROGRAMS: [&str; 5] = ["bin/bash", "bin/ip", "bin/ss", "sbin/tc", "usr/sbin/nft"];

const BUSYBOX: &str = "bin/busybox";
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// The unpacked packages.
#[derive(Debug)]
pub(crate) struct Userland {
    tree: PathBuf,
}

impl Userland {
    /// The packages, fetched if they are not here yet.
    ///
    /// # Errors
    ///
    /// When they cannot be fetched or unpacked.
    pub(crate) fn ensure(mirrors: impl FnOnce() -> Result<Mirrors>) -> Result<Self> {
        let parent = workspace::cache("userland");
        let tree = parent.join(PACKAGES.join("-"));
        if !tree.is_dir() {
            let apt = Apt::open(&BOOKWORM, &mirrors()?)?;
            eprintln!("Fetching the guest's programs: {}", PACKAGES.join(", "));
            fs::create_dir_all(&parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
            let download = tempfile::tempdir_in(&parent)?;
            let unpacked = download.path().join("tree");
            apt.download_closure(&PACKAGES, download.path())?;
            apt::unpack(download.path(), &unpacked)?;
            fs::rename(&unpacked, &tree).with_context(|| {
                format!("cannot move the guest's programs to {}", tree.display())
            })?;
        }
        Ok(Self { tree })
    }

    /// Adds the programs and their libraries to an archive.
    ///
    /// # Errors
    ///
    /// When a program or library is missing, or the archive cannot be written.
    pub(crate) fn add_to<W: Write>(&self, cpio: &mut Cpio<W>) -> Result<()> {
        cpio.directory("/bin")?;
        // One directory of programs under all its customary names.
        for (link, target) in [("/sbin", "bin"), ("/usr/bin", "../bin"), ("/usr/sbin", "../bin")] {
            cpio.link(link, target)?;
        }
        self.add_busybox(cpio)?;
        // Busybox's own shell would take busybox's `ip` for the real one.
        cpio.link("/bin/sh", "bash")?;
        let mut libraries = BTreeSet::new();
        for program in PROGRAMS {
            let path = self.tree.join(program);
            let name = program.rsplit('/').next().unwrap_or(program);
            cpio.file(&format!("/bin/{name}"), 0o755, &read(&path)?)?;
            libraries.extend(self.libraries(&path)?);
        }
        cpio.file(&format!("/{LOADER}"), 0o755, &read(&self.tree.join(LOADER))?)?;
        for library in libraries {
            let name = library.file_name().unwrap_or_default().to_string_lossy();
            cpio.file(&format!("/{}/{name}", LIBRARIES[0]), 0o644, &read(&library)?)?;
        }
        Ok(())
    }

    fn add_busybox<W: Write>(&self, cpio: &mut Cpio<W>) -> Result<()> {
        let busybox = self.tree.join(BUSYBOX);
        cpio.file("/bin/busybox", 0o755, &read(&busybox)?)?;
        let applets = process::output(Command::new(&busybox).arg("--list"))?;
        for applet in applets.lines() {
            // The real programs do more than busybox's.
            if !matches!(applet, "busybox" | "ip" | "sh" | "ss" | "tc") {
                cpio.link(&format!("/bin/{applet}"), "busybox")?;
            }
        }
        Ok(())
    }

    /// The libraries a program loads, asked of the guest's own dynamic loader.
    fn libraries(&self, program: &Path) -> Result<Vec<PathBuf>> {
        let paths = LIBRARIES.map(|path| self.tree.join(path).display().to_string());
        let mut loader = Command::new(self.tree.join(LOADER));
        let listed = process::output(
            loader.arg("--library-path").arg(paths.join(":")).arg("--list").arg(program),
        )?;
        let found = listed.lines().filter_map(|line| {
            let path = line.split_once("=>")?.1.split_whitespace().next()?;
            path.starts_with('/').then(|| path.into())
        });
        Ok(found.filter(|path: &PathBuf| path.starts_with(&self.tree)).collect())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
