//! Calls of kernel functions that are under way, for the return probes of kprobe mode, which see
//! what a function returns but not what it was called with.
//!
//! The task and the function identify a call; in an interrupt of an idle processor, the processor does.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_smp_processor_id},
    macros::btf_map,
    programs::ProbeContext,
};
use socktrace_ebpf::CALL_ENTRIES;

use crate::{arguments::Arguments, load::Probe};

/// A kernel function that is probed at its return.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Function {
    TcpAbort,
    InetStreamConnect,
    InetDgramConnect,
    InetBind,
    Inet6Bind,
    InetListen,
    SecuritySocketConnect,
    SecuritySocketBind,
    SecuritySocketListen,
    Setsockopt,
    Getsockopt,
    SysSetsockopt,
    SysGetsockopt,
    SysSocket,
    TcpRetransmitSkb,
    TcpWriteWakeup,
    UnixConnect,
    UnixBind,
    UnixListen,
}

#[repr(C)]
struct Key {
    pid_tgid: u64,
    function: u64,
}

/// How many arguments are remembered: the most that a hook asks for at a return.
const REMEMBERED: usize = 5;

/// Arguments of a function.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Call {
    arguments: [u64; REMEMBERED],
}

impl Arguments for Call {
    type Load = Probe;

    #[inline(always)]
    fn argument(&self, index: usize) -> u64 {
        self.arguments[index]
    }
}

/// A return that is missed leaves its call behind, until the task calls the function again or the
/// map needs the room.
#[btf_map]
static CALLS: LruHashMap<Key, Call, CALL_ENTRIES> = LruHashMap::new();

#[inline(always)]
fn key(function: Function) -> Key {
    let pid_tgid = match bpf_get_current_pid_tgid() {
        // The idle tasks of all processors, whose timers run at the same time.
        // SAFETY: the helper takes nothing and cannot fail.
        0 => u64::from(unsafe { bpf_get_smp_processor_id() }),
        pid_tgid => pid_tgid,
    };
    Key { pid_tgid, function: function as u64 }
}

/// Remembers what the current task calls a function with.
#[inline(always)]
pub(crate) fn enter(function: Function, ctx: &ProbeContext) {
    let arguments =
        [ctx.argument(0), ctx.argument(1), ctx.argument(2), ctx.argument(3), ctx.argument(4)];
    // A map of this kind evicts entries by itself; without the call its return is not reported.
    let _unknown = CALLS.insert(key(function), Call { arguments }, 0);
}

/// Arguments of the function that returns now, if they are known. They are removed.
#[inline(always)]
pub(crate) fn leave(function: Function) -> Option<Call> {
    let key = key(function);
    // SAFETY: copied at once, and only the current task uses its entry.
    let call = *unsafe { CALLS.get(&key) }?;
    let _gone_already = CALLS.remove(&key);
    Some(call)
}

/// Forgets a call of the current task whose return was missed.
#[inline(always)]
pub(crate) fn forget(function: Function) {
    let _none = CALLS.remove(key(function));
}
