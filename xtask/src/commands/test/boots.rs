//! Which machines are booted, with which programs in them.

use std::path::PathBuf;

use anyhow::Result;
use xtask::job;

use super::catalogue::Catalogue;
use crate::{
    cli::TestArgs,
    debian_system,
    initramfs::Programs,
    kernel::{Place, Series},
    lab::{self, Bench},
    qemu::{Accelerator, Mode},
};

/// One boot to be made.
pub(super) struct Planned {
    pub(super) bench: Bench,
    pub(super) programs: Programs,
    /// The name in reports and options.
    pub(super) name: &'static str,
    pub(super) mode: Mode,
    /// More words for the kernel's command line.
    pub(super) append: &'static str,
    pub(super) accelerator: Accelerator,
    /// Put into the guest.
    pub(super) prometheus: Option<PathBuf>,
    /// Whether only the quick scenarios run in it.
    pub(super) quick: bool,
}

/// Makes everything ready for a kernel's boots that have something to do.
///
/// # Errors
///
/// When something cannot be fetched, installed or compiled.
pub(super) fn prepare(
    args: &TestArgs,
    series: &'static Series,
    programs: &Programs,
    catalogue: &Catalogue,
) -> Result<Vec<Planned>> {
    let quick = is_quick(args, series);
    let has = |boot: &str| !args.system && catalogue.has(boot, quick, &args.scenarios);
    let has_system = has_system(args, series) && catalogue.has(SYSTEM, quick, &args.scenarios);
    if !has_system && !SOCKETS.into_iter().any(has) {
        return Ok(Vec::new());
    }
    let setup = args.no_setup.setup();
    let bench = lab::bench(series, args.arch, &setup, &args.mirrors)?;
    let accelerator = lab::accelerator(&bench, programs)?;
    let planned = |name, mode, accelerator, append| Planned {
        bench: bench.clone(),
        programs: programs.clone(),
        name,
        mode,
        append,
        accelerator,
        prometheus: None,
        quick,
    };
    let [smp, icount, odd, scrape] = SOCKETS;
    let mut boots = vec![
        planned(smp, Mode::Smp, accelerator, ""),
        planned(icount, Mode::Icount, Accelerator::Tcg, ""),
        planned(odd, Mode::Smp, accelerator, "ipv6.disable=1"),
        planned(scrape, Mode::Icount, Accelerator::Tcg, ""),
    ];
    boots.retain(|boot| has(boot.name));
    if let Some(boot) = boots.iter_mut().find(|boot| boot.name == scrape) {
        boot.prometheus = Some(lab::prometheus(args.arch, &setup, &args.mirrors)?);
    }
    if has_system {
        let (bench, programs) = lab::system(series, programs, &setup, &args.mirrors)?;
        let planned = planned(SYSTEM, Mode::Smp, accelerator, debian_system::INIT);
        boots.push(Planned { bench, programs, ..planned });
    }
    Ok(boots)
}

/// Boots in which sockets fail, as the catalogue calls them.
const SOCKETS: [&str; 4] = ["smp", "icount", "odd", "scrape"];

/// The boot with systemd.
const SYSTEM: &str = "system";

/// Whether a kernel is tested with the quick scenarios only. A kernel or a scenario that was asked
/// for by name is tested in full.
fn is_quick(args: &TestArgs, series: &Series) -> bool {
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty();
    args.quick || (series.place == Place::Quick && !args.full && !picked)
}

/// Whether the package is tried on a kernel. One for each Debian is enough unless told otherwise.
fn has_system(args: &TestArgs, series: &Series) -> bool {
    if !args.arch.is_own() || args.attach.is_some() || args.quick {
        return false;
    }
    let asked_for =
        args.scenarios.is_empty() || args.scenarios.iter().any(|name| is_of_system(name));
    let picked = args.full || !args.kernels.is_empty();
    asked_for && (picked || debian_system::KERNELS.contains(&series.name))
}

fn is_of_system(scenario: &str) -> bool {
    scenario.starts_with(job::SYSTEM_SCENARIO)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        kernel,
    };

    fn parse(words: &[&str]) -> TestArgs {
        let words = ["xtask", "test"].into_iter().chain(words.iter().copied());
        let Command::Test(args) = Cli::parse_from(words).command else { panic!("no test") };
        args
    }

    #[test]
    fn few_kernels_are_tested_in_full_unless_told_otherwise() {
        let in_full = |words: &[&str]| {
            let args = parse(words);
            let matrix = kernel::matrix(args.arch).filter(|series| !is_quick(&args, series));
            matrix.map(|series| series.name).collect::<Vec<_>>()
        };
        assert_eq!(in_full(&[]), ["5.10", "6.12"]);
        let all = in_full(&["--full"]);
        assert_eq!(all, ["5.10", "6.1", "6.12", "6.18", "7.3"]);
        assert_eq!(in_full(&["--kernel", "6.1"]), all);
        assert_eq!(in_full(&["--scenario", "storm"]), all);
        assert_eq!(in_full(&["--quick", "--kernel", "6.1"]), [""; 0]);
        assert_eq!(in_full(&["--arch", "arm64"]), ["6.12"]);
        assert_eq!(in_full(&["--arch", "arm64", "--full"]), all[1..]);
    }

    #[test]
    fn the_package_is_tried_in_each_debian() {
        let with_system = |words: &[&str]| {
            let args = parse(words);
            let matrix = kernel::matrix(args.arch).filter(|series| has_system(&args, series));
            matrix.map(|series| series.name).collect::<Vec<_>>()
        };
        for of_each_debian in [&[][..], &["--system"], &["--scenario", "system_start"]] {
            assert_eq!(with_system(of_each_debian), ["6.1", "6.12"]);
        }
        assert_eq!(with_system(&["--full"]).len(), 5);
        for without in [&["--scenario", "storm"], &["--attach", "kprobe"], &["--arch", "arm64"]] {
            assert_eq!(with_system(without), [""; 0]);
        }
    }
}
