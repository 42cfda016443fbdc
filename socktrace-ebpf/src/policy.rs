//! Detection of calls that policy has forbidden (a security module, or a BPF program attached to
//! the cgroup), where only the errno of the whole call is seen.

use socktrace_ebpf::Flags;

use crate::{
    errno::{EACCES, EPERM},
    load::{Load, Probe},
    offsets,
    sock::Sock,
    task::{self, Task},
};

/// `CAP_NET_BIND_SERVICE` in `include/uapi/linux/capability.h`.
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Policy flag of a failed listen or accept: TCP itself returns neither errno.
#[inline(always)]
pub(crate) fn forbids(errno: u16) -> Flags {
    Flags::empty().with_if(Flags::POLICY, matches!(errno, EPERM | EACCES))
}

/// Policy flag of a failed bind to this port: TCP itself returns EACCES for privileged ports
/// (`__inet_bind`, `__inet6_bind`), and never EPERM. Not set where the two cannot be distinguished.
#[inline(always)]
pub(crate) fn forbids_bind<L: Load>(errno: u16, sock: Sock<L>, port: u16) -> Flags {
    if errno == EACCES && sock.is_privileged(port) && !may_bind_privileged(sock) {
        return Flags::empty();
    }
    forbids(errno)
}

/// Whether the current task is known to have the right to privileged ports in the socket's network
/// namespace. Rights from a parent of the namespace's owner are not considered.
#[inline(always)]
fn may_bind_privileged<L: Load>(sock: Sock<L>) -> bool {
    if !task::is_readable() || offsets::CRED_CAPABILITIES.is_absent() {
        return false;
    }
    let cred = Task::current().cred();
    let capabilities: u64 = Probe::read_member(cred, offsets::CRED_CAPABILITIES.present());
    let namespace: u64 = Probe::read_member(cred, offsets::CRED_USER_NS.present());
    capabilities & NET_BIND_SERVICE != 0 && namespace == sock.user_namespace()
}
