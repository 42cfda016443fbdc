//! A complete Debian system for guests, with systemd as its init. Like the small system of other
//! guests, it is an archive that the kernel unpacks into memory.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask_common::arch::Arch;

use crate::{
    apt::{self, Archive},
    archive,
    cpio::Cpio,
    kernel::{BOOKWORM, Series, TRIXIE},
    mirror::Mirrors,
    process, progress,
    setup::as_root,
    workspace,
};

/// Kernel series of Debian 12 and of Debian 13.
pub const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Argument of the kernel that makes systemd the init of a guest.
pub const INIT: &str = "rdinit=/lib/systemd/systemd";

/// Version of the archive's content. Increase it when the content changes, but none of the
/// constants here that the archive's name is derived from.
const FORMAT: u32 = 1;

/// Purpose of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the package as a service, next to other services.
    Service,
    /// Runs containers with Podman.
    Containers,
}

impl Role {
    /// Packages in addition to the essential ones.
    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Service => {
                &["curl", "dbus", "iproute2", "kmod", "nginx", "systemd", "systemd-sysv"]
            }
            Self::Containers => {
                &["crun", "dbus", "iproute2", "nftables", "podman", "systemd", "systemd-sysv"]
            }
        }
    }

    /// Files to omit in addition to [`LEFT_OUT`]: Podman's own tests, and the network setup of its
    /// older versions.
    const fn left_out(self) -> &'static [&'static str] {
        match self {
            Self::Service => &[],
            Self::Containers => &["./usr/lib/cni/*", "./usr/libexec/podman/podman-testing"],
        }
    }
}

/// Files that nobody reads there, and the settings of the apt that installed the system.
const LEFT_OUT: [&str; 7] = [
    "./etc/apt",
    "./usr/share/doc/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/cache/*/*",
    "./var/lib/apt/lists/*",
];

/// Service that runs the guest's job once everything else is up.
const JOB: &str = "\
[Unit]
Description=The guest's job
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/init job
";

/// Units that would take over the console or most of the start-up time, and a server that scenarios
/// start themselves.
const MASKED: [&str; 6] = [
    "ldconfig.service",
    "netavark-dhcp-proxy.service",
    "netavark-dhcp-proxy.socket",
    "nginx.service",
    "serial-getty@.service",
    "systemd-journal-catalog-update.service",
];

/// Directory of units.
const UNITS: &str = "/etc/systemd/system";

/// Whether containers are tested on the system that has kernels of this series. The Podman of
/// Debian 12 uses a different kind of firewall.
#[must_use]
pub fn runs_containers(series: &Series) -> bool {
    *release(series) == TRIXIE
}

/// Debian release with kernels of this series, or of one close to it.
fn release(series: &Series) -> &'static Archive {
    match series.name {
        "5.10" | "6.1" => &BOOKWORM,
        _ => &TRIXIE,
    }
}

/// Archive of the system with kernels of this series, or of one close to it.
///
/// # Errors
///
/// When its packages cannot be fetched or installed, or the archive cannot be written.
pub fn archive(
    series: &Series,
    role: Role,
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<PathBuf> {
    let release = release(series);
    let mut hasher = DefaultHasher::new();
    (FORMAT, role.packages(), role.left_out(), LEFT_OUT, JOB, MASKED).hash(&mut hasher);
    let (name, arch) = (release.name, Arch::OWN.name);
    archive::cached(&format!("{name}-{arch}-{:016x}", hasher.finish()), |file| {
        let what = format!("Debian for guests ({name} {arch})");
        let step = progress::step(format_args!("Installing {what}"));
        install(release, role, &mirrors()?, file.path())
            .and_then(|()| add_job(file.path()))
            .with_context(|| format!("cannot make a Debian system ({name} {arch})"))?;
        step.done(format_args!("Installed {what}"));
        Ok(())
    })
}

/// Tar archive of Debian 12 with only the essential packages and these.
///
/// # Errors
///
/// Same as [`archive()`].
pub fn bare(
    packages: &[&str],
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<tempfile::NamedTempFile> {
    let step = progress::step("Installing a bare Debian");
    let tar = packed(&BOOKWORM, packages, &mirrors()?)?;
    step.done("Installed a bare Debian");
    Ok(tar)
}

/// Installs Debian, and writes it to an archive.
fn install(release: &Archive, role: Role, mirrors: &Mirrors, path: &Path) -> Result<()> {
    let tar = packed(release, role.packages(), mirrors)?;
    let mut bsdtar = Command::new("bsdtar");
    bsdtar.args(["-c", "--format", "newc", "-f"]).arg(path);
    let left_out = LEFT_OUT.iter().chain(role.left_out());
    bsdtar.args(left_out.map(|pattern| format!("--exclude={pattern}")));
    process::output(bsdtar.arg(format!("@{}", tar.path().display()))).map(drop)
}

/// Tar archive of Debian with these packages.
fn packed(
    release: &Archive,
    packages: &[&str],
    mirrors: &Mirrors,
) -> Result<tempfile::NamedTempFile> {
    let tar = tempfile::NamedTempFile::new_in(workspace::cache(""))?;
    let mut mmdebstrap = as_root("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=essential"]);
    mmdebstrap.arg(format!("--include={}", packages.join(",")));
    mmdebstrap.args(apt::host_settings()?.iter().map(|setting| format!("--aptopt={setting}")));
    mmdebstrap.args([release.name, "-"]).args(release.sources(Arch::OWN, mirrors));
    // The output is not captured, as it is the archive.
    let status = mmdebstrap.stdin(Stdio::null()).stdout(tar.reopen()?).status()?;
    ensure!(status.success(), "mmdebstrap failed ({status})");
    Ok(tar)
}

/// Adds the service that runs the job to a system.
fn add_job(path: &Path) -> Result<()> {
    let file = fs::OpenOptions::new().append(true).open(path)?;
    let mut cpio = Cpio::new(BufWriter::new(file));
    cpio.file("/etc/hostname", 0o644, b"guest\n")?;
    cpio.file(&format!("{UNITS}/guest.service"), 0o644, JOB.as_bytes())?;
    cpio.link(&format!("{UNITS}/multi-user.target.wants/guest.service"), "../guest.service")?;
    for unit in MASKED {
        cpio.link(&format!("{UNITS}/{unit}"), "/dev/null")?;
    }
    cpio.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}
