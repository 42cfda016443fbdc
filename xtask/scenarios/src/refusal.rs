//! Hosts that refuse tracing: each refusal has its own message and exit code.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nix::{
    libc,
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use super::{
    attach, privileges,
    tracer::{PROGRAM, attach_args, daemon},
};

/// Capability numbers, from `linux/capability.h`.
const CAP_SYS_ADMIN: libc::c_ulong = 21;
const CAP_SYS_RESOURCE: libc::c_ulong = 24;
const CAP_PERFMON: libc::c_ulong = 38;

/// An ordinary user.
pub(super) fn not_root() -> Result<()> {
    let mut command = daemon(&[]);
    command.uid(1000);
    expect(command, 10, &["not started as root", "sudo socktrace"])
}

/// Root without `CAP_PERFMON`, as in many containers.
pub(super) fn missing_capability() -> Result<()> {
    let mut command = daemon(&[]);
    without(&mut command, &[CAP_SYS_ADMIN, CAP_PERFMON]);
    expect(command, 11, &["missing CAP_PERFMON", "AmbientCapabilities"])
}

/// A kernel without BTF.
pub(super) fn no_btf() -> Result<()> {
    let attach = attach_args().join(" ");
    let hide = format!("mount -t tmpfs none /sys/kernel/btf && exec {PROGRAM} {attach}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &hide]);
    expect(command, 12, &["no BTF", "CONFIG_DEBUG_INFO_BTF"])
}

/// Root of a user namespace, which any user can create.
pub(super) fn user_namespace() -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", PROGRAM]).args(attach_args());
    expect(command, 11, &["user namespace", "on the host itself"])
}

/// A small locked-memory limit: fatal before 5.11, irrelevant since.
pub(super) fn memlock() -> Result<()> {
    let mut command = daemon(&["--no-metrics"]);
    without(&mut command, &[CAP_SYS_RESOURCE]);
    // SAFETY: setrlimit is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            setrlimit(Resource::RLIMIT_MEMLOCK, 64 * 1024, 64 * 1024).map_err(io::Error::from)
        });
    }
    if super::charges_locked_memory() {
        expect(command, 16, &["locked-memory limit", "LimitMEMLOCK"])
    } else {
        expect_running(command)
    }
}

/// Kprobes without `CAP_SYS_ADMIN`, which Debian's `kernel.perf_event_paranoid` does not allow.
pub(super) fn kprobes() -> Result<()> {
    let command = privileges::service(&["--attach", "kprobe"]);
    expect(command, 19, &["refuses kprobes", "kernel.perf_event_paranoid, here 3", "CAP_SYS_ADMIN"])
}

/// Kprobes under an active lockdown=confidentiality: requested, or required.
pub(super) fn locked_kprobes() -> Result<()> {
    let forbidden = "lockdown=confidentiality forbids kprobes";
    expect(daemon(&["--attach", "kprobe"]), 15, &[forbidden, "drop --attach kprobe"])?;
    let words = ["no BPF trampolines for functions", forbidden, "boot with lockdown=integrity"];
    expect(attach::without_trampolines(&[]), 15, &words)
}

/// Starts `command` without these capabilities.
fn without(command: &mut Command, capabilities: &'static [libc::c_ulong]) {
    let drop_all = move || {
        for &capability in capabilities {
            // SAFETY: takes an integer and changes only this process's bounding set.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: prctl is async-signal-safe.
    unsafe { command.pre_exec(drop_all) };
}

/// Checks that the command exits with this code and a message with these words, without raw errors.
fn expect(mut command: Command, code: i32, words: &[&str]) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "ended with {}:\n{stderr}", output.status);
    for word in words {
        ensure!(stderr.contains(word), "does not say {word:?}:\n{stderr}");
    }
    ensure!(stderr.lines().count() == 3, "not what, why and what to do:\n{stderr}");
    Ok(())
}

/// Checks that the command keeps running.
fn expect_running(mut command: Command) -> Result<()> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        if let Some(status) = child.try_wait()? {
            bail!("ended with {status}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    let status = child.wait()?;
    ensure!(status.success(), "ended with {status}");
    Ok(())
}
