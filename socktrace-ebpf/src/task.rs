//! Tasks other than the current one, read with `bpf_probe_read_kernel`: only where [`is_readable`].

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_ktime_get_boot_ns},
};
use socktrace_ebpf::event::EXE_NAME;

use crate::{
    load::{Direct, Load, Probe, number},
    offsets,
};

/// A `struct task_struct`, or memory that may be one.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const u8);

/// Whether other tasks can be read: not under lockdown=confidentiality.
#[inline(always)]
pub(crate) fn is_readable() -> bool {
    offsets::READ_KERNEL.get() == 1 && !offsets::TASK_TGID.is_absent()
}

/// `PF_KTHREAD` in `include/linux/sched.h`; the same in 5.10 to 7.3. Not set for threads that the
/// kernel runs for a process, such as `io_uring`'s.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `PF_EXITING`, also from there; the same in 5.10 to 7.3.
const EXITING: u32 = 0x0000_0004;

/// Whether the current task is a kernel thread, which opens and uses sockets for others: kTLS's and
/// sockmap's workers. `false` if that cannot be read.
#[inline(always)]
pub(crate) fn current_is_kernel_thread() -> bool {
    current_member::<u32>(offsets::TASK_FLAGS.present()) & KERNEL_THREAD != 0
}

/// Maximum size of a stack (`THREAD_SIZE`): 16 KiB on x86-64 and arm64, and up to 64 KiB. The
/// memory after a stack belongs to nobody else: each stack has a mapping of its own
/// (`CONFIG_VMAP_STACK`).
const STACK_BYTES: u64 = 64 * 1024;

/// Whether an address is on the current task's kernel stack; `false` if that cannot be read.
#[inline(always)]
pub(crate) fn is_on_current_stack(address: u64) -> bool {
    let stack: u64 = current_member(&offsets::TASK_STACK);
    stack != 0 && address.wrapping_sub(stack) < STACK_BYTES
}

/// The current task, and its process.
pub(crate) struct Current {
    /// Address of the process's first task; 0 if it cannot be read.
    pub(crate) leader: u64,
    /// When that task began, in nanoseconds since boot; the current time if it cannot be read.
    pub(crate) since_ns: u64,
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    /// Real user, as numbered in the initial user namespace.
    pub(crate) uid: u32,
}

impl Current {
    /// Reads the current task, by direct loads where the kernel types it: the helpers for the same
    /// values take several times as many instructions, `bpf_get_current_uid_gid` above all.
    #[inline(always)]
    pub(crate) fn get() -> Self {
        if !offsets::TASK_TGID.is_absent() && offsets::TASK_BTF.get() == 1 {
            return Self::load();
        }
        let pid_tgid = bpf_get_current_pid_tgid();
        let (leader, since_ns) = if is_readable() {
            let task = Task::current().leader();
            (task.address(), task.start_ns())
        } else {
            // SAFETY: the helper takes nothing and cannot fail.
            (0, unsafe { bpf_ktime_get_boot_ns() })
        };
        Self {
            leader,
            since_ns,
            tgid: (pid_tgid >> 32) as u32,
            tid: pid_tgid as u32,
            uid: bpf_get_current_uid_gid() as u32,
        }
    }

    #[inline(always)]
    fn load() -> Self {
        // SAFETY: takes nothing; returns the current task as a typed pointer.
        let task = unsafe { bpf_get_current_task_btf() }.cast_const().cast();
        // SAFETY: a `struct task_struct`, and the offset of a member.
        let leader: *const u8 =
            unsafe { Direct::member(task, offsets::TASK_GROUP_LEADER.present()) };
        // SAFETY: a `struct task_struct`, and the offset of a member.
        let cred: *const u8 = unsafe { Direct::member(task, offsets::TASK_CRED.present()) };
        Self {
            leader: number(leader),
            // SAFETY: a `struct task_struct`, and the offset of a member.
            since_ns: unsafe { Direct::member(leader, offsets::TASK_START.present()) },
            // SAFETY: a `struct task_struct`, and the offset of a member.
            tgid: unsafe { Direct::member(task, offsets::TASK_TGID.present()) },
            // SAFETY: a `struct task_struct`, and the offset of a member.
            tid: unsafe { Direct::member(task, offsets::TASK_PID.present()) },
            // SAFETY: a `struct cred`, and the offset of a member.
            uid: unsafe { Direct::member(cred, offsets::CRED_UID.present()) },
        }
    }
}

/// A member of the current task; zero if it cannot be read, or this kernel lacks it. No `Option`:
/// the compiler would work on a value that is not there, which the verifier of 5.10 rejects.
#[inline(always)]
pub(crate) fn current_member<T: Copy + Default>(offset: &offsets::Fact) -> T {
    if offsets::TASK_TGID.is_absent() {
        T::default()
    } else if offsets::TASK_BTF.get() == 1 {
        // SAFETY: takes nothing; returns the current task as a typed pointer.
        let task = unsafe { bpf_get_current_task_btf() };
        // SAFETY: a `struct task_struct`, and the offset of a member.
        unsafe { Direct::member(task.cast_const().cast(), offset) }
    } else if offsets::READ_KERNEL.get() == 1 {
        Probe::read_member(Task::current().0, offset)
    } else {
        T::default()
    }
}

impl Task {
    /// The current task.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: takes nothing; returns the current task's address.
        Self(unsafe { bpf_get_current_task() } as *const u8)
    }

    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The address, to find the task again. The kernel reuses it when the task is gone: see
    /// [`Self::is_process`].
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// Whether there is a task at this address.
    #[inline(always)]
    pub(crate) fn is_valid(self) -> bool {
        is_task(self.address()) != 0
    }

    /// Whether it leads the process that had this id at a time since boot. It must have begun
    /// before, so that it is no later task at the same address.
    #[inline(always)]
    pub(crate) fn is_process(self, tgid: u32, at_ns: u64) -> bool {
        self.tgid() == tgid && self.pid() == tgid && self.start_ns() <= at_ns
    }

    /// Whether it is exiting, or has exited.
    #[inline(always)]
    pub(crate) fn is_exiting(self) -> bool {
        Probe::read_member::<u32>(self.0, offsets::TASK_FLAGS.present()) & EXITING != 0
    }

    /// Start time, in nanoseconds since boot.
    #[inline(always)]
    pub(crate) fn start_ns(self) -> u64 {
        Probe::read_member(self.0, offsets::TASK_START.present())
    }

    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        Probe::read_member(self.0, offsets::TASK_PID.present())
    }

    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        Probe::read_member(self.0, offsets::TASK_TGID.present())
    }

    /// The process's first thread, or the one that has taken its place by exec.
    #[inline(always)]
    pub(crate) fn leader(self) -> Self {
        Self(Probe::read_member(self.0, offsets::TASK_GROUP_LEADER.present()))
    }

    #[inline(always)]
    pub(crate) fn comm(self, to: &mut [u8; 16]) {
        Probe::read_text_member(self.0, offsets::TASK_COMM.present(), to);
    }

    /// Writes the last component of its executable's path, truncated if longer, into an all-NUL
    /// buffer. A kernel thread has none, nor has a task that has exited.
    #[inline(always)]
    pub(crate) fn exe(self, to: &mut [u8; EXE_NAME]) {
        let mm: *const u8 = Probe::read_member(self.0, offsets::TASK_MM.present());
        let file: *const u8 = Probe::read_member(mm, offsets::MM_EXE_FILE.present());
        let dentry: *const u8 = Probe::read_member(file, offsets::FILE_DENTRY.present());
        let name: *const u8 = Probe::read_member(dentry, offsets::DENTRY_NAME.present());
        Probe::read_text(name, to);
    }

    /// Real user, as `bpf_get_current_uid_gid` returns it for the current task.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        Probe::read_member(self.cred(), offsets::CRED_UID.present())
    }

    /// Its credentials, `struct cred`.
    #[inline(always)]
    pub(crate) fn cred(self) -> *const u8 {
        Probe::read_member(self.0, offsets::TASK_CRED.present())
    }

    /// Id of its cgroup, as `bpf_get_current_cgroup_id` returns it for the current task; 0 without
    /// cgroups.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        if offsets::TASK_CGROUPS.is_absent() {
            return 0;
        }
        let set: *const u8 = Probe::read_member(self.0, offsets::TASK_CGROUPS.present());
        let cgroup: *const u8 = Probe::read_member(set, offsets::CSS_SET_DFL_CGRP.present());
        let node: *const u8 = Probe::read_member(cgroup, offsets::CGROUP_KN.present());
        Probe::read_member(node, offsets::KERNFS_NODE_ID.present())
    }

    /// Table of open files (`struct fdtable`) of the process whose first task this is; NULL if the
    /// process has ended.
    #[inline(always)]
    pub(crate) fn open_files(self) -> *const u8 {
        let files = Task(files_of_process(self.address()) as *const u8);
        Probe::read_member(files.0, offsets::OPEN_FILES_TABLE.present())
    }
}

/// Whether there is a task at an address: 1 or 0. Other memory passes for a task only if it has a
/// pointer to a group leader just where a task has it, and the leader's id too.
///
/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_task(address: u64) -> u64 {
    if !is_readable() {
        return 0;
    }
    let task = Task(address as *const u8);
    let (leader, tgid) = (task.leader(), task.tgid());
    let is = address != 0
        && tgid != 0
        && leader.leader().0 == leader.0
        && leader.pid() == tgid
        && leader.tgid() == tgid;
    u64::from(is)
}

/// Number of a process's threads that are searched for its open files.
const THREADS: usize = 8;

/// The open files, `struct files_struct`, of the process whose first task is at an address. That
/// task may have exited, and released its own, while other threads live on: they follow it in the
/// list of the process (`signal->thread_head`). A global function, like [`is_task`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn files_of_process(leader: u64) -> u64 {
    if !is_readable() {
        return 0;
    }
    let leader = leader as *const u8;
    let files: u64 = Probe::read_member(leader, offsets::OPEN_FILES.present());
    if files != 0 || offsets::THREAD_HEAD.is_absent() {
        return files;
    }
    let signal: *const u8 = Probe::read_member(leader, offsets::THREADS_SIGNAL.present());
    let head = signal.wrapping_add(offsets::THREAD_HEAD.present().get() as usize);
    let mut at: *const u8 = Probe::read(head, 0);
    for _ in 0..THREADS {
        if at == head || at.is_null() {
            return 0;
        }
        let thread = at.wrapping_sub(offsets::THREAD_NODE.present().get() as usize);
        let files: u64 = Probe::read_member(thread, offsets::OPEN_FILES.present());
        if files != 0 {
            return files;
        }
        at = Probe::read(at, 0);
    }
    0
}
