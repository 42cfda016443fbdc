//! Hosts on which something is missing or forbidden, and on which socktrace traces anyway.

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

/// A failure of every kind that needs no timer and no ICMP.
const FAILURES: [Make; 6] = [
    connect::refused,
    reset::by_peer,
    reset::before_accept,
    write::after_reset,
    write::after_shutdown,
    bind::address_in_use,
];

/// Nothing changes under lockdown=integrity, as it comes with Secure Boot.
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

/// Under lockdown=confidentiality programs cannot read the kernel's memory at will. What needs
/// that is missing, and everything else goes on.
pub(super) fn lockdown_confidentiality() -> Result<()> {
    lock_down("confidentiality")?;
    super::refusal::locked_kprobes()?;
    if super::uses_kprobes() {
        return Ok(());
    }
    let tracer = Tracer::must_start(&ARGS)?;
    // These read what has no type.
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

/// A kernel without one of the functions that are hooked, such as one with other options: the
/// hook is missed, and its name and what it hides are reported.
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

/// Checks that failures are reported as usual, except for what is changed in them.
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
