//! The iterator `bpf_map_elem` (`kernel/bpf/map_iter.c`, since 5.8): visits every tracked listener
//! when the daemon reads it. Counts and reports what each has dropped, and writes its state.
//!
//! Context: `struct bpf_iter__bpf_map_elem { meta, map, key, value }`, whose key and value are NULL
//! at the end. The socket may have gone: what is read at its address is used only if it listens on
//! the same port.

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use socktrace_ebpf::{ListenerState, TcpState};

use crate::{
    listeners::{self, Listener, Occasion},
    load::Probe,
    offsets,
    sock::Sock,
};

/// `struct bpf_iter_meta`, the same in 5.10 to 7.3; its pointer is eight bytes wide everywhere
/// (`__bpf_md_ptr`).
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

/// Context of `iter/bpf_map_elem`, the same in 5.10 to 7.3; its pointers are eight bytes wide everywhere.
#[repr(C)]
struct MapElement {
    meta: *const Meta,
    map: *const u8,
    key: *const u64,
    value: *const Listener,
}

/// The iterator's program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
extern "C" fn bpf_map_elem(ctx: *const MapElement) -> i32 {
    // SAFETY: the kernel passes such a context, and the verifier checks loads from it.
    let key = unsafe { (*ctx).key };
    // SAFETY: the kernel passes such a context, and the verifier checks loads from it.
    let value = unsafe { (*ctx).value };
    if key.is_null() || value.is_null() || offsets::READ_KERNEL.get() != 1 {
        return 0;
    }
    // SAFETY: the key of an element of the map.
    let address = unsafe { *key };
    // SAFETY: the value of that element.
    let listener = unsafe { &*value };
    let &Listener { netns, port, family, local, ref owner, .. } = listener;
    let sock = Sock::<Probe>::new(address as *const u8);
    let mut state = ListenerState {
        key: address,
        cgroup_id: owner.cgroup_id,
        tgid: owner.tgid,
        local,
        netns,
        port,
        family,
        ..ListenerState::default()
    };
    if sock.state() == TcpState::Listen as u8 && sock.bound_port() == port {
        listeners::look_at(sock, Occasion::Look);
        (state.waiting, state.limit) = sock.accept_queue();
        (state.drops, state.listens) = (sock.drops(), 1);
    } else {
        listeners::look_at_closed(address, listener);
    }
    // SAFETY: the kernel passes such a context, and the verifier checks loads from it.
    let meta = unsafe { (*ctx).meta };
    // SAFETY: the context points to such metadata, and the verifier checks loads from it.
    let seq = unsafe { (*meta).seq };
    // SAFETY: the file that the daemon reads, and exactly the bytes of `state`.
    unsafe { bpf_seq_write(seq, (&raw const state).cast(), size_of::<ListenerState>() as u32) };
    0
}
