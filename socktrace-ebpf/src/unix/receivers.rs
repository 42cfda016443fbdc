//! Receivers of datagrams on Unix sockets: the process that bound the socket, or held it when
//! socktrace started. Nothing else identifies the receiver on a socket that it does not read. Known
//! only where sends are hooked.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::UNIX_LISTENERS as ENTRIES;

use super::{Root, remember};
use crate::{load::Probe, offsets, sock::Sock, task::Task};

/// Address of the process's first task, by the address of the socket. Believed only if that process
/// has a descriptor of the socket.
#[btf_map]
static UNIX_RECEIVERS: LruHashMap<u64, u64, ENTRIES> = LruHashMap::new();

/// Records that a task holds this socket, which may receive datagrams at a name.
#[inline(always)]
pub(crate) fn remember_receiver(sock: Sock<Probe>, holder: Task) {
    if offsets::UNIX_SENDS.get() != 1 || !sock.is_unix_datagram() || sock.unix_name().is_none() {
        return;
    }
    remember(sock, Root::of(holder));
    // An LRU map evicts entries to make room.
    let _kept = UNIX_RECEIVERS.insert(sock.key(), holder.leader().address(), 0);
}

/// First task of the process that receives on this socket, 0 for none.
#[inline(always)]
pub(super) fn receiver(sock: u64) -> u64 {
    // SAFETY: copied at once.
    unsafe { UNIX_RECEIVERS.get(sock) }.copied().unwrap_or(0)
}
