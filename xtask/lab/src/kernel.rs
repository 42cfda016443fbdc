//! Kernels that socktrace is tested on: Debian's builds for virtual machines.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};
use xtask_common::arch::Arch;

use crate::{
    apt::{self, Apt, Archive, Label},
    debian_version,
    mirror::Mirrors,
    process, progress, workspace,
};

/// Suites with most kernels, and with the guest's programs.
pub(crate) const BOOKWORM: Archive = Archive {
    name: "bookworm",
    suites: &[("bookworm", Label::Debian), ("bookworm-security", Label::Security)],
    arches: &["amd64", "arm64"],
};

/// Debian's newest release.
pub(crate) const TRIXIE: Archive =
    Archive { name: "trixie", suites: &[("trixie", Label::Debian)], arches: &["amd64", "arm64"] };

/// Lists kernels for arm64 too, but their files are gone.
const BULLSEYE: Archive = Archive {
    name: "bullseye-security",
    suites: &[("bullseye-security", Label::Security)],
    arches: &["amd64"],
};

/// Debian keeps the kernels that it has backported here longer than it supports them.
const TRIXIE_BACKPORTS: Archive = Archive {
    name: "trixie-backports",
    suites: &[("trixie-backports", Label::Debian)],
    arches: &["amd64", "arm64"],
};

/// A kernel series, and the archive that has it. To add a series, add a line below.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    /// The first two components of its versions.
    pub name: &'static str,
    archive: &'static Archive,
    /// Whether it is tested when no series is named. The others have no long-term support, and lie
    /// between two that are tested.
    in_matrix: bool,
}

/// Every series, oldest first.
pub const ALL: [Series; 11] = [
    Series { name: "5.10", archive: &BULLSEYE, in_matrix: true },
    Series { name: "6.1", archive: &BOOKWORM, in_matrix: true },
    Series { name: "6.12", archive: &BOOKWORM, in_matrix: true },
    Series { name: "6.16", archive: &TRIXIE_BACKPORTS, in_matrix: false },
    Series { name: "6.17", archive: &TRIXIE_BACKPORTS, in_matrix: false },
    Series { name: "6.18", archive: &TRIXIE_BACKPORTS, in_matrix: true },
    Series { name: "6.19", archive: &TRIXIE_BACKPORTS, in_matrix: false },
    Series { name: "7.0", archive: &TRIXIE_BACKPORTS, in_matrix: false },
    Series { name: "7.1", archive: &TRIXIE_BACKPORTS, in_matrix: false },
    Series { name: "7.2", archive: &TRIXIE_BACKPORTS, in_matrix: false },
    Series { name: "7.3", archive: &TRIXIE_BACKPORTS, in_matrix: true },
];

/// Series that are tested on an architecture when none is named, oldest first.
pub fn matrix(arch: &Arch) -> impl Iterator<Item = &'static Series> {
    let name = arch.name;
    ALL.iter().filter(move |series| series.in_matrix && series.archive.arches.contains(&name))
}

/// Series that virtual machines run by default, and the one that is tested most.
pub const DEFAULT: &str = "6.12";

/// Series that differs most from the others. [Scenarios](xtask_common::scope::Scope::Differing) are
/// chosen for it.
pub const DIFFERING: &str = "5.10";

/// Looks up a series by its name.
///
/// # Errors
///
/// When the name is unknown; the message lists the choices.
pub fn series(name: &str) -> Result<&'static Series, String> {
    ALL.iter().find(|series| series.name == name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|series| series.name).collect();
        format!("kernels are {}", names.join(", "))
    })
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its series.
    pub series: &'static str,
    /// Architecture it is for.
    pub arch: &'static Arch,
    /// Name of its Debian package.
    pub package: String,
    tree: PathBuf,
}

impl Kernel {
    /// Returns the newest kernel of a series. Without a network, the newest one that is already
    /// present.
    ///
    /// # Errors
    ///
    /// When none is present and none can be fetched.
    pub fn ensure(
        series: &'static Series,
        arch: &'static Arch,
        mirrors: impl FnOnce() -> Result<Mirrors>,
    ) -> Result<Self> {
        let directory = workspace::cache("kernels").join(arch.name).join(series.name);
        let current = directory.join("current");
        let cached = fs::read_to_string(&current).ok().map(|package| Self {
            series: series.name,
            arch,
            tree: directory.join(&package),
            package,
        });
        let cached = cached.filter(|kernel| kernel.image().is_ok());
        if apt::is_fresh(&current, apt::FRESH)
            && let Some(kernel) = &cached
        {
            return Ok(kernel.clone());
        }
        let kernel = match (fetch(series, arch, &directory, mirrors), cached) {
            (Ok(kernel), _) => kernel,
            (Err(error), Some(kernel)) => {
                progress::note(format_args!(
                    "Cannot look for a newer {} kernel, using {} for a day: {error:#}",
                    series.name, kernel.package
                ));
                kernel
            }
            (Err(error), None) => {
                return Err(error.context(format!("cannot get a {} kernel", series.name)));
            }
        };
        fs::write(&current, &kernel.package)
            .with_context(|| format!("cannot write {}", current.display()))?;
        Ok(kernel)
    }

    /// Its release, as `uname -r` prints it.
    #[must_use]
    pub fn release(&self) -> &str {
        self.package.strip_prefix("linux-image-").unwrap_or(&self.package)
    }

    /// Path of the image that a boot loader loads.
    ///
    /// # Errors
    ///
    /// When it does not exist.
    pub fn image(&self) -> Result<PathBuf> {
        let old = self.tree.join(format!("boot/vmlinuz-{}", self.release()));
        // Since 6.19 it is next to the modules, and installing the package copies it to `boot`.
        let places = [old, self.modules().join("vmlinuz")];
        places
            .into_iter()
            .find(|image| image.is_file())
            .ok_or_else(|| anyhow!("{} has no kernel image", self.package))
    }

    /// Directory of its modules, with their dependencies in `modules.dep`.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        modules(&self.tree, self.release())
    }

    /// Whether it has modules. Debian's archive drops the modules of a kernel it no longer supports
    /// (6.19 to 7.1 at the time of writing) sooner than the signed image.
    #[must_use]
    pub fn has_modules(&self) -> bool {
        self.modules().join("kernel").is_dir()
    }
}

fn modules(tree: &Path, release: &str) -> PathBuf {
    let old = tree.join("lib/modules").join(release);
    if old.is_dir() { old } else { tree.join("usr/lib/modules").join(release) }
}

fn fetch(
    series: &'static Series,
    arch: &'static Arch,
    directory: &Path,
    mirrors: impl FnOnce() -> Result<Mirrors>,
) -> Result<Kernel> {
    let apt = Apt::open(series.archive, arch, &mirrors()?)?;
    let names = apt.names(&format!("^linux-image-{}", series.name.replace('.', "\\.")))?;
    let package = newest(names.iter().map(String::as_str), series.name, arch)
        .ok_or_else(|| anyhow!("{} has no such kernel for {}", series.archive.name, arch.name))?
        .to_owned();
    let tree = directory.join(&package);
    let kernel = Kernel { series: series.name, arch, package, tree };
    if kernel.image().is_ok() {
        return Ok(kernel);
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    // Unpacked in a temporary directory and moved as a whole, so that an interruption leaves no
    // partial tree.
    let download = tempfile::tempdir_in(directory)?;
    let unpacked = download.path().join("tree");
    let what = format!("Linux {}", kernel.release());
    apt.download(&apt.with_parts(&kernel.package)?, download.path(), &what)?;
    let step = progress::step(format_args!("Unpacking {what}"));
    apt::unpack(download.path(), &unpacked)?;
    let fetched = Kernel { tree: unpacked.clone(), ..kernel.clone() };
    // The image may be in a part that the archive no longer has.
    fetched.image()?;
    if fetched.has_modules() {
        // The package leaves this to the machine that it is installed on.
        let depmod = process::find("depmod").context("depmod is missing (package kmod)")?;
        process::output(
            Command::new(depmod).arg("-b").arg(depmod_base(&unpacked)).arg(kernel.release()),
        )?;
    }
    fs::rename(&unpacked, &kernel.tree)
        .with_context(|| format!("cannot move the kernel to {}", kernel.tree.display()))?;
    step.done(format_args!("Unpacked {what}"));
    Ok(kernel)
}

/// depmod looks in `lib/modules` under the directory it is given.
fn depmod_base(tree: &Path) -> PathBuf {
    if tree.join("lib/modules").is_dir() { tree.into() } else { tree.join("usr") }
}

/// The package with a series' newest kernel for virtual machines. Debian builds some series for
/// more than one release. Builds for a release older than the archive's own are ignored, as are
/// unsigned builds and metapackages.
fn newest<'name>(
    names: impl Iterator<Item = &'name str>,
    series: &str,
    arch: &Arch,
) -> Option<&'name str> {
    let version = |name: &'name str| {
        let version = name.strip_prefix("linux-image-")?.strip_suffix(arch.name)?;
        let version = version.strip_suffix("-cloud-")?;
        let patch = version.strip_prefix(series)?.strip_prefix('.')?;
        let number = patch.starts_with(|c: char| c.is_ascii_digit());
        (number && !version.contains(".deb11")).then_some(version)
    };
    names
        .filter_map(|name| Some((name, version(name)?)))
        .max_by(|(_, a), (_, b)| debian_version::compare(a, b))
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 12] = [
        "linux-image-6.1-cloud-amd64",
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64-unsigned",
        "linux-image-6.1.0-0.deb11.99-cloud-amd64",
        "linux-image-6.12.9+deb12-cloud-amd64",
        "linux-image-6.12.117+deb12-cloud-amd64",
        "linux-image-6.12.117+deb12-cloud-amd64-dbg",
        "linux-image-5.10.0-46-cloud-amd64",
        "linux-image-cloud-amd64",
        "linux-image-6.12.118+deb12-cloud-arm64",
    ];

    #[test]
    fn newest_build_of_each_series_is_chosen() {
        let newest_for = |arch, series| {
            newest(NAMES.into_iter(), series, Arch::named(arch).expect("an architecture"))
        };
        let newest = |series| newest_for("amd64", series);
        assert_eq!(newest("5.10"), Some("linux-image-5.10.0-46-cloud-amd64"));
        assert_eq!(newest("6.1"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12"), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("6.18"), None);
        assert_eq!(newest_for("arm64", "6.12"), Some("linux-image-6.12.118+deb12-cloud-arm64"));
        assert_eq!(newest_for("arm64", "6.1"), None);
    }

    #[test]
    fn unknown_series_are_answered_with_the_choices() {
        assert_eq!(series("6.1").map(|series| series.name), Ok("6.1"));
        let choices = series("4.4").expect_err("4.4 is too old");
        assert!(choices.starts_with("kernels are 5.10, 6.1, "), "{choices}");
    }
}
