//! Kernel function calls in progress, for return probes in kprobe mode: they see what a function
//! returns but not its arguments.
//!
//! A call is identified by its task and function; in an interrupt of an idle CPU, by the CPU and
//! function.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_smp_processor_id},
    macros::btf_map,
    programs::ProbeContext,
};
use socktrace_ebpf::CALL_ENTRIES;

use crate::{arguments::Arguments, load::Probe};

/// Kernel function with a return probe.
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

/// Number of arguments stored: the most that a hook reads at a return.
const REMEMBERED: usize = 5;

/// Arguments of a call.
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

/// Calls in progress. A call whose return is missed stays until the task calls the function again
/// or the map needs the room.
#[btf_map]
static CALLS: LruHashMap<Key, Call, CALL_ENTRIES> = LruHashMap::new();

#[inline(always)]
fn key(function: Function) -> Key {
    let pid_tgid = match bpf_get_current_pid_tgid() {
        // All idle tasks have this id, and timers interrupt them on several CPUs at the same time.
        // SAFETY: the helper takes nothing and cannot fail.
        0 => u64::from(unsafe { bpf_get_smp_processor_id() }),
        pid_tgid => pid_tgid,
    };
    Key { pid_tgid, function: function as u64 }
}

/// Stores the arguments with which the current task calls a function.
#[inline(always)]
pub(crate) fn enter(function: Function, ctx: &ProbeContext) {
    let arguments =
        [ctx.argument(0), ctx.argument(1), ctx.argument(2), ctx.argument(3), ctx.argument(4)];
    // An LRU map evicts entries to make room. If a call is not stored, its return is not reported.
    let _unknown = CALLS.insert(key(function), Call { arguments }, 0);
}

/// Removes and returns the arguments of the function that is returning, if they are known.
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
