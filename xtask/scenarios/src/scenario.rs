//! Scenarios: their kind, boot and scope.

use anyhow::Result;
use xtask_common::scope::Scope;

use socktrace_diagnosis::Cause;

use super::{expected::Expected, network::Family};

/// How the guest is booted for a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BootKind {
    /// Two processors in real time: races are possible.
    Smp,
    /// One processor whose idle time is skipped: timeouts of minutes pass in a second.
    Icount,
    /// As [`Self::Smp`], with four processors and without IPv6; at the end, the kernel is locked down.
    Odd,
    /// As [`Self::Icount`], with Prometheus in the guest.
    Scrape,
    /// As [`Self::Smp`], in a Debian system with systemd. No tracer of the harness runs there.
    System,
    /// As [`Self::System`], with Podman instead of the package.
    Container,
}

impl BootKind {
    pub(super) const ALL: [Self; 6] =
        [Self::Smp, Self::Icount, Self::Odd, Self::Scrape, Self::System, Self::Container];

    /// Name in options.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Smp => "smp",
            Self::Icount => "icount",
            Self::Odd => "odd",
            Self::Scrape => "scrape",
            Self::System => "system",
            Self::Container => "container",
        }
    }
}

/// Kind of a scenario.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// Makes sockets fail and returns what the program got, for comparison with the tracer's reports.
    Fail(fn(Family) -> Result<Vec<Expected>>, Family),
    /// Checks the daemon itself, with daemons of its own.
    Check(fn() -> Result<()>),
}

/// A scenario.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) boot: BootKind,
    /// Smallest part of the catalogue that includes the scenario.
    pub(super) scope: Scope,
    pub(super) act: Act,
    /// The cause that kprobes cannot report, if any.
    pub(super) hidden: Option<KprobeLimitation>,
    /// Why events may still arrive after the last call, each one a superfluous report. A quiet
    /// period has to show that none does.
    pub(super) late: Option<&'static str>,
}

impl Scenario {
    /// Makes the scenario's failures, whatever is reported about them.
    pub(super) fn make(&self) -> Result<()> {
        match self.act {
            Act::Fail(fail, family) => fail(family).map(drop),
            Act::Check(check) => check(),
        }
    }
}

/// A cause that kprobes cannot report.
pub(super) struct KprobeLimitation {
    pub(super) cause: Cause,
    pub(super) why: &'static str,
}
