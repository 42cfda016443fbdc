//! Listeners on Unix sockets by name, which is all that a failed connect knows of them.

use core::ptr;

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::{TcpState, UNIX_LISTENERS as ENTRIES};

use super::{Name, Root};
use crate::{load::Probe, sock::Sock};

/// Address of each listener's socket, and with `--unix-sends` of each receiver's, by the key of its
/// name. Sockets that are gone stay until there is no room.
#[btf_map]
static UNIX_LISTENERS: LruHashMap<u64, u64, ENTRIES> = LruHashMap::new();

/// Records a socket that listens, or receives datagrams, under a name below this root.
#[inline(always)]
pub(crate) fn remember(sock: Sock<Probe>, root: Root) {
    let key = sock.unix_name().key(root, sock.netns());
    if key != 0 {
        // An LRU map evicts entries to make room.
        let _kept = UNIX_LISTENERS.insert(key, sock.key(), 0);
    }
}

/// Socket that listens at a name, for the current process; NULL if it is unknown.
#[inline(always)]
pub(crate) fn find(name: Name, netns: u32) -> Sock<Probe> {
    find_if(name, netns, |sock| sock.is_unix() && sock.state() == TcpState::Listen as u8)
}

/// Socket that receives datagrams at a name; NULL if it is not found.
#[inline(always)]
pub(crate) fn find_receiver(name: Name, netns: u32) -> Sock<Probe> {
    find_if(name, netns, Sock::is_unix_datagram)
}

#[inline(always)]
fn find_if(name: Name, netns: u32, is_wanted: impl FnOnce(Sock<Probe>) -> bool) -> Sock<Probe> {
    let root = Root::current();
    let key = name.key(root, netns);
    // At that address there may now be another socket, or none.
    let sock = Sock::<Probe>::new(listener_at(key) as *const u8);
    let is_there = is_wanted(sock) && sock.unix_name().key(root, netns) == key;
    if is_there { sock } else { Sock::new(ptr::null()) }
}

/// Address of the last socket that listened under this key, 0 for none.
#[inline(always)]
fn listener_at(key: u64) -> u64 {
    // SAFETY: copied at once. No name has the key 0.
    unsafe { UNIX_LISTENERS.get(key) }.copied().unwrap_or(0)
}
