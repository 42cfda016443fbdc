//! Listeners of Unix sockets by name: a connect that fails knows no more of them than that.

use core::ptr;

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::{TcpState, UNIX_LISTENERS as ENTRIES};

use super::{Name, Root};
use crate::{load::Probe, sock::Sock};

/// The address of each listener's socket, and with `--unix-sends` of each receiver's, by its name's key.
/// Those that have gone stay until there is no room.
#[btf_map]
static UNIX_LISTENERS: LruHashMap<u64, u64, ENTRIES> = LruHashMap::new();

/// Remembers a socket that listens, or receives datagrams, whose name lies below this root.
#[inline(always)]
pub(crate) fn remember(sock: Sock<Probe>, root: Root) {
    let key = sock.unix_name().key(root, sock.netns());
    if key != 0 {
        // A map of this kind makes room by itself.
        let _kept = UNIX_LISTENERS.insert(key, sock.key(), 0);
    }
}

/// The socket that listens at a name, for the current process; NULL where it is not known.
#[inline(always)]
pub(crate) fn find(name: Name, netns: u32) -> Sock<Probe> {
    find_if(name, netns, |sock| sock.is_unix() && sock.state() == TcpState::Listen as u8)
}

/// The socket that receives datagrams at a name; none where it is not found.
#[inline(always)]
pub(crate) fn find_receiver(name: Name, netns: u32) -> Sock<Probe> {
    find_if(name, netns, Sock::is_unix_datagram)
}

#[inline(always)]
fn find_if(name: Name, netns: u32, is_wanted: impl FnOnce(Sock<Probe>) -> bool) -> Sock<Probe> {
    let root = Root::current();
    let key = name.key(root, netns);
    // What lies there now may be another socket, or none.
    let sock = Sock::<Probe>::new(listener_at(key) as *const u8);
    let is_there = is_wanted(sock) && sock.unix_name().key(root, netns) == key;
    if is_there { sock } else { Sock::new(ptr::null()) }
}

/// The address of the socket that listened last by this key, 0 for none.
#[inline(always)]
fn listener_at(key: u64) -> u64 {
    // SAFETY: copied at once. No name has the key 0.
    unsafe { UNIX_LISTENERS.get(key) }.copied().unwrap_or(0)
}
