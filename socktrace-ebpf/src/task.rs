//! Reads tasks other than the current one, which takes `bpf_probe_read_kernel`: only where
//! [`is_readable`].

use aya_ebpf::helpers::generated::bpf_get_current_task;
use socktrace_ebpf::event::EXE_NAME;

use crate::{load::Probe, offsets};

/// A `struct task_struct`, or what may be one.
#[derive(Clone, Copy)]
pub(crate) struct Task(*const u8);

/// Whether other tasks can be read: not under lockdown=confidentiality.
#[inline(always)]
pub(crate) fn is_readable() -> bool {
    offsets::READ_KERNEL.get() == 1 && !offsets::TASK_TGID.is_absent()
}

/// The most that a stack takes (`THREAD_SIZE`): 16 KiB on x86-64 and arm64, and up to 64 KiB. What comes
/// after it is no memory of others: stacks are mapped for themselves (`CONFIG_VMAP_STACK`).
const STACK_BYTES: u64 = 64 * 1024;

/// Whether an address lies on the current task's kernel stack. Only where tasks can be read.
#[inline(always)]
pub(crate) fn is_on_stack(address: u64) -> bool {
    // SAFETY: takes nothing; returns the current task's address.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let stack: u64 = Probe::read_member(task, &offsets::TASK_STACK);
    address.wrapping_sub(stack) < STACK_BYTES
}

impl Task {
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
        self.tgid() == tgid
            && self.pid() == tgid
            && Probe::read_member::<u64>(self.0, offsets::TASK_START.present()) <= at_ns
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
        let cred: *const u8 = Probe::read_member(self.0, offsets::TASK_CRED.present());
        Probe::read_member(cred, offsets::CRED_UID.present())
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

    /// Its table of open files, `struct fdtable`; NULL when it has ended.
    #[inline(always)]
    pub(crate) fn open_files(self) -> *const u8 {
        let files: *const u8 = Probe::read_member(self.0, offsets::OPEN_FILES.present());
        Probe::read_member(files, offsets::OPEN_FILES_TABLE.present())
    }
}

/// Whether a task lies at an address: 1 or 0. What lies there otherwise passes for one only if it has
/// a pointer to a group's leader just where a task has it, and the leader's number likewise.
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
