//! Which machines are booted, with which programs in them.

use anyhow::Result;
use xtask::job;

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
    /// Whether only the quick scenarios run in it.
    pub(super) quick: bool,
}

/// Makes everything ready for a kernel's boots.
///
/// # Errors
///
/// When something cannot be fetched, installed or compiled.
pub(super) fn prepare(
    args: &TestArgs,
    series: &'static Series,
    programs: &Programs,
) -> Result<Vec<Planned>> {
    if !has_sockets(args) && !has_system(args, series) {
        return Ok(Vec::new());
    }
    let setup = args.no_setup.setup();
    let bench = lab::bench(series, args.arch, &setup, &args.mirrors)?;
    let accelerator = lab::accelerator(&bench, programs)?;
    let quick = is_quick(args, series);
    let planned = |name, mode, accelerator, append| Planned {
        bench: bench.clone(),
        programs: programs.clone(),
        name,
        mode,
        append,
        accelerator,
        quick,
    };
    let mut boots = Vec::new();
    if has_sockets(args) {
        boots.push(planned("smp", Mode::Smp, accelerator, ""));
        boots.push(planned("icount", Mode::Icount, Accelerator::Tcg, ""));
        boots.push(planned("odd", Mode::Smp, accelerator, "ipv6.disable=1"));
    }
    if has_system(args, series) {
        let (bench, programs) = lab::system(series, programs, &setup, &args.mirrors)?;
        let planned = planned("system", Mode::Smp, accelerator, debian_system::INIT);
        boots.push(Planned { bench, programs, ..planned });
    }
    Ok(boots)
}

/// Whether a kernel is tested with the quick scenarios only. A kernel or a scenario that was asked
/// for by name is tested in full.
fn is_quick(args: &TestArgs, series: &Series) -> bool {
    let picked = !args.kernels.is_empty() || !args.scenarios.is_empty();
    args.quick || (series.place == Place::Quick && !args.full && !picked)
}

/// Whether any scenario runs that makes sockets fail.
fn has_sockets(args: &TestArgs) -> bool {
    !args.system
        && (args.scenarios.is_empty() || !args.scenarios.iter().all(|name| is_of_system(name)))
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
        assert!(!has_sockets(&parse(&["--system"])));
        assert!(!has_sockets(&parse(&["--scenario", "system_start"])));
        assert!(has_sockets(&parse(&[])));
    }
}
