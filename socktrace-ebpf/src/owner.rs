//! Whose socket it is: who opens one is remembered from connect and accept, where the current task is the opener,
//! until the socket is destroyed (`tcp_destroy_sock`). An entry that should be left over is
//! overwritten when its address is used by another socket that is opened, and not asked for
//! sockets that nobody has accepted yet, so that an old one is never taken for theirs.
//!
//! A hash, not an LRU map: that one would forget the sockets that are idle for long, pools of
//! connections, in favour of short ones; here what does not fit is refused and counted.

use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    btf_maps::HashMap,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{bpf_get_current_cgroup_id, bpf_get_current_task, bpf_ktime_get_boot_ns},
    },
    macros::btf_map,
};
pub(crate) use socktrace_ebpf::Role;
use socktrace_ebpf::{Counter, OWNER_ENTRIES};

use crate::{
    load::Load,
    offsets,
    sock::Sock,
    tally,
    task::{self, Task},
};

/// A task, as it was when it opened a socket or operates on one.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// 0 where the kernel has none.
    pub(crate) cgroup_id: u64,
    /// When it was seen, in nanoseconds since boot.
    pub(crate) seen_ns: u64,
    /// Address of its process's first task; 0 where it cannot be read.
    pub(crate) leader: u64,
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    /// A [`Role`]; 0 when it was opened before socktrace was there.
    role: u32,
    pub(crate) comm: [u8; 16],
}

#[btf_map]
static OWNERS: HashMap<u64, Owner, OWNER_ENTRIES> = HashMap::new();

impl Owner {
    pub(crate) const NONE: Self = Self {
        cgroup_id: 0,
        seen_ns: 0,
        leader: 0,
        tgid: 0,
        tid: 0,
        uid: 0,
        role: 0,
        comm: [0; 16],
    };

    /// The current task.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        let pid_tgid = bpf_get_current_pid_tgid();
        Self {
            cgroup_id: current_cgroup(),
            seen_ns: now(),
            leader: current_leader().map_or(0, Task::address),
            tgid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
            uid: bpf_get_current_uid_gid() as u32,
            role: 0,
            comm: bpf_get_current_comm().unwrap_or_default(),
        }
    }

    /// Makes it another task, in place.
    #[inline(always)]
    pub(crate) fn set(&mut self, task: Task) {
        self.seen_ns = now();
        self.leader = task.leader().address();
        (self.tgid, self.tid) = (task.tgid(), task.pid());
        self.role = 0;
        self.refresh(task);
        task.comm(&mut self.comm);
    }

    /// Renews what a process can change of itself.
    #[inline(always)]
    pub(crate) fn refresh(&mut self, task: Task) {
        (self.cgroup_id, self.uid) = (task.cgroup(), task.uid());
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
fn current_leader() -> Option<Task> {
    // SAFETY: takes nothing; returns the current task's address.
    task::is_readable().then(|| Task::new(unsafe { bpf_get_current_task() } as *const u8).leader())
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
    let owner = Owner { role: role as u32, ..Owner::current() };
    insert(sock.held_key(), &owner);
}

/// Remembers the owner of the socket at this address, whatever was there before.
#[inline(always)]
fn insert(sock: u64, owner: &Owner) {
    if OWNERS.insert(sock, owner, u64::from(BPF_NOEXIST)).is_ok() {
        tally::bump(Counter::OwnersRecorded);
    } else if OWNERS.insert(sock, owner, u64::from(BPF_EXIST)).is_err() {
        // Better none than whose socket was here before.
        forget(sock);
        tally::bump(Counter::OwnersFull);
    }
}

/// The same where [`record`] should have been called already, and may not have been (see
/// `programs::security_sock_graft`), or for another task.
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

/// The current task uses a socket that another may have opened.
#[inline(always)]
pub(crate) fn refresh<L: Load>(sock: Sock<L>) {
    // SAFETY: two fields are read at once.
    let known = unsafe { OWNERS.get(sock.held_key()) }.map(|owner| (owner.tgid, owner.role));
    let Some((tgid, role)) = known else {
        return;
    };
    if tgid != (bpf_get_current_pid_tgid() >> 32) as u32 {
        let owner = Owner { role, ..Owner::current() };
        // The socket may just have been closed.
        let _gone = OWNERS.insert(sock.held_key(), owner, u64::from(BPF_EXIST));
    }
}

/// Remembers a process that holds a socket from before, unless more is known already.
#[inline(always)]
pub(crate) fn record_holder(sock: u64, holder: Task) {
    // SAFETY: only looked whether there is one.
    if unsafe { OWNERS.get(sock) }.is_some() {
        return;
    }
    // Fails when a hook has just recorded the socket, or for want of room.
    let mut owner = Owner::NONE;
    owner.set(holder);
    if OWNERS.insert(sock, owner, u64::from(BPF_NOEXIST)).is_ok() {
        tally::bump(Counter::OwnersRecorded);
        return;
    }
    // SAFETY: likewise.
    if unsafe { OWNERS.get(sock) }.is_none() {
        tally::bump(Counter::OwnersFull);
    }
}

/// Forgets the socket at this address.
#[inline(always)]
pub(crate) fn forget(sock: u64) {
    if OWNERS.remove(sock).is_ok() {
        tally::bump(Counter::OwnersForgotten);
    }
}

/// Whether the socket is known to have been opened by connect.
#[inline(always)]
pub(crate) fn is_client<L: Load>(sock: Sock<L>) -> bool {
    // SAFETY: one field is read at once.
    unsafe { OWNERS.get(sock.held_key()) }.is_some_and(|owner| owner.role == Role::Client as u32)
}

/// How the socket at this address was opened, a [`Role`]; 0 when unknown.
#[inline(always)]
pub(crate) fn role(sock: u64) -> u32 {
    recorded(sock).map_or(0, |owner| owner.role)
}

/// Who opened the socket at this address, or used it since.
#[inline(always)]
pub(crate) fn recorded(sock: u64) -> Option<&'static Owner> {
    // SAFETY: read at once. The entry stays until the socket is destroyed, which is not while a
    // hook runs on it.
    unsafe { OWNERS.get(sock) }
}
