//! Sockets behind descriptors of the current process, for hooks that get no socket.
//!
//! The path leads through pointers to pointers and `void *`, which have no type to load through:
//! only `bpf_probe_read_kernel` can follow it, see [`READ_KERNEL`].
//!
//! [`READ_KERNEL`]: crate::offsets::READ_KERNEL

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{load::Probe, offsets, sock::Sock, socket::Socket};

/// The socket behind `fd` if failing calls on its kind are reported; `None` for everything else,
/// and where the socket cannot be read.
#[inline(always)]
pub(crate) fn sock(fd: i32) -> Option<Sock<Probe>> {
    any_sock(fd).filter(|sock| sock.kind().reports_calls())
}

/// The socket behind `fd`, of any kind.
#[inline(always)]
pub(crate) fn any_sock(fd: i32) -> Option<Sock<Probe>> {
    if fd < 0 || offsets::READ_KERNEL.get() != 1 {
        return None;
    }
    // SAFETY: takes nothing; returns the current task's address.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let pointer = Probe::read_member::<*const u8>;
    let table = pointer(
        pointer(pointer(task, &offsets::TASK_FILES), &offsets::FILES_FDT),
        &offsets::FDTABLE_FD,
    );
    // The call has already looked up the descriptor, so it is within the table.
    let file: *const u8 = Probe::read(table, fd as usize * size_of::<usize>());
    sock_of(file)
}

/// The socket of a `struct file`. Must not be called where kernel memory cannot be read.
#[inline(always)]
pub(crate) fn sock_of(file: *const u8) -> Option<Sock<Probe>> {
    let socket: *const u8 = Probe::read_member(file, &offsets::FILE_PRIVATE_DATA);
    let sock = Socket::new(socket).sock();
    // A file that is not a socket has no `sock` that points back.
    sock.is_of(socket).then_some(sock)
}
