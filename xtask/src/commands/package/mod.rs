//! Packages of the daemon for Debian, Red Hat and their derivatives.

mod chart;
mod check;
mod containers;
mod twice;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use socktrace_lab::{
    packages::{bill, deb, rpm, stage::Stage},
    setup::Need,
    workspace,
};
use xtask_common::arch::Arch;

use crate::cli::PackageArgs;

/// Makes the packages, and prints their paths.
///
/// # Errors
///
/// When something cannot be installed, compiled or packed, or a package has a defect.
pub(crate) fn run(args: &PackageArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    setup.ensure(&[Need::Build, Need::Target(args.arch), Need::Packages])?;
    if args.check {
        setup.ensure(&[Need::PackageChecks])?;
        containers::check_manifests()?;
        chart::check(&setup)?;
    }
    let _lock = workspace::lock_caches()?;
    let stage = Stage::lay(args.arch)?;
    let deb = deb::build(&stage)?;
    println!("{}", deb.display());
    println!("{}", bill::path(&stage).display());
    if args.check {
        check::deb(&deb, stage.arch)?;
        check::bill(&stage)?;
    }
    let mut made = vec![deb, bill::path(&stage), stage.root.join("socktrace")];
    // Not every machine has Red Hat's tools.
    if let Some(rpm) = rpm::build(&stage)? {
        println!("{}", rpm.display());
        if args.check {
            check::rpm(&rpm)?;
        }
        made.push(rpm);
    } else {
        eprintln!("No rpmbuild here (package rpm): no .rpm");
    }
    if args.check {
        containers::check_image(&stage)?;
    }
    if args.twice {
        twice::check(&stage, &made)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the package for this machine's Debian, and a newer version of it with a different
/// configuration.
///
/// # Errors
///
/// When something cannot be compiled or packed.
pub(crate) fn versions() -> Result<Vec<PathBuf>> {
    let stage = Stage::lay(Arch::OWN)?;
    let package = deb::build(&stage)?;
    let directory = stage.output().join("newer");
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    let newer = check::newer(&package, &directory)?;
    Ok(vec![package, newer])
}
