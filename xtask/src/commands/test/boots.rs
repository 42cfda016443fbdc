//! Boots to make, and the programs in each.

use std::path::PathBuf;

use anyhow::Result;
use socktrace_lab::{
    debian_system,
    initramfs::GuestPrograms,
    kernel::{self, Series},
    prepare::{self, BootFiles},
    qemu::{Accelerator, Mode},
};
use xtask_common::{job, scope::Scope};

use super::catalogue::Catalogue;
use crate::{cli::TestArgs, commands::package};

/// A boot to make.
pub(super) struct PlannedBoot {
    pub(super) files: BootFiles,
    pub(super) programs: GuestPrograms,
    /// Name in options.
    pub(super) name: &'static str,
    /// Part of the scenarios that runs in this boot, and the number of parts.
    pub(super) part: (usize, usize),
    pub(super) mode: Mode,
    /// Text to append to the kernel's command line.
    pub(super) append: &'static str,
    pub(super) accelerator: Accelerator,
    /// Archive with Prometheus, if the guest needs it.
    pub(super) prometheus: Option<PathBuf>,
    /// Scope of the scenarios that run in it.
    pub(super) scope: Scope,
    /// Estimated duration. The longest boots start first, so that all processors finish at about
    /// the same time.
    pub(super) seconds: u32,
}

impl PlannedBoot {
    /// Name in reports.
    pub(super) fn label(&self) -> String {
        match self.part {
            (_, 1) => self.name.to_owned(),
            (part, _) => format!("{}{part}", self.name),
        }
    }
}

/// Prepares a kernel's boots that have scenarios to run, except those with the package.
///
/// # Errors
///
/// When something cannot be fetched, installed or compiled.
pub(super) fn sockets(
    args: &TestArgs,
    series: &'static Series,
    programs: &GuestPrograms,
    catalogue: &Catalogue,
) -> Result<Vec<PlannedBoot>> {
    let scope = scope(args, series);
    let has = |boot: &str| !args.system && catalogue.has(boot, scope, &args.scenarios);
    if !SOCKETS.into_iter().any(has) {
        return Ok(Vec::new());
    }
    let setup = args.no_setup.setup();
    let files = prepare::boot_files(series, args.arch, &setup, &args.mirrors)?;
    let accelerator = prepare::accelerator(&files, programs)?;
    let planned = |name, mode, accelerator, append| PlannedBoot {
        files: files.clone(),
        programs: programs.clone(),
        name,
        part: (1, 1),
        mode,
        append,
        accelerator,
        prometheus: None,
        scope,
        seconds: seconds(name, scope),
    };
    let [smp, icount, odd, scrape] = SOCKETS;
    let mut boots = vec![
        planned(smp, Mode::Smp, accelerator, ""),
        planned(icount, Mode::Icount, Accelerator::Tcg, ""),
        planned(odd, Mode::Smp4, accelerator, "ipv6.disable=1"),
        planned(scrape, Mode::Icount, Accelerator::Tcg, ""),
    ];
    boots.retain(|boot| has(boot.name));
    if scope > Scope::Quick
        && args.scenarios.is_empty()
        && let Some(first) = boots.iter_mut().find(|boot| boot.name == smp)
    {
        let mut second = planned(smp, Mode::Smp, accelerator, "");
        for (boot, part) in [(first, 1), (&mut second, 2)] {
            boot.part = (part, 2);
            boot.seconds /= 2;
        }
        boots.push(second);
    }
    if let Some(boot) = boots.iter_mut().find(|boot| boot.name == scrape) {
        boot.prometheus = Some(prepare::prometheus(args.arch, &setup, &args.mirrors)?);
    }
    Ok(boots)
}

/// Prepares a kernel's boots with systemd, if it has any. The first boot that installs `packages`
/// makes them, and later ones share them, because the first one may still be reading them.
///
/// # Errors
///
/// Same as [`sockets`].
pub(super) fn system(
    args: &TestArgs,
    series: &'static Series,
    programs: &GuestPrograms,
    catalogue: &Catalogue,
    packages: &mut Vec<PathBuf>,
) -> Result<Vec<PlannedBoot>> {
    let scope = scope(args, series);
    let has = |boot: &str| {
        has_system(args, series)
            && (boot != CONTAINER || has_containers(args, series))
            && catalogue.has(boot, scope, &args.scenarios)
    };
    if ![SYSTEM, CONTAINER].into_iter().any(has) {
        return Ok(Vec::new());
    }
    let setup = args.no_setup.setup();
    let files = prepare::boot_files(series, args.arch, &setup, &args.mirrors)?;
    let accelerator = prepare::accelerator(&files, programs)?;
    let planned = |name, (files, programs)| PlannedBoot {
        accelerator,
        files,
        programs,
        name,
        part: (1, 1),
        mode: Mode::Smp,
        append: debian_system::INIT,
        prometheus: None,
        scope,
        seconds: seconds(name, scope),
    };
    let mut boots = Vec::new();
    if has(CONTAINER) {
        let made = prepare::containers(series, programs, &setup, &args.mirrors)?;
        boots.push(planned(CONTAINER, made));
    }
    if has(SYSTEM) {
        let packages = || {
            if packages.is_empty() {
                *packages = package::versions()?;
            }
            Ok(packages.clone())
        };
        let made = prepare::system(series, programs, packages, &setup, &args.mirrors)?;
        boots.push(planned(SYSTEM, made));
    }
    Ok(boots)
}

/// Fetches what boots of these kernels need, apart from our own programs.
pub(super) fn fetch(args: &TestArgs, kernels: &[&'static Series]) {
    let setup = args.no_setup.setup();
    for series in kernels {
        // An error here occurs again when the boot is prepared, and is reported there.
        drop(prepare::boot_files(series, args.arch, &setup, &args.mirrors));
    }
}

/// Boots in which sockets fail, by their names in the catalogue.
const SOCKETS: [&str; 4] = ["smp", "icount", "odd", "scrape"];

/// Boot with systemd.
const SYSTEM: &str = "system";

/// Boot with systemd and Podman.
const CONTAINER: &str = "container";

/// Estimated duration of a boot.
fn seconds(boot: &str, scope: Scope) -> u32 {
    match (boot, scope) {
        (SYSTEM, Scope::Quick) => 100,
        (SYSTEM, _) => 220,
        ("smp", Scope::Quick) => 90,
        ("smp", _) => 400,
        (CONTAINER, _) => 100,
        ("icount", Scope::Quick) => 40,
        ("icount", _) => 120,
        ("scrape", _) => 60,
        _ => 30,
    }
}

/// Scope of the scenarios that a kernel is tested with. A kernel or a scenario named on the command
/// line is tested in full.
fn scope(args: &TestArgs, series: &Series) -> Scope {
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty();
    match series.name {
        _ if args.quick => Scope::Quick,
        _ if args.full || picked => Scope::Full,
        kernel::DEFAULT => Scope::Whole,
        kernel::DIFFERING if args.ci => Scope::Differing,
        _ => Scope::Quick,
    }
}

/// Whether the package is tested on a kernel. If that is requested, one kernel for each Debian
/// release is used unless others are named.
fn has_system(args: &TestArgs, series: &Series) -> bool {
    if !args.arch.is_own() || args.attach.is_some() || args.quick {
        return false;
    }
    let picked = args.full || !args.kernels.is_empty();
    let asked_for = args.ci || args.system || picked && args.scenarios.is_empty();
    (asked_for || args.scenarios.iter().any(|name| is_of_system(name)))
        && (picked || debian_system::KERNELS.contains(&series.name))
}

/// Whether the image is also tested on a kernel on which the package may be. The tests that a
/// change has to pass omit the image: building and booting the system with Podman takes as long as
/// many scenarios.
fn has_containers(args: &TestArgs, series: &Series) -> bool {
    !args.ci && debian_system::runs_containers(series)
}

fn is_of_system(scenario: &str) -> bool {
    scenario.starts_with(job::SYSTEM_SCENARIO)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use socktrace_lab::kernel;

    fn parse(words: &[&str]) -> TestArgs {
        let words = ["xtask", "test"].into_iter().chain(words.iter().copied());
        let Command::Test(args) = Cli::parse_from(words).command else { panic!("no test") };
        args
    }

    #[test]
    fn one_kernel_is_tested_as_a_whole_by_default() {
        use Scope::{Differing, Full, Quick, Whole};
        let scopes = |words: &[&str]| {
            let args = parse(words);
            kernel::matrix(args.arch).map(|series| scope(&args, series)).collect::<Vec<_>>()
        };
        assert_eq!(scopes(&[]), [Quick, Quick, Whole, Quick, Quick]);
        assert_eq!(scopes(&["--ci"]), [Differing, Quick, Whole, Quick, Quick]);
        for all in [&["--full"][..], &["--kernel", "6.1"], &["--scenario", "storm"]] {
            assert_eq!(scopes(all), [Full; 5]);
        }
        assert_eq!(scopes(&["--quick", "--kernel", "6.1"]), [Quick; 5]);
        assert_eq!(scopes(&["--arch", "arm64"]), [Quick, Whole, Quick, Quick]);
    }

    #[test]
    fn the_package_is_tried_in_each_debian() {
        let with_system = |words: &[&str]| {
            let args = parse(words);
            let matrix = kernel::matrix(args.arch).filter(|series| has_system(&args, series));
            matrix.map(|series| series.name).collect::<Vec<_>>()
        };
        for of_each_debian in [&["--ci"][..], &["--system"], &["--scenario", "system_start"]] {
            assert_eq!(with_system(of_each_debian), ["6.1", "6.12"]);
        }
        assert_eq!(with_system(&["--full"]).len(), 5);
        for without in [
            &[][..],
            &["--scenario", "storm"],
            &["--full", "--scenario", "storm"],
            &["--attach", "kprobe"],
            &["--arch", "arm64"],
        ] {
            assert_eq!(with_system(without), [""; 0]);
        }
    }

    #[test]
    fn the_image_is_tried_where_debian_has_a_new_podman() {
        let with_image = |words: &[&str]| {
            let args = parse(words);
            let has = |series: &&Series| has_system(&args, series) && has_containers(&args, series);
            kernel::matrix(args.arch).filter(has).map(|series| series.name).collect::<Vec<_>>()
        };
        for on_one in [&["--system"][..], &["--scenario", "system_container"]] {
            assert_eq!(with_image(on_one), ["6.12"]);
        }
        assert_eq!(with_image(&["--full"]), ["6.12", "6.18", "7.3"]);
        for without in [&["--ci"][..], &[]] {
            assert_eq!(with_image(without), [""; 0]);
        }
    }
}
