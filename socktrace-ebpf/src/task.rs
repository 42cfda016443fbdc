//! Reads tasks other than the current one, which takes `bpf_probe_read_kernel`: only where
//! [`is_readable`].

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_ktime_get_boot_ns},
};
use socktrace_ebpf::event::EXE_NAME;

use crate::{
    load::{Direct, Load, Probe, number},
    offsets,
};

/// A `struct task_struct`, or what may be one.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const u8);

/// Whether other tasks can be read: not under lockdown=confidentiality.
#[inline(always)]
pub(crate) fn is_readable() -> bool {
    offsets::READ_KERNEL.get() == 1 && !offsets::TASK_TGID.is_absent()
}

/// `PF_KTHREAD` in `include/linux/sched.h`; the same in 5.10 to 7.3. Threads that the kernel runs for a
/// process, as `io_uring`'s, are not among them.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `PF_EXITING` there; the same in 5.10 to 7.3.
const EXITING: u32 = 0x0000_0004;

/// Whether the current task is one of the kernel's own, which opens and uses sockets for others: kTLS's
/// and sockmap's workers. Not where that cannot be read.
#[inline(always)]
pub(crate) fn current_is_kernel_thread() -> bool {
    current_member::<u32>(offsets::TASK_FLAGS.present()) & KERNEL_THREAD != 0
}

/// The most that a stack takes (`THREAD_SIZE`): 16 KiB on x86-64 and arm64, and up to 64 KiB. What comes
/// after it is no memory of others: stacks are mapped for themselves (`CONFIG_VMAP_STACK`).
const STACK_BYTES: u64 = 64 * 1024;

/// Whether an address lies on the current task's kernel stack. Not where that cannot be read.
#[inline(always)]
pub(crate) fn is_on_current_stack(address: u64) -> bool {
    let stack: u64 = current_member(&offsets::TASK_STACK);
    stack != 0 && address.wrapping_sub(stack) < STACK_BYTES
}

/// The current task, and its process.
pub(crate) struct Current {
    /// Address of the process's first task; 0 where it cannot be read.
    pub(crate) leader: u64,
    /// When that began, in nanoseconds since boot; where it cannot be read, what time it is.
    pub(crate) since_ns: u64,
    pub(crate) tgid: u32,
    pub(crate) tid: u32,
    /// The real user, as the initial user namespace numbers them.
    pub(crate) uid: u32,
}

impl Current {
    /// By direct loads where the kernel types the task: the helpers that give the same take several
    /// times as many instructions, `bpf_get_current_uid_gid` above all.
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

/// A member of the current task; zero where it cannot be read, or this kernel lacks it. No `Option`: the
/// compiler would work on what is not there, which the verifier of 5.10 refuses.
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
    /// The one that runs.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: takes nothing; returns the current task's address.
        Self(unsafe { bpf_get_current_task() } as *const u8)
    }

    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The address, to find it again. The kernel reuses it when the task is gone: see
    /// [`Self::is_process`].
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// Whether a task is here.
    #[inline(always)]
    pub(crate) fn is_valid(self) -> bool {
        is_task(self.address()) != 0
    }

    /// Whether it leads the process that had this number at a time since boot. It began before, so
    /// that it is no later one in the same place.
    #[inline(always)]
    pub(crate) fn is_process(self, tgid: u32, at_ns: u64) -> bool {
        self.tgid() == tgid && self.pid() == tgid && self.start_ns() <= at_ns
    }

    /// Whether it ends, or has ended.
    #[inline(always)]
    pub(crate) fn is_exiting(self) -> bool {
        Probe::read_member::<u32>(self.0, offsets::TASK_FLAGS.present()) & EXITING != 0
    }

    /// When it began, in nanoseconds since boot.
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

    /// Adds the last part of its executable's path, cut off where it is longer, to what is all NUL.
    /// A task of the kernel has none, nor has one that has ended.
    #[inline(always)]
    pub(crate) fn exe(self, to: &mut [u8; EXE_NAME]) {
        let mm: *const u8 = Probe::read_member(self.0, offsets::TASK_MM.present());
        let file: *const u8 = Probe::read_member(mm, offsets::MM_EXE_FILE.present());
        let dentry: *const u8 = Probe::read_member(file, offsets::FILE_DENTRY.present());
        let name: *const u8 = Probe::read_member(dentry, offsets::DENTRY_NAME.present());
        Probe::read_text(name, to);
    }

    /// What `bpf_get_current_uid_gid` says of the current task.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        Probe::read_member(self.cred(), offsets::CRED_UID.present())
    }

    /// What it may do, `struct cred`.
    #[inline(always)]
    pub(crate) fn cred(self) -> *const u8 {
        Probe::read_member(self.0, offsets::TASK_CRED.present())
    }

    /// What `bpf_get_current_cgroup_id` says of the current task; 0 without cgroups.
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

    /// The table of open files of its process, whose first task it is, `struct fdtable`; NULL when the
    /// process has ended.
    #[inline(always)]
    pub(crate) fn open_files(self) -> *const u8 {
        let files = Task(files_of_process(self.address()) as *const u8);
        Probe::read_member(files.0, offsets::OPEN_FILES_TABLE.present())
    }
}

/// Whether a task lies at an address: 1 or 0. What lies there otherwise passes for one only if it has
/// a pointer to a group's leader just where a task has it, and so has the leader's number.
///
/// A global function: the verifier goes through it once in a program, whatever the paths to it, and
/// takes numbers for arguments only.
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

/// How many threads of a process are looked at for its open files.
const THREADS: usize = 8;

/// The open files, `struct files_struct`, of the process whose first task lies at an address. That may
/// have ended, and given up its own, while other threads live on: they come after it in the list of the
/// process (`signal->thread_head`). A global function, as [`is_task`].
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
