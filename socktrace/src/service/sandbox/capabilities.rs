//! Capabilities: drops those no longer needed.

use anyhow::Context as _;
use caps::{CapSet, Capability, CapsHashSet};

use super::Needs;

/// Allows opening cgroups by id, and reading container runtimes' files, which only root may read.
const OWNERS: Capability = Capability::CAP_DAC_READ_SEARCH;

/// Capabilities that allow access to maps if `kernel.unprivileged_bpf_disabled` is set and the
/// kernel is older than 5.19, where every `bpf` call needs one (`__sys_bpf` in
/// `kernel/bpf/syscall.c`): `CAP_BPF` since 5.8, before that `CAP_SYS_ADMIN`.
const MAPS: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];

/// Whether this process holds all these capabilities.
pub(super) fn are_held(wanted: &[Capability]) -> bool {
    wanted.iter().all(|one| caps::has_cap(None, CapSet::Permitted, *one).unwrap_or(false))
}

/// Keeps child programs from gaining capabilities, if this process may do so.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn empty_bounding_set() -> anyhow::Result<()> {
    if are_held(&[Capability::CAP_SETPCAP]) {
        raise(&CapsHashSet::from([Capability::CAP_SETPCAP]))?;
        caps::clear(None, CapSet::Bounding).context("cannot clear the capability bounding set")?;
    }
    Ok(())
}

/// Drops all capabilities except those still needed; returns the names of the remaining ones.
///
/// # Errors
/// When the kernel refuses, or maps can no longer be read.
pub(super) fn drop_others(
    needs: &Needs,
    read_maps: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let held = caps::read(None, CapSet::Permitted).context("cannot read the capabilities")?;
    caps::clear(None, CapSet::Ambient).context("cannot clear the ambient capabilities")?;
    // The seccomp filter restricts signals to that child.
    let signals = needs.child.map(|_| Capability::CAP_KILL);
    let is_kept = |held: &Capability| *held == OWNERS || signals == Some(*held);
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
        read_maps().context("cannot read the maps after dropping privileges")?;
    }
    caps::set(None, CapSet::Permitted, &kept).context("cannot drop capabilities")?;
    caps::clear(None, CapSet::Inheritable).context("cannot clear the inheritable capabilities")?;
    let names: Vec<_> = kept.iter().map(ToString::to_string).collect();
    Ok(if names.is_empty() { "none".into() } else { names.join(", ") })
}

/// Makes exactly these capabilities effective; the permitted set is unchanged.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn raise(capabilities: &CapsHashSet) -> anyhow::Result<()> {
    caps::set(None, CapSet::Effective, capabilities).context("cannot change the capabilities")
}
