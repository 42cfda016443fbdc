//! Who receives datagrams by a Unix socket: who bound it, or had it when socktrace came. Nothing else says
//! so of one that does not read. Known only where sends are looked at.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::UNIX_LISTENERS as ENTRIES;

use super::{Root, remember};
use crate::{load::Probe, offsets, sock::Sock, task::Task};

/// The address of the process's first task by that of the socket. It is believed only where that process
/// has a descriptor of the socket.
#[btf_map]
static UNIX_RECEIVERS: LruHashMap<u64, u64, ENTRIES> = LruHashMap::new();

/// A task has this socket, which may receive datagrams at a name.
#[inline(always)]
pub(crate) fn remember_receiver(sock: Sock<Probe>, holder: Task) {
    if offsets::UNIX_SENDS.get() != 1 || !sock.is_unix_datagram() || sock.unix_name().is_none() {
        return;
    }
    remember(sock, Root::of(holder));
    // A map of this kind makes room by itself.
    let _kept = UNIX_RECEIVERS.insert(sock.key(), holder.leader().address(), 0);
}

/// The first task of the process that receives by this socket, 0 for none.
#[inline(always)]
pub(super) fn receiver(sock: u64) -> u64 {
    // SAFETY: copied at once.
    unsafe { UNIX_RECEIVERS.get(sock) }.copied().unwrap_or(0)
}
