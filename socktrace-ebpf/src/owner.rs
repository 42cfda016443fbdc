//! Owners of sockets. The socket's record stores its opener from connect and accept, where the
//! current task is the opener.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns,
    },
};
pub(crate) use socktrace_ebpf::Role;

use crate::{
    failure,
    load::Load,
    offsets,
    record::Record,
    sock::{Identity, Sock},
    task::{self, Current, Task},
};

/// A task, as it was when it opened a socket or operated on one.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// 0 where the kernel has no cgroups.
    pub(crate) cgroup_id: u64,
    /// Slice of the host that `cgroup_id` lies in, see [`current_slice`]; 0 if it was not looked up.
    pub(crate) slice: u64,
    /// When its process began, in nanoseconds since boot; where tasks cannot be read, when it was seen.
    pub(crate) since_ns: u64,
    /// Address of its process's first task; 0 if it cannot be read.
    pub(crate) leader: u64,
    /// 0 if no process is known.
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    pub(crate) uid: u32,
    /// A [`Role`]; 0 if unknown, as for some sockets that were opened before socktrace started.
    role: u32,
    /// All NUL if it is to be read from `leader` when needed.
    pub(crate) comm: [u8; 16],
}

/// Level of a service, user or container manager below the root of the hierarchy.
const SLICE_LEVEL: i32 = 2;

impl Owner {
    pub(crate) const NONE: Self = Self {
        cgroup_id: 0,
        slice: 0,
        since_ns: 0,
        leader: 0,
        tgid: 0,
        tid: 0,
        uid: 0,
        role: 0,
        comm: [0; 16],
    };

    /// Resets it to no owner.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        // Field by field: the compiler would call `memset`, or copy a constant.
        (self.cgroup_id, self.slice, self.since_ns, self.leader) = (0, 0, 0, 0);
        (self.tgid, self.tid, self.uid, self.role) = (0, 0, 0, 0);
        self.comm = [0; 16];
    }

    /// Sets it, in place, to the current task, which opens or uses a socket.
    #[inline(always)]
    pub(crate) fn open(&mut self, cgroup: u64) {
        let current = Current::get();
        (self.leader, self.since_ns) = (current.leader, current.since_ns);
        (self.cgroup_id, self.uid) = (cgroup, current.uid);
        self.comm = [0; 16];
        if current.tid != current.tgid || !task::is_readable() {
            self.comm = bpf_get_current_comm().unwrap_or_default();
        }
        (self.tid, self.tgid) = (current.tid, current.tgid);
    }

    /// Sets it, in place, to the current task, which operates on a socket that fails.
    #[inline(always)]
    pub(crate) fn set_caller(&mut self) {
        let pid_tgid = bpf_get_current_pid_tgid();
        (self.tgid, self.tid) = ((pid_tgid >> 32) as u32, pid_tgid as u32);
        self.cgroup_id = current_cgroup();
        // Nothing uses the rest.
        if offsets::STREAM.get() != 1 && offsets::FILTER.get() == 0 {
            return;
        }
        self.uid = bpf_get_current_uid_gid() as u32;
        self.comm = bpf_get_current_comm().unwrap_or_default();
        (self.since_ns, self.leader) = (now(), 0);
        if task::is_readable() {
            self.leader = Task::current().leader().address();
        }
    }

    /// Sets it, in place, to another task.
    #[inline(always)]
    pub(crate) fn set(&mut self, task: Task) {
        let leader = task.leader();
        (self.leader, self.since_ns) = (leader.address(), leader.start_ns());
        (self.tgid, self.tid) = (task.tgid(), task.pid());
        self.refresh(task);
        task.comm(&mut self.comm);
    }

    /// Refreshes what a process can change about itself.
    #[inline(always)]
    pub(crate) fn refresh(&mut self, task: Task) {
        (self.cgroup_id, self.uid) = (task.cgroup(), task.uid());
    }

    /// The process's first task, if the process is still there and can be read.
    #[inline(always)]
    pub(crate) fn process(&self) -> Option<Task> {
        if !task::is_readable() || self.leader == 0 {
            return None;
        }
        let leader = Task::new(self.leader as *const u8);
        leader.is_process(self.tgid, self.since_ns).then_some(leader)
    }

    #[inline(always)]
    pub(crate) fn is_current(&self) -> bool {
        let pid_tgid = bpf_get_current_pid_tgid();
        (self.tgid, self.tid) == ((pid_tgid >> 32) as u32, pid_tgid as u32)
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Current task's cgroup in the cgroup2 hierarchy.
#[inline(always)]
pub(crate) fn current_cgroup() -> u64 {
    // Kernels without cgroups have no such helper (`bpf_tracing_func_proto`, `CONFIG_CGROUPS`).
    if offsets::TASK_CGROUPS.is_absent() {
        return 0;
    }
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Part of the host that the current task's cgroup belongs to, for a fair share of the table: a
/// system service, or all that one user runs, whatever cgroups they create below. If the task's own
/// cgroup is above that level, it is returned.
#[inline(always)]
fn current_slice(cgroup: u64) -> u64 {
    if offsets::SLICES.get() != 1 {
        return cgroup;
    }
    // SAFETY: the helper takes a number, and returns 0 if there is no such ancestor.
    match unsafe { bpf_get_current_ancestor_cgroup_id(SLICE_LEVEL) } {
        0 => cgroup,
        slice => slice,
    }
}

/// Records the current task as the opener of a socket that it has just opened. Earlier failures of
/// the socket are forgotten.
#[inline(always)]
pub(crate) fn record<L: Load>(sock: Sock<L>, role: Role) {
    let socket = sock.new_held_identity();
    if task::current_is_kernel_thread() {
        return;
    }
    let cgroup = current_cgroup();
    let slice = current_slice(cgroup);
    let Some(record) = Record::claim(socket, slice, cgroup) else {
        return;
    };
    failure::forget_former(sock, record);
    record.owner.open(cgroup);
    (record.owner.slice, record.owner.role) = (slice, role as u32);
}

/// Like [`record`], where that should have been called already, but may not have been: see
/// `programs::security_sock_graft`.
#[inline(always)]
pub(crate) fn ensure<L: Load>(sock: Sock<L>, role: Role) {
    let known = Record::find(sock.held_identity()).is_some_and(|record| record.owner.is_current());
    if !known {
        record(sock, role);
    }
}

/// Updates the owner of a socket that the current task uses and another may have opened.
#[inline(always)]
pub(crate) fn refresh<L: Load>(sock: Sock<L>) {
    let Some(record) = Record::find(sock.held_identity()) else {
        return;
    };
    let owner = &mut record.owner;
    if owner.tgid != (bpf_get_current_pid_tgid() >> 32) as u32 && !task::current_is_kernel_thread()
    {
        owner.open(current_cgroup());
    }
}

/// Records a process that holds a socket from before socktrace started, and how the socket was
/// opened, a [`Role`] or 0, unless more is known already.
#[inline(always)]
pub(crate) fn record_holder(identity: Identity, holder: Task, role: u64) {
    let cgroup = holder.cgroup();
    let Some(record) = Record::claim(identity, cgroup, cgroup) else {
        return;
    };
    if record.owner.tgid == 0 {
        record.owner.set(holder);
        (record.owner.slice, record.owner.role) = (cgroup, role as u32);
    }
}

/// Whether the socket is known to have been opened by connect.
#[inline(always)]
pub(crate) fn is_client<L: Load>(sock: Sock<L>) -> bool {
    let socket = sock.held_identity();
    recorded_role(socket.address, socket.cookie) == Role::Client as u64
}

/// How a socket was opened, a [`Role`]; 0 if unknown. A global function: the verifier walks it once
/// per program, whatever the paths to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn recorded_role(address: u64, cookie: u64) -> u64 {
    let role =
        Record::find(Identity::of_numbers(address, cookie)).map_or(0, |record| record.owner.role);
    u64::from(role)
}

/// Process that opened a socket, or has used it since, and how it was opened, a [`Role`] or 0.
#[inline(always)]
pub(crate) fn recorded(identity: Identity) -> Option<(&'static Owner, u32)> {
    let owner = &Record::find(identity)?.owner;
    Some((owner, owner.role))
}
