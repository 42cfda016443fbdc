//! The kernels' BTF in the tree, reduced to what socktrace looks up in it.
//!
//! One file for each series, named after the kernel that it was taken from.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use socktrace_plan::{btf::Btf, subject};
use xtask_common::arch::Arch;

use crate::{
    kernel::{self, Series},
    mirror::MirrorArgs,
    prepare,
    setup::Setup,
    vmlinux, workspace,
};

const EXTENSION: &str = "btf";

/// BTF of a kernel.
pub struct Captured {
    /// The kernel's series.
    pub series: &'static Series,
    /// Release of the kernel, as `uname -r` prints it.
    pub release: String,
    /// The BTF.
    pub btf: Btf,
}

impl Captured {
    /// Reads the complete BTF of a series' newest kernel.
    ///
    /// # Errors
    ///
    /// When no such kernel is present or can be fetched, or it has no readable BTF.
    pub fn fetch(series: &'static Series, setup: &Setup, mirrors: &MirrorArgs) -> Result<Self> {
        let kernel = prepare::kernel(series, Arch::AMD64, setup, mirrors)?;
        let release = kernel.release().to_owned();
        let btf = Btf::parse(vmlinux::btf(&kernel)?)
            .with_context(|| format!("cannot read the BTF of {release}"))?;
        Ok(Self { series, release, btf })
    }
}

/// Reads every file of the tree, in the order of the series.
///
/// # Errors
///
/// When a file cannot be read, or belongs to no known series.
pub fn all() -> Result<Vec<Captured>> {
    let mut captured = Vec::new();
    for path in files()? {
        let shown = path.display();
        let release = path.file_stem().context("no name")?.to_string_lossy().into_owned();
        let series = kernel::ALL
            .iter()
            .find(|series| is_of(&release, series))
            .with_context(|| format!("{shown} is of no series in xtask/lab/src/kernel.rs"))?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
        let btf = Btf::parse(bytes).with_context(|| format!("cannot read {shown}"))?;
        captured.push(Captured { series, release, btf });
    }
    let place = |found: &Captured| kernel::ALL.iter().position(|series| series == found.series);
    captured.sort_by_key(place);
    Ok(captured)
}

/// Replaces the file of a series, and returns the size of the new one in bytes.
///
/// # Errors
///
/// When it cannot be written, or the reduced BTF answers a query differently than the complete one.
pub fn renew(captured: &Captured) -> Result<usize> {
    let subjects = subject::all();
    let bytes = captured.btf.reduced(&subjects);
    let size = bytes.len();
    let reduced = Btf::parse(bytes.clone()).context("the reduced BTF cannot be read")?;
    for subject in subjects {
        let (whole, reduced) = (subject.describe(&captured.btf), subject.describe(&reduced));
        if whole != reduced {
            bail!("{subject} is {whole:?}, but {reduced:?} in the reduced BTF");
        }
    }
    for old in files()? {
        let release = old.file_stem().unwrap_or_default().to_string_lossy();
        if is_of(&release, captured.series) {
            fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    let path = directory().join(format!("{}.{EXTENSION}", captured.release));
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(size)
}

fn directory() -> PathBuf {
    workspace::root().join("socktrace/plan/fixtures")
}

fn files() -> Result<Vec<PathBuf>> {
    let directory = directory();
    let read = || {
        fs::create_dir_all(&directory)?;
        let entries = fs::read_dir(&directory)?.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, std::io::Error>(entries.into_iter().map(|entry| entry.path()))
    };
    let paths = read().with_context(|| format!("cannot read {}", directory.display()))?;
    Ok(paths.filter(|path| path.extension().is_some_and(|found| found == EXTENSION)).collect())
}

fn is_of(release: &str, series: &Series) -> bool {
    release.strip_prefix(series.name).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_of_its_series_only() {
        let series = |name| kernel::series(name).unwrap();
        assert!(is_of("6.1.0-56-cloud-amd64", series("6.1")));
        assert!(!is_of("6.12.117+deb12-cloud-amd64", series("6.1")));
    }

    #[test]
    fn every_series_of_the_matrix_is_in_the_tree() {
        let found: Vec<_> = all().unwrap().iter().map(|captured| captured.series.name).collect();
        for series in kernel::matrix(Arch::AMD64) {
            assert!(found.contains(&series.name), "run: cargo xtask btf capture");
        }
    }
}
