//! Hosts on which a feature is missing or forbidden, and which socktrace traces anyway.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    accept, bind, connect,
    expected::Expected,
    harness::{self, End},
    network::Family,
    reset, sockopt,
    tracer::{PROGRAM, Tracer, attach_args},
    write,
};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The daemon, with metrics at any free port.
const ARGS: [&str; 5] = ["--output", "json", "--all", "--listen", "127.0.0.1:0"];

type Make = fn(Family) -> Result<Vec<Expected>>;

/// Failures of every kind that needs neither timers nor ICMP.
const FAILURES: [Make; 6] = [
    connect::refused,
    reset::by_peer,
    reset::before_accept,
    write::after_reset,
    write::after_shutdown,
    bind::address_in_use,
];

/// Nothing changes under lockdown=integrity, which comes with Secure Boot.
pub(super) fn lockdown_integrity() -> Result<()> {
    lock_down("integrity")?;
    let tracer = Tracer::must_start(&ARGS)?;
    attaches_all_but(&tracer, &super::absent_hooks())?;
    reports(&tracer, &FAILURES)?;
    reports(&tracer, &[sockopt::bad_values])?;
    if super::uses_kprobes() {
        return Ok(());
    }
    reports(&tracer, &[accept::listener_closed, accept::too_many_files])
}

/// Under lockdown=confidentiality, programs cannot read arbitrary kernel memory. Features that need
/// this are missing; everything else works.
pub(super) fn lockdown_confidentiality() -> Result<()> {
    lock_down("confidentiality")?;
    super::refusal::locked_kprobes()?;
    if super::uses_kprobes() {
        return Ok(());
    }
    let tracer = Tracer::must_start(&ARGS)?;
    // These hooks read memory without type information.
    let absent: Vec<_> =
        super::absent_hooks().into_iter().chain(["unix_release", "send_sig"]).collect();
    attaches_all_but(&tracer, &absent)?;
    reports_as(&tracer, &FAILURES, Expected::without_tasks)?;
    if super::has_typed_calls() {
        let calls: [Make; 2] = [accept::listener_closed, sockopt::bad_values];
        reports_as(&tracer, &calls, Expected::without_tasks)?;
    }
    Ok(())
}

/// Locks the kernel down, which cannot be undone.
fn lock_down(level: &str) -> Result<()> {
    fs::write(LOCKDOWN, level).with_context(|| format!("cannot set lockdown={level}"))?;
    let state = fs::read_to_string(LOCKDOWN)?;
    ensure!(state.contains(&format!("[{level}]")), "lockdown is {state}");
    Ok(())
}

/// A kernel without one of the hooked functions, such as one with another configuration: the
/// missing hook is reported by name, with the events that it would have shown.
pub(super) fn missing_function() -> Result<()> {
    let mut btf = fs::read(BTF)?;
    let (name, other) = (b"\0tcp_fin\0", b"\0tcp_fix\0");
    let position = btf.windows(name.len()).position(|window| window == name);
    let position = position.context("this kernel's BTF has no tcp_fin")?;
    btf[position..position + name.len()].copy_from_slice(other);
    fs::write("/tmp/btf", btf)?;

    let args = ARGS.join(" ") + " " + &attach_args().join(" ");
    let hide = format!("mount --bind /tmp/btf {BTF} && exec {PROGRAM} {args}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &hide]);
    let tracer = Tracer::run(command)?;
    let absent: Vec<_> = super::absent_hooks().into_iter().chain(["tcp_fin"]).collect();
    attaches_all_but(&tracer, &absent)?;
    reports(&tracer, &FAILURES)
}

fn attaches_all_but(tracer: &Tracer, absent: &[&str]) -> Result<()> {
    match tracer.not_attached_but(absent) {
        None => Ok(()),
        Some(said) => anyhow::bail!("not just {absent:?} is missing:\n{said}"),
    }
}

/// Checks that failures are reported as usual.
fn reports(tracer: &Tracer, failures: &[Make]) -> Result<()> {
    reports_as(tracer, failures, |expected| expected)
}

/// Checks that failures are reported as usual, except for `change`.
fn reports_as(
    tracer: &Tracer,
    failures: &[Make],
    change: impl Fn(Expected) -> Expected,
) -> Result<()> {
    for make in failures {
        let changed = || Ok(make(Family::Ipv4)?.into_iter().map(&change).collect());
        let differences = harness::observe(tracer, End::Quiet, changed)?.1;
        ensure!(differences.is_empty(), "{differences}");
    }
    Ok(())
}
