//! Hooks attached by kprobes, either on request or because BPF trampolines are missing.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Result, ensure};
use nix::libc;

use super::{
    catalogue, daemon, harness,
    tracer::{PROGRAM, Tracer},
};

/// Every hook has a part in one of these, except the timers.
const CORE: &[&str] = &[
    "connect_refused/ipv4",
    "connect_retried_after_failure/ipv6",
    "connect_cancelled/ipv4",
    "connect_unreachable_3_1/ipv4",
    "connect_unreachable_1_0/ipv6",
    "connect_no_route/mapped",
    "connect_no_route_after_failure/ipv4",
    "connect_no_route_after_failure/ipv6",
    "connect_no_route_only_v6/mapped",
    "connect_local_malformed/ipv6",
    "write_unconnected_dissolved/ipv6",
    "reset_by_peer_listener/ipv4",
    "interrupted_connect/ipv4",
    "reset_by_peer_process/ipv4",
    "reset_before_accept/ipv6",
    "reset_by_peer_fast_open/ipv6",
    "unreachable_before_accept/ipv4",
    "write_after_unreachable/ipv4",
    "send_timeout/ipv4",
    "connect_send_timeout/ipv4",
    "connect_send_timeout_fast_open/ipv6",
    "netlink_overrun/ipv4",
    "aborted_locally/ipv4",
    "write_after_shutdown/ipv6",
    "sigpipe_kills/ipv4",
    "premature_eof/ipv4",
    "sockopt_rejected_values/ipv4",
    "bind_failed_in_use/ipv4",
    "bind_failed_not_local/ipv6",
    "listen_failed_in_use/ipv4",
    "accept_resources/ipv4",
    "orderly_half_close/ipv4",
    "reset_by_peer_unread_after_its_shutdown/ipv4",
    "premature_eof_half_close/ipv4",
    "undelivered_polled/ipv6",
    "undelivered_connect/ipv4",
    "undelivered_mptcp/ipv4",
    "unix_connect_refused",
    "unix_backlog_full",
    "unix_reset_by_peer",
    "unix_reset_by_listener",
    "unix_write_after_peer_close",
    "unix_bind_failed",
];

const TIMERS: &[&str] = &[
    "connect_timeout/ipv4",
    "retransmit_timeout/ipv6",
    "user_timeout/ipv4",
    "keepalive_timeout/ipv4",
    "connect_send_failed/ipv6",
    "send_failed/ipv4",
    "send_failed_in_flight/ipv6",
];

/// Kprobes report everything they can see.
pub(super) fn by_kprobe() -> Result<()> {
    reported_by_kprobe(CORE)
}

/// Kprobes distinguish which timer gave up.
pub(super) fn timers_by_kprobe() -> Result<()> {
    reported_by_kprobe(TIMERS)
}

fn reported_by_kprobe(names: &[&str]) -> Result<()> {
    let listen = ["--listen", "127.0.0.1:0"];
    let args = ["--attach", "kprobe", "--output", "json", "--all", listen[0], listen[1]];
    let tracer = Tracer::must_start(&args)?;
    for name in names {
        let scenario = catalogue::named(name)?;
        let differences = harness::act(scenario, &tracer, true, &mut Vec::new())?;
        ensure!(differences.is_empty(), "{name}: {differences}");
    }
    Ok(())
}

/// A kernel that refuses to link trampolines, as arm64 does before 6.4, gets kprobes automatically.
pub(super) fn fallback() -> Result<()> {
    let args = ["--output", "json", "--listen", "127.0.0.1:0"];
    let tracer = Tracer::run(without_trampolines(&args))?;
    daemon::reports_a_reset(&tracer)?;
    let metrics = tracer.scrape()?;
    let fallback = r#"socktrace_hook_attached{hook="tcp_done",state="fallback"}"#;
    ensure!(metrics.get(fallback) == Some(&1.0), "no fallback in {metrics:?}");
    let (_, said) = tracer.stop(nix::sys::signal::Signal::SIGINT)?;
    ensure!(
        said.contains("by kprobe: tcp_done, tcp_reset, ") && said.contains("no BPF trampolines"),
        "the fallback is not reported in:\n{said}"
    );
    Ok(())
}

/// Command that runs the daemon as if the kernel had no trampolines.
pub(super) fn without_trampolines(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    // SAFETY: prctl is async-signal-safe.
    unsafe { command.pre_exec(refuse_trampolines) };
    command
}

/// Makes `bpf(BPF_RAW_TRACEPOINT_OPEN)`, which links trampolines and typed tracepoints, fail with
/// ENOTSUPP in this process.
fn refuse_trampolines() -> io::Result<()> {
    const BPF_RAW_TRACEPOINT_OPEN: u32 = 17;
    const ENOTSUPP: u32 = 524;
    /// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K` and `BPF_RET | BPF_K`.
    const LOAD: u16 = 0x20;
    const COMPARE: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Offsets in `struct seccomp_data`; arguments are 64 bits wide, here little-endian.
    const NUMBER: u32 = 0;
    const FIRST_ARGUMENT: u32 = 16;

    let load = |offset| libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: offset };
    let skip_unless = |value, skip| libc::sock_filter { code: COMPARE, jt: 0, jf: skip, k: value };
    let end = |action| libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: action };
    let bpf = u32::try_from(libc::SYS_bpf).map_err(io::Error::other)?;
    let mut filter = [
        load(NUMBER),
        skip_unless(bpf, 3),
        load(FIRST_ARGUMENT),
        skip_unless(BPF_RAW_TRACEPOINT_OPEN, 1),
        end(libc::SECCOMP_RET_ERRNO | ENOTSUPP),
        end(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 6, filter: filter.as_mut_ptr() };
    // SAFETY: takes integers and changes only this process.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the program and its filter live until the call returns.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }
        != 0
    {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
