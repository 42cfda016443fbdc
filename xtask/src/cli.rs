//! The command line.

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use socktrace_lab::{
    kernel::{self, Series},
    mirror::MirrorArgs,
    setup::Setup,
};
use xtask_common::arch::Arch;

/// Builds, runs and tests socktrace, natively and in virtual machines
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install what building, linting and virtual machines need
    Setup(SetupArgs),
    /// Compile the daemon
    Build(BuildArgs),
    /// Run the daemon here; where the kernel refuses tracing, demonstrate it in a virtual machine
    Run(RunArgs),
    /// Open a shell, or run a command, in a virtual machine
    Vm(VmArgs),
    /// Run the unit tests, then the scenarios on the kernels of the matrix
    Test(TestArgs),
    /// Fuzz the code that reads bytes written by others
    Fuzz(FuzzArgs),
    /// Measure socktrace and other tools, in a virtual machine that counts instructions or on this host
    Bench(BenchArgs),
    /// Check formatting, lints and documentation
    Lint(LintArgs),
    /// Build a .deb and, where rpmbuild is installed, an .rpm
    Package(PackageArgs),
    /// Make packages for cargo's registry, with the kernel programs in them
    Crates(CratesArgs),
    /// Draw the dashboard over an hour of failures in a virtual machine, and renew the schemas it is
    /// checked by
    Dashboard(DashboardArgs),
    /// Join both ends of failures between several guests, through a Collector
    Fleet(FleetArgs),
    /// Compare what socktrace looks up in the kernels of all series, oldest to newest
    Drift(DriftArgs),
    /// Renew the kernels' type information in the tree, and the table made from it
    #[command(subcommand)]
    Btf(BtfCommand),
}

#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// Also report what is installed already
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Architecture to build for and to emulate
    #[arg(long, value_name = "NAME", default_value = Arch::OWN.name, value_parser = Arch::named)]
    pub(crate) arch: &'static Arch,
}

/// Whether a command may install what is missing.
#[derive(Args, Debug)]
pub(crate) struct NoSetup {
    /// Install nothing; report what is missing and stop
    #[arg(long)]
    no_setup: bool,
}

impl NoSetup {
    /// Setup as the option requests it.
    pub(crate) fn setup(&self) -> Setup {
        Setup { allowed: !self.no_setup, verbose: false }
    }
}

#[derive(Args, Debug)]
pub(crate) struct BuildArgs {
    /// Architecture to build for
    #[arg(long, value_name = "NAME", default_value = Arch::OWN.name, value_parser = Arch::named)]
    pub(crate) arch: &'static Arch,
    /// Optimize
    #[arg(long)]
    pub(crate) release: bool,
    /// Link without shared libraries
    #[arg(long = "static")]
    pub(crate) linked_statically: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Use a virtual machine without trying this host first
    #[arg(long)]
    pub(crate) vm: bool,
    /// Kernel of the virtual machine
    #[arg(long, value_name = "SERIES", default_value = kernel::DEFAULT, value_parser = kernel::series)]
    pub(crate) kernel: &'static Series,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
    /// Arguments for socktrace
    #[arg(last = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct VmArgs {
    /// Architecture of the virtual machine
    #[arg(long, value_name = "NAME", default_value = Arch::OWN.name, value_parser = Arch::named)]
    pub(crate) arch: &'static Arch,
    /// Kernel to boot
    #[arg(long, value_name = "SERIES", default_value = kernel::DEFAULT, value_parser = kernel::series)]
    pub(crate) kernel: &'static Series,
    /// Use one processor whose clock counts instructions and skips idle time
    #[arg(long)]
    pub(crate) icount: bool,
    /// Append to the kernel's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub(crate) append: String,
    /// Do not include socktrace
    #[arg(long)]
    pub(crate) no_daemon: bool,
    /// Boot Debian with systemd, and put the package into /packages
    #[arg(long, conflicts_with_all = ["arch", "icount", "no_daemon", "peers"])]
    pub(crate) system: bool,
    /// Boot Debian with Podman, and put what the container image is made of into /image
    #[arg(long, conflicts_with_all = ["arch", "icount", "no_daemon", "peers", "system"])]
    pub(crate) containers: bool,
    /// Put bpftrace and other tools that watch TCP into /peers, as a separate root
    #[arg(long)]
    pub(crate) peers: bool,
    /// Include Prometheus
    #[arg(long)]
    pub(crate) prometheus: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
    /// Command to run instead of a shell
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct TestArgs {
    /// Architecture of the virtual machines; on another one than this machine's, only scenarios run
    #[arg(long, value_name = "NAME", default_value = Arch::OWN.name, value_parser = Arch::named)]
    pub(crate) arch: &'static Arch,
    /// Only this kernel, even outside the matrix (repeatable)
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernel::series)]
    pub(crate) kernels: Vec<&'static Series>,
    /// Run what a change has to pass: includes the package under systemd, and everything in which 5.10 differs
    #[arg(long, conflicts_with_all = ["kernels", "full", "quick", "scenarios", "system"])]
    pub(crate) ci: bool,
    /// Run every scenario in every family on every kernel, not only on 6.12
    #[arg(long)]
    pub(crate) full: bool,
    /// Run only the quick scenarios on every kernel: each cause in each family
    #[arg(long, conflicts_with_all = ["full", "scenarios"])]
    pub(crate) quick: bool,
    /// Run only this scenario, and no unit tests (repeatable)
    #[arg(long = "scenario", value_name = "NAME")]
    pub(crate) scenarios: Vec<String>,
    /// Test only the package, installed in Debian and run as a service by systemd, and the image under Podman
    #[arg(long, conflicts_with_all = ["arch", "attach", "full", "quick", "scenarios"])]
    pub(crate) system: bool,
    /// How every socktrace hooks kernel functions [default: auto]
    #[arg(long, value_name = "HOW", value_parser = ["fentry", "kprobe"])]
    pub(crate) attach: Option<String>,
    /// Write the table of what was covered to docs/coverage.md
    #[arg(
        long,
        requires = "full",
        conflicts_with_all = ["arch", "kernels", "scenarios", "attach"]
    )]
    pub(crate) write_docs: bool,
    /// Number of boots at the same time [default: one more than processors]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FuzzArgs {
    /// Time for each target
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) seconds: std::num::NonZeroU32,
    /// Run only this target (repeatable)
    #[arg(long = "target", value_name = "NAME")]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct BenchArgs {
    /// Kernel to measure on (repeatable) [default: 6.12]
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernel::series)]
    pub(crate) kernels: Vec<&'static Series>,
    /// What to measure (repeatable) [default: everything]
    #[arg(
        long = "measure",
        value_name = "WHAT",
        value_parser = PossibleValuesParser::new(xtask_common::figure::MEASUREMENTS)
    )]
    pub(crate) measurements: Vec<String>,
    /// Measure only what shows within minutes whether the recorded figures still hold
    #[arg(long)]
    pub(crate) short: bool,
    /// Measure on this host, in nanoseconds; other tools are measured too if they are installed
    #[arg(long, conflicts_with_all = ["kernels", "check", "write_docs"])]
    pub(crate) native: bool,
    /// Fail if a figure is worse than the recorded one by more than its noise
    #[arg(long)]
    pub(crate) check: bool,
    /// Record the figures in place of those measured before, and write docs/performance.md
    #[arg(long, conflicts_with_all = ["short", "check"])]
    pub(crate) write_docs: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
}

#[derive(Args, Debug)]
pub(crate) struct PackageArgs {
    /// Architecture to package for
    #[arg(long, value_name = "NAME", default_value = Arch::OWN.name, value_parser = Arch::named)]
    pub(crate) arch: &'static Arch,
    /// Check the packages with the distributions' tools and by installing them into a directory
    #[arg(long)]
    pub(crate) check: bool,
    /// Build everything again in another directory, with nothing reused, and compare the bytes
    #[arg(long)]
    pub(crate) twice: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
}

#[derive(Args, Debug)]
pub(crate) struct CratesArgs {
    /// Check that the kernel programs are what the sources make, and install from the packages in a bare Debian
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DashboardArgs {
    /// Redraw from the last run's data, without a virtual machine
    #[arg(long)]
    pub(crate) redraw: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FleetArgs {
    /// Kernel of the guests
    #[arg(long, value_name = "SERIES", default_value = kernel::DEFAULT, value_parser = kernel::series)]
    pub(crate) kernel: &'static Series,
    /// Number of generated events, to measure the cost of storing and joining them; 0 for none
    #[arg(long, value_name = "N", default_value = "1000000")]
    pub(crate) events: u32,
    /// Boot no guests: only check the configuration and measure
    #[arg(long)]
    pub(crate) no_guests: bool,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DriftArgs {
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BtfCommand {
    /// Renew the type information that unit tests read, and docs/compatibility.md
    Capture(CaptureArgs),
    /// Write docs/compatibility.md
    Table,
}

#[derive(Args, Debug)]
pub(crate) struct CaptureArgs {
    /// Only this kernel (repeatable)
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernel::series)]
    pub(crate) kernels: Vec<&'static Series>,
    #[command(flatten)]
    pub(crate) no_setup: NoSetup,
    #[command(flatten)]
    pub(crate) mirrors: MirrorArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
