//! Names of Unix sockets: paths, and abstract names.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user,
};
use socktrace_ebpf::{Path, event::PATH_BYTES};

use crate::{
    load::Probe,
    offsets,
    task::{self, Task},
};

/// Location of a name, in the format of `sun_path`.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    address: u64,
    /// 0 for no name.
    length: u64,
    is_users: bool,
}

impl Name {
    pub(crate) const NONE: Self = Self { address: 0, length: 0, is_users: false };

    /// A name in the kernel's memory.
    #[inline(always)]
    pub(crate) fn of_kernel(address: u64, length: u64) -> Self {
        Self { address, length, is_users: false }
    }

    /// A name in the current program's memory.
    #[inline(always)]
    pub(crate) fn of_user(address: u64, length: u64) -> Self {
        Self { is_users: true, ..Self::of_kernel(address, length) }
    }

    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.length == 0
    }

    /// Copies it to an event. Does nothing for a name in kernel memory that cannot be read.
    #[inline(always)]
    pub(crate) fn write(self, path: &mut Path) {
        let (to, from) = (path.bytes.as_mut_ptr().cast(), self.address as *const _);
        let length = self.length;
        if length > PATH_BYTES as u64 {
            return;
        }
        let failed = if self.is_users {
            // SAFETY: the helper writes no more than there is room for, and checks the address itself.
            unsafe { bpf_probe_read_user(to, length as u32, from) }
        } else if offsets::READ_KERNEL.get() == 1 {
            // SAFETY: the helper writes no more than there is room for, and checks the address itself.
            unsafe { bpf_probe_read_kernel(to, length as u32, from) }
        } else {
            return;
        };
        if failed == 0 {
            path.length = length as u32;
        }
    }

    /// Whether it names a service that most hosts do without, and whose clients go on without it:
    /// the name service cache, which the C library tries before each lookup of a user, group or
    /// host (`_PATH_NSCDSOCKET` in glibc and musl), or the boot splash, which systemd tries at each
    /// job (`PLYMOUTH_SOCKET`).
    #[inline(always)]
    pub(crate) fn is_of_spare_service(self) -> bool {
        const NSCD: [u64; 3] = words(*b"/var/run/nscd/socket\0\0\0\0");
        const NSCD_BYTES: u64 = 20;
        /// An abstract name, without its last letters.
        const PLYMOUTH: [u64; 3] = words(*b"\0/org/freedesktop/plymou");

        if self.is_users || self.length < NSCD_BYTES || offsets::READ_KERNEL.get() != 1 {
            return false;
        }
        let [begin, middle, end] = Probe::read::<[u64; 3]>(self.address as *const u8, 0);
        let is = |name: [u64; 3], end: u64| [begin, middle, end] == name;
        // A path counts only up to its NUL.
        is(NSCD, (end.to_le() & 0xff_ffff_ffff).to_le()) || is(PLYMOUTH, end)
    }

    /// Key of the name within a root directory and a network namespace; 0 for no name, and for a
    /// path that depends on more.
    #[inline(always)]
    pub(crate) fn key(self, root: Root, netns: u32) -> u64 {
        if self.is_none() || self.is_users {
            return 0;
        }
        unix_name_key(self.address, self.length, root.dentry, root.mount, u64::from(netns))
    }
}

/// Root directory of a process, where its paths begin (`struct fs_struct`).
#[derive(Clone, Copy)]
pub(crate) struct Root {
    /// A container's differs from the host's.
    dentry: u64,
    /// Differs also for a service that has its own view of the same file system.
    mount: u64,
}

impl Root {
    /// Root of the current process.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        if !task::is_readable() {
            return Self { dentry: 0, mount: 0 };
        }
        // SAFETY: takes nothing; returns the current task's address.
        Self::of(Task::new(unsafe { bpf_get_current_task() } as *const u8))
    }

    /// Root of a task. Must not be called where tasks cannot be read.
    #[inline(always)]
    pub(crate) fn of(task: Task) -> Self {
        let fs: *const u8 =
            Probe::read_member(task.address() as *const u8, offsets::TASK_FS.present());
        Self {
            dentry: Probe::read_member(fs, offsets::FS_ROOT_DENTRY.present()),
            mount: Probe::read_member(fs, offsets::FS_ROOT_MOUNT.present()),
        }
    }
}

/// The beginning of a name, as words in memory.
const fn words(bytes: [u8; 24]) -> [u64; 3] {
    let [a, b, c, ..] = bytes.as_chunks::<8>().0 else {
        return [0; 3];
    };
    [u64::from_ne_bytes(*a), u64::from_ne_bytes(*b), u64::from_ne_bytes(*c)]
}

/// Words that a name fills, with a NUL at its end.
const WORDS: usize = PATH_BYTES.div_ceil(8);

/// Beginnings of paths that each service may have to itself (`PrivateTmp=` of systemd).
const TMP: u64 = u64::from_le_bytes(*b"/tmp/\0\0\0");
const TMP_BITS: u64 = (1 << 40) - 1;
const VAR_TMP: u64 = u64::from_le_bytes(*b"/var/tmp");

/// See [`Name::key`]. A global function: the verifier walks it once per program, whatever the paths
/// to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn unix_name_key(address: u64, length: u64, dentry: u64, mount: u64, netns: u64) -> u64 {
    if !task::is_readable() || length > PATH_BYTES as u64 {
        return 0;
    }
    let mut words = [0_u64; WORDS];
    let to = words.as_mut_ptr().cast();
    let from = address as *const u8;
    let scope = match Probe::read::<u8>(from, 0) {
        // An abstract name depends on no directory, only on its network namespace.
        0 => {
            // SAFETY: the helper writes no more than there is room for, and checks the address itself.
            unsafe { bpf_probe_read_kernel(to, length as u32, from.cast()) };
            netns << 8 | length
        }
        // A path ends at its NUL, or at the length that the program gave.
        b'/' => {
            // SAFETY: the helper writes at most 109 bytes of 112, and checks the address itself.
            unsafe { bpf_probe_read_kernel_str(to, length as u32 + 1, from.cast()) };
            let begin = u64::from_le(words[0]);
            let is_private = begin & TMP_BITS == TMP || begin == VAR_TMP;
            dentry ^ if is_private { mount } else { 0 }
        }
        // A relative path: which file it is depends on the directory.
        _ => return 0,
    };
    let mut hash = scope;
    for word in words {
        // The multiplier of Fibonacci hashing.
        hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash | 1
}
