//! Listeners of Unix sockets by name: a connect that fails knows no more of them than that.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::{TcpState, UNIX_LISTENERS as ENTRIES};

use super::{Name, Root};
use crate::{load::Probe, sock::Sock};

/// The address of each listener's socket, by its name's key. Those that have gone stay until there is no
/// room.
#[btf_map]
static UNIX_LISTENERS: LruHashMap<u64, u64, ENTRIES> = LruHashMap::new();

/// Remembers a socket that listens, whose name lies below this root.
#[inline(always)]
pub(crate) fn remember(sock: Sock<Probe>, root: Root) {
    let key = sock.unix_name().key(root, sock.netns());
    if key != 0 {
        // A map of this kind makes room by itself.
        let _kept = UNIX_LISTENERS.insert(key, sock.key(), 0);
    }
}

/// The socket that listens at a name, for the current process; `None` where it is not known.
#[inline(always)]
pub(crate) fn find(name: Name, netns: u32) -> Option<Sock<Probe>> {
    let root = Root::current();
    let key = name.key(root, netns);
    if key == 0 {
        return None;
    }
    // SAFETY: copied at once.
    let address = *unsafe { UNIX_LISTENERS.get(&key) }?;
    // What lies there now may be another socket, or none.
    let sock = Sock::<Probe>::new(address as *const u8);
    let listens = sock.is_unix() && sock.state() == TcpState::Listen as u8;
    (listens && sock.unix_name().key(root, netns) == key).then_some(sock)
}
