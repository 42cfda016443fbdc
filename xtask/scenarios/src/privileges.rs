//! The privileges granted by the systemd unit suffice.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::Result;
use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    sys::{
        prctl,
        resource::{RLIM_INFINITY, Resource, setrlimit},
    },
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};

use super::{shared, tracer::PROGRAM};

/// User of the daemon; any except root.
pub(super) const USER: u32 = 61_184;

/// Capabilities granted by the unit.
const GRANTED: [Capability; 3] =
    [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_RESOURCE];

/// An ordinary user with the unit's capabilities can trace like root.
pub(super) fn of_the_unit() -> Result<()> {
    if super::uses_kprobes() {
        // The unit does not grant what kprobes need.
        return super::refusal::kprobes();
    }
    let command = service(&["--output", "json", "--listen", "127.0.0.1:0"]);
    shared::with(command, super::daemon::reports_a_reset)
}

/// Command of a daemon that runs with the unit's privileges.
pub(super) fn service(args: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["as-service", PROGRAM]).args(args);
    command
}

/// Becomes the unit's user and runs a program with arguments. Returns only on failure.
pub(super) fn run_as_service(command: &[String]) -> Result<i32> {
    let [program, args @ ..] = command else { anyhow::bail!("no program to run as a service") };
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    // Keeps the permitted capabilities across the change of user.
    caps::securebits::set_keepcaps(true)?;
    setgroups(&[])?;
    setgid(Gid::from_raw(USER))?;
    setuid(Uid::from_raw(USER))?;
    let granted: CapsHashSet = GRANTED.into_iter().collect();
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient] {
        caps::set(None, set, &granted)?;
    }
    prctl::set_no_new_privs()?;
    Err(Command::new(program).args(args).exec().into())
}
