//! Who opened a socket, remembered from connect and accept, where the current task is the opener.
//!
//! An entry is overwritten when its address is used by another socket that is opened, and not
//! asked for sockets that nobody has accepted yet, so that an old one is never taken for theirs.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::bpf_get_current_cgroup_id,
    },
    macros::btf_map,
};
use socktrace_ebpf::{Event, Flags, OWNER_ENTRIES};

use crate::{load::Load, offsets, sock::Sock};

/// How a socket was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Role {
    Client = 1,
    Server = 2,
}

/// A task, as it was when it opened a socket or while it operates on one.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// 0 where the kernel has none.
    cgroup_id: u64,
    /// 0 when unknown, as then is all else.
    pub(crate) tgid: u32,
    tid: u32,
    uid: u32,
    role: u32,
    pub(crate) comm: [u8; 16],
}

const UNKNOWN: Owner = Owner { cgroup_id: 0, tgid: 0, tid: 0, uid: 0, role: 0, comm: [0; 16] };

#[btf_map]
static OWNERS: LruHashMap<u64, Owner, OWNER_ENTRIES> = LruHashMap::new();

/// The current task.
#[inline(always)]
fn current(role: u32) -> Owner {
    let pid_tgid = bpf_get_current_pid_tgid();
    Owner {
        cgroup_id: current_cgroup(),
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        uid: bpf_get_current_uid_gid() as u32,
        role,
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// The current task's cgroup in the hierarchy of cgroup2.
#[inline(always)]
fn current_cgroup() -> u64 {
    // Kernels without cgroups have no such helper (`bpf_tracing_func_proto`, `CONFIG_CGROUPS`).
    if offsets::TASK_CGROUPS.is_absent() {
        return 0;
    }
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Remembers the current task as the socket's opener.
#[inline(always)]
pub(crate) fn record<L: Load>(sock: Sock<L>, role: Role) {
    // A map of this kind makes room by itself; that it fails is not to be expected, and then the
    // process is unknown.
    let _unknown = OWNERS.insert(sock.held_key(), current(role as u32), 0);
}

/// The same where [`record`] should have been called already, and may not have been: see
/// `programs::security_sock_graft`.
#[inline(always)]
pub(crate) fn ensure<L: Load>(sock: Sock<L>, role: Role) {
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: two fields are read at once.
    let known = unsafe { OWNERS.get(sock.held_key()) }
        .is_some_and(|owner| owner.tid == pid_tgid as u32 && owner.tgid == (pid_tgid >> 32) as u32);
    if !known {
        record(sock, role);
    }
}

/// Whether the socket is known to have been opened by connect.
#[inline(always)]
pub(crate) fn is_client<L: Load>(sock: Sock<L>) -> bool {
    // SAFETY: one field is read at once.
    unsafe { OWNERS.get(sock.held_key()) }.is_some_and(|owner| owner.role == Role::Client as u32)
}

/// The process to name for a socket: the current one if it is operating on the socket, else its
/// opener; else none, with a `tgid` of 0.
#[inline(always)]
pub(crate) fn find<L: Load>(sock: Sock<L>, flags: Flags, in_process: bool) -> Owner {
    if in_process {
        current(0)
    } else if flags.has(Flags::UNACCEPTED) {
        UNKNOWN
    } else {
        // SAFETY: copied at once. A slot that is reused meanwhile gives another socket's opener
        // only if 16,384 others were opened in these few instructions.
        unsafe { OWNERS.get(sock.held_key()) }.copied().unwrap_or(UNKNOWN)
    }
}

/// Names the process in an event.
#[inline(always)]
pub(crate) fn name<L: Load>(event: &mut Event, sock: Sock<L>, flags: Flags, in_process: bool) {
    let owner = find(sock, flags, in_process);
    (event.tgid, event.tid, event.comm) = (owner.tgid, owner.tid, owner.comm);
    (event.uid, event.cgroup_id) = (owner.uid, owner.cgroup_id);
}
