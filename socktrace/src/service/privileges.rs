//! Gives privileges up once everything is attached.

use std::fs;

use anyhow::{Context as _, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

use super::system_calls;

/// Opens cgroups by their ids, and the files that container runtimes leave for root.
const OWNERS: Capability = Capability::CAP_DAC_READ_SEARCH;

/// What lets a process use its maps where `kernel.unprivileged_bpf_disabled` is set and the kernel
/// is older than 5.19, which asks for a capability for every `bpf` call (`__sys_bpf` in
/// `kernel/bpf/syscall.c`): the one of 5.8, and the one of old.
const MAPS: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];

/// What is still to be done without privileges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// Files are written, as a history is.
    pub(crate) writes_files: bool,
    /// This child is waited for, and gets signals.
    pub(crate) child: Option<Child>,
}

/// A process that this one has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    /// Whether it is another user's, to whom signals take a capability.
    pub(crate) is_others: bool,
}

/// Drops every capability but those that are still needed, and all system calls but those that are
/// still made; no program that this one might start gets anything back.
///
/// `read_maps` reads from the kernel programs' maps: whether that takes a capability is found out by
/// trying.
///
/// # Errors
/// When the kernel refuses, or other threads run, which would keep what they have.
pub(crate) fn drop_all(
    needs: Needs,
    read_maps: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let threads = fs::read_dir("/proc/self/task").context("cannot count threads")?.count();
    if threads != 1 {
        bail!("privileges cannot be given up while {threads} threads run");
    }
    prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    let kept = drop_capabilities(needs, read_maps)?;
    system_calls::confine(needs)?;
    let names: Vec<_> = kept.iter().map(ToString::to_string).collect();
    log::debug!(
        "capabilities kept: {}",
        if names.is_empty() { "none".into() } else { names.join(", ") }
    );
    Ok(())
}

fn drop_capabilities(
    needs: Needs,
    read_maps: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<CapsHashSet> {
    let held = caps::read(None, CapSet::Permitted).context("cannot read the capabilities")?;
    if held.contains(&Capability::CAP_SETPCAP) {
        raise(&CapsHashSet::from([Capability::CAP_SETPCAP]))?;
        caps::clear(None, CapSet::Bounding).context("cannot empty the bounding set")?;
    }
    caps::clear(None, CapSet::Ambient).context("cannot empty the ambient set")?;
    // Signals go to that child alone: the filter of system calls sees to it.
    let signals = needs.child.is_some_and(|child| child.is_others);
    let is_kept = |held: &Capability| *held == OWNERS || (signals && *held == Capability::CAP_KILL);
    let mut kept: CapsHashSet = held.iter().copied().filter(is_kept).collect();
    raise(&kept)?;
    if read_maps().is_err() {
        for capability in MAPS.into_iter().filter(|capability| held.contains(capability)) {
            let mut more = kept.clone();
            more.insert(capability);
            raise(&more)?;
            if read_maps().is_ok() {
                kept = more;
                break;
            }
        }
        read_maps().context("cannot read the maps after giving privileges up")?;
    }
    caps::set(None, CapSet::Permitted, &kept).context("cannot drop capabilities")?;
    caps::clear(None, CapSet::Inheritable).context("cannot empty the inheritable set")?;
    Ok(kept)
}

/// Makes just these effective; what is permitted stays.
fn raise(capabilities: &CapsHashSet) -> anyhow::Result<()> {
    caps::set(None, CapSet::Effective, capabilities).context("cannot change the capabilities")
}
