//! Makers of Unix sockets: the other end stores them, for `SO_PEERCRED`.

use socktrace_ebpf::TcpState;

use super::receivers::receiver;
use crate::{
    load::Probe,
    offsets,
    sock::Sock,
    task::{self, Task},
};

/// `PIDTYPE_TGID` in `include/linux/pid_types.h`, the same in 5.10 to 7.3, and the sizes of `struct
/// hlist_head` and `struct hlist_node`.
const PROCESS: u64 = 1;
const HEAD_BYTES: u64 = 8;
const NODE_BYTES: u64 = 16;

/// First task of the process that connected this Unix socket, or made both ends, or listened: on
/// this very socket, or on the one that accepted the connection. For datagram sockets, of the
/// process that receives. `None` if it has gone.
#[inline(always)]
pub(crate) fn maker(sock: u64) -> Option<Task> {
    let task = Task::new(unix_maker(sock) as *const u8);
    (task.address() != 0).then_some(task)
}

/// Address of that task, 0 for none. A global function: the verifier walks it once per program,
/// whatever the paths to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn unix_maker(sock: u64) -> u64 {
    if !task::is_readable() || offsets::SOCK_PEER_PID.is_absent() {
        return 0;
    }
    let sock = Sock::<Probe>::new(sock as *const u8);
    if !sock.is_unix() {
        return 0;
    }
    if sock.is_unix_datagram() {
        let task = Task::new(receiver(sock.key()) as *const u8);
        return if task.address() != 0 && task.is_valid() { task.address() } else { 0 };
    }
    let listens = sock.state() == TcpState::Listen as u8;
    let keeper = if listens { sock } else { sock.unix_peer() };
    let tasks = u64::from(offsets::PID_TASKS.present().get()) + PROCESS * HEAD_BYTES;
    let first: u64 = Probe::read(keeper.peer_pid(), tasks as usize);
    if first == 0 {
        return 0;
    }
    let links = u64::from(offsets::TASK_PID_LINKS.present().get()) + PROCESS * NODE_BYTES;
    let task = Task::new(first.wrapping_sub(links) as *const u8);
    if task.is_valid() { task.address() } else { 0 }
}
