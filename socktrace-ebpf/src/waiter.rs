//! Waiters for sockets: a task that waits is woken, and its call gets the error.
//!
//! A task is in the queue of a socket (`sk->sk_wq->wait`, walked by `sock_def_error_report`)
//! because of one of:
//! - a call that blocks: `private` is the task (`DEFINE_WAIT_FUNC`, `include/linux/wait.h`);
//! - poll or select: `private` is its `struct poll_wqueues` (`__pollwait`, `fs/select.c`);
//! - epoll: `private` is NULL and the entry is part of a `struct eppoll_entry`
//!   (`ep_ptable_queue_proc`, `fs/eventpoll.c`); tasks in `epoll_wait` are in the queue of the
//!   `struct eventpoll`, again by `private`.
//!
//! These structures are the same in 5.10 to 7.3. The functions in the entries would tell them
//! apart, but their addresses are hidden from processes without `CAP_SYSLOG`. So each possibility
//! is tried, and a task has to look like one. The queue is read without its lock, so an entry that
//! has just left it may be found.

use crate::{
    load::Probe,
    offsets,
    task::{self, Task},
};

/// Number of entries visited in a queue.
const SOCKET_ENTRIES: usize = 8;
const EPOLL_ENTRIES: usize = 4;

/// First task that waits for the socket at this address. Only for use where
/// [`is_readable`](crate::task::is_readable).
#[inline(always)]
pub(crate) fn find(sock: u64) -> Option<Task> {
    let task = Task::new(first_waiter(sock) as *const u8);
    (task.address() != 0).then_some(task)
}

/// Address of the first waiter, 0 for none. A global function, like [`is_task`](crate::task).
/// Kernels before 6.8 also verify functions that are never called, so each has to check whether it
/// may read.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn first_waiter(sock: u64) -> u64 {
    if !task::is_readable() {
        return 0;
    }
    let queue: *const u8 = Probe::read_member(sock as *const u8, offsets::SOCK_WQ.present());
    let head = queue.wrapping_add(offsets::SOCKET_WQ_WAITERS.present().get() as usize);
    let link = offsets::WAIT_ENTRY_LINK.present().get() as usize;
    let mut at: *const u8 = Probe::read(head, 0);
    for _ in 0..SOCKET_ENTRIES {
        if queue.is_null() || at == head || at.is_null() {
            return 0;
        }
        let entry = at.wrapping_sub(link);
        let private: u64 = Probe::read_member(entry, offsets::WAIT_ENTRY_PRIVATE.present());
        // Both from here: each nested call takes 32 of the 512 bytes of stack that all calls share.
        let found =
            if private == 0 { first_in_epoll(entry as u64) } else { task_of_private(private) };
        if found != 0 {
            return found;
        }
        at = Probe::read(at, 0);
    }
    0
}

/// The task that an entry of a socket's queue with this `private` wakes, 0 if none is found. A
/// global function, like [`is_task`](crate::task).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn task_of_private(private: u64) -> u64 {
    if !task::is_readable() {
        return 0;
    }
    let private = private as *const u8;
    if Task::new(private).is_valid() {
        return private as u64;
    }
    let task = Task::new(Probe::read_member(private, offsets::POLL_TASK.present()));
    if task.is_valid() { task.address() } else { 0 }
}

/// First task in `epoll_wait` on the epoll instance that an entry of a socket's queue belongs to, 0
/// for none. A global function, like [`is_task`](crate::task).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn first_in_epoll(entry: u64) -> u64 {
    if !task::is_readable() {
        return 0;
    }
    let wait = offsets::EPOLL_ENTRY_WAIT.present().get() as usize;
    let waiters = offsets::EPOLL_WAITERS.present().get() as usize;
    let link = offsets::WAIT_ENTRY_LINK.present().get() as usize;
    let entry = (entry as *const u8).wrapping_sub(wait);
    let item: *const u8 = Probe::read_member(entry, offsets::EPOLL_ENTRY_BASE.present());
    let epoll: *const u8 = Probe::read_member(item, offsets::EPOLL_ITEM_EP.present());
    let head = epoll.wrapping_add(waiters);
    let mut at: *const u8 = Probe::read(head, 0);
    for _ in 0..EPOLL_ENTRIES {
        if epoll.is_null() || at == head || at.is_null() {
            return 0;
        }
        let sleeper = at.wrapping_sub(link);
        let task = Task::new(Probe::read_member(sleeper, offsets::WAIT_ENTRY_PRIVATE.present()));
        if task.is_valid() {
            return task.address();
        }
        at = Probe::read(at, 0);
    }
    0
}
