//! Packages for cargo's registry.

mod bare;

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, ExitCode},
};

use anyhow::{Result, ensure};
use socktrace_lab::{
    packages::{
        registry::{self, PROGRAMS},
        stage::VERSION,
    },
    process,
    setup::Need,
    workspace,
};

use crate::cli::CratesArgs;

/// Makes the packages, and prints their paths.
///
/// # Errors
///
/// When something cannot be installed, compiled or packed, or a package has a defect.
pub(crate) fn run(args: &CratesArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    setup.ensure(&[Need::Build])?;
    let _lock = workspace::lock_caches()?;
    let names = registry::make()?;
    for name in &names {
        println!("{}", registry::file(name).display());
    }
    if args.check {
        let programs = check_programs()?;
        bare::check(&names, &programs, &setup, &args.mirrors)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that the kernel programs in the daemon's package match a fresh build from the sources.
/// Returns them by the names of their files.
fn check_programs() -> Result<BTreeMap<String, Vec<u8>>> {
    let again = registry::directory().join("again");
    if again.exists() {
        fs::remove_dir_all(&again)?;
    }
    let made: BTreeMap<_, _> =
        registry::programs(|architecture| again.join(architecture))?.into_iter().collect();
    let inside = format!("socktrace-{VERSION}/{PROGRAMS}/");
    let tar = |option: &str| {
        let mut tar = Command::new("tar");
        tar.arg(option).arg(registry::file("socktrace"));
        tar
    };
    let listed = process::output(&mut tar("-tzf"))?;
    let packed: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix(&inside)).collect();
    let names: Vec<_> = made.keys().map(String::as_str).collect();
    ensure!(packed == names, "the package has the kernel programs {packed:?}, and not {names:?}");
    for (name, bytes) in &made {
        let packed = process::raw_output(tar("-xOzf").arg(format!("{inside}{name}")))?;
        ensure!(packed == *bytes, "the package has other kernel programs {name} than the sources");
        println!("ok   kernel programs {name}");
    }
    fs::remove_dir_all(&again)?;
    Ok(made)
}
