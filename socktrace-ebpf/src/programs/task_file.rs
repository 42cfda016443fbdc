//! The iterator `task_file` (`kernel/bpf/task_iter.c`, since 5.8): visits every open file of every
//! process, to find sockets that were opened before socktrace started.
//!
//! Context: `struct bpf_iter__task_file { meta, task, fd, file }`, whose task and file are NULL at
//! the end. The kernel holds a reference to the file meanwhile, so its socket stays.

use crate::{
    listeners,
    load::Probe,
    offsets, owner,
    sock::{Identity, Sock},
    socket::Socket,
    task::{self, Task},
    tcp_sock::TcpSock,
    unix::{self, Root},
};

/// Context of `iter/task_file`, the same in 5.10 to 7.3; its pointers are eight bytes wide
/// everywhere (`__bpf_md_ptr`).
#[repr(C)]
struct TaskFile {
    meta: *const u8,
    task: *const u8,
    fd: u32,
    file: *const u8,
}

/// `S_IFMT` and `S_IFSOCK`.
const FORMAT: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

/// `TCP_CLOSE` and `TCP_LISTEN` in `include/net/tcp_states.h`.
const NO_CONNECTION: [u8; 2] = [7, LISTEN];
const LISTEN: u8 = 10;

/// The iterator's program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn task_file(ctx: *const TaskFile) -> i32 {
    // SAFETY: the kernel passes such a context, and the verifier checks loads from it.
    let task = unsafe { (*ctx).task };
    if task.is_null() {
        return 0;
    }
    // SAFETY: the kernel passes such a context, and the verifier checks loads from it.
    let file = unsafe { (*ctx).file };
    if file.is_null() || !task::is_readable() {
        return 0;
    }
    let inode: *const u8 = Probe::read_member(file, &offsets::FILE_INODE);
    let mode: u16 = Probe::read_member(inode, &offsets::INODE_MODE);
    // A file opened with `O_PATH` has no socket.
    let socket: *const u8 = Probe::read_member(file, &offsets::FILE_SOCKET);
    if mode & FORMAT != SOCKET || socket.is_null() {
        return 0;
    }
    let sock = Socket::<Probe>::new(socket).sock();
    if sock.stream_family().is_none() {
        if sock.is_unix() && sock.state() == LISTEN {
            unix::remember(sock, Root::of(Task::new(task)));
        }
        unix::remember_receiver(sock, Task::new(task));
        return 0;
    }
    let listener = if sock.is_mptcp() { sock.first_subflow().sock() } else { sock };
    listeners::listened(listener, Task::new(task));
    if !NO_CONNECTION.contains(&sock.state()) {
        let role = sock.tcp().map_or(0, TcpSock::opened_as);
        owner::record_holder(identity(file, sock), Task::new(task), role);
    }
    0
}

/// Identity of the socket. The kernel makes a cookie only through a pointer of the socket's type.
#[inline(always)]
fn identity(file: *const u8, sock: Sock<Probe>) -> Identity {
    if offsets::COOKIES.get() != 1 {
        return sock.identity();
    }
    match Socket::of_file(file) {
        Some(socket) => socket.sock().new_identity(),
        None => Identity::NONE,
    }
}
