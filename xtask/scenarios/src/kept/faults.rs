//! Faults of a history: each is reported once, and everything else continues.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::Signal,
};

use super::{
    super::{
        daemon,
        network::Family,
        privileges,
        tracer::{Tracer, daemon as daemon_command, join_ending},
        uses_kprobes,
    },
    PATIENCE, place, until_kept,
};

/// A daemon with the privileges of the unit keeps failures without a stream. Failures older than a
/// second survive SIGKILL, and the next daemon appends to them.
pub(in super::super) fn survives_kill() -> Result<()> {
    const MANY: u32 = 300;
    let file = place("killed")?;
    let directory = file.strip_suffix("/history.db").context("a directory")?;
    chown(directory, Some(privileges::USER), Some(privileges::USER))?;
    let args = ["--no-stream", "--listen", "127.0.0.1:0", "--no-collapse", "--history"];
    let args = [&args[..], &["--history-file", &file]].concat();
    let start = || {
        let command =
            if uses_kprobes() { daemon_command(&args) } else { privileges::service(&args) };
        Tracer::run(command)
    };
    let tracer = start()?;
    daemon::resets(Family::Ipv4, MANY)?;
    // Much longer than a second, as the guest is slow.
    thread::sleep(Duration::from_secs(3));
    let (status, _) = tracer.stop(Signal::SIGKILL)?;
    ensure!(!status.success(), "ended with {status}");
    let count = until_kept(&file, MANY as usize)?.len();
    ensure!(count == MANY as usize, "{count} of {MANY} are kept");

    let tracer = start()?;
    daemon::reset_one()?;
    until_kept(&file, MANY as usize + 1)?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success() && !said.contains("set aside"), "{status}:\n{said}");
    Ok(())
}

/// With two daemons on one file, the second reports it and continues without a history.
pub(in super::super) fn second_writer() -> Result<()> {
    let file = place("second")?;
    let args =
        ["--output", "json", "--listen", "127.0.0.1:0", "--history", "--history-file", &file];
    let first = Tracer::must_start(&args)?;
    let second = Tracer::must_start(&args)?;
    daemon::reset_one()?;
    for tracer in [&first, &second] {
        ensure!(tracer.collect(1).len() == 1, "it is not shown");
    }
    until_kept(&file, 1)?;
    let (_, said) = second.stop(Signal::SIGTERM)?;
    ensure!(said.matches("another process is writing").count() == 1, "{said}");
    ensure!(said.contains("history: 0 lines written, 1 dropped"), "{said}");
    let (_, said) = first.stop(Signal::SIGTERM)?;
    ensure!(said.contains("history: 1 lines written, 0 dropped"), "{said}");
    Ok(())
}

/// A full disk, and a file that is not a history, are reported once. The stream continues, and so
/// does the history as soon as it can.
pub(in super::super) fn full_disk() -> Result<()> {
    let file = place("full")?;
    let directory = file.strip_suffix("/history.db").context("a directory")?;
    mount(Some("none"), directory, Some("tmpfs"), MsFlags::empty(), Some("size=6m"))?;
    let done = with_full_disk(directory, &file);
    // A killed daemon may still have its file open.
    join_ending();
    umount(directory)?;
    done
}

fn with_full_disk(directory: &str, file: &str) -> Result<()> {
    fs::write(file, "no history ".repeat(1_000))?;
    let args = ["--output", "json", "--listen", "127.0.0.1:0", "--history", "--history-file", file];
    let mut tracer = Tracer::must_start(&args)?;
    daemon::reset_one()?;
    until_kept(file, 1)?;
    let is_aside = |name: &str| name.starts_with("history.db.damaged-");
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().into_string()));
    let names: Vec<_> = names.collect::<std::io::Result<Result<Vec<_>, _>>>()?.unwrap_or_default();
    ensure!(names.iter().any(|name| is_aside(name)), "nothing was set aside: {names:?}");

    let filler = format!("{directory}/filler");
    let mut filling = File::create(&filler)?;
    while filling.write_all(&[7; 4_096]).is_ok() {}
    // More than the last page of the log has room for.
    daemon::resets(Family::Ipv4, 300)?;
    tracer.wait_for("cannot be written")?.context("it does not say that the disk is full")?;
    drop(filling);
    fs::remove_file(filler)?;
    let began = Instant::now();
    loop {
        daemon::reset_one()?;
        if tracer.said_within("writing works again", Duration::from_secs(1)) {
            break;
        }
        if began.elapsed() > PATIENCE {
            bail!("it does not go on");
        }
    }
    let lines = tracer.collect(302);
    ensure!(lines.len() >= 302, "{} lines are shown", lines.len());
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.matches("cannot be written").count() == 1, "{said}");
    Ok(())
}

/// If the file cannot be written, on a read-only file system or with another owner, that is reported
/// once, and the stream continues. Once the fault is fixed, the history continues without a restart.
pub(in super::super) fn not_writable() -> Result<()> {
    let file = place("read-only")?;
    let directory = file.strip_suffix("/history.db").context("a directory")?;
    mount(Some("none"), directory, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>)?;
    let done = goes_on_when(&file, daemon_command, "Read-only file system", || {
        let flags = MsFlags::MS_REMOUNT;
        Ok(mount(Some("none"), directory, Some("tmpfs"), flags, None::<&str>)?)
    });
    join_ending();
    umount(directory)?;
    done?;
    if uses_kprobes() {
        // Kprobes take more privileges than the unit grants.
        return Ok(());
    }
    // As left by root's own `socktrace --history` of another version.
    let file = place("of-root")?;
    let directory = file.strip_suffix("/history.db").context("a directory")?;
    chown(directory, Some(privileges::USER), Some(privileges::USER))?;
    File::create(&file)?.set_permissions(fs::Permissions::from_mode(0o644))?;
    goes_on_when(&file, privileges::service, "read-only for this user", || {
        Ok(chown(&file, Some(privileges::USER), None)?)
    })
}

/// Starts a daemon with a file that it cannot write, and checks that it continues once that is fixed.
fn goes_on_when(
    file: &str,
    command: impl Fn(&[&str]) -> Command,
    problem: &str,
    mend: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let args = ["--output", "json", "--listen", "127.0.0.1:0", "--history", "--history-file", file];
    let mut tracer = Tracer::run(command(&args))?;
    daemon::reports_a_reset(&tracer)?;
    mend()?;
    let began = Instant::now();
    loop {
        daemon::reset_one()?;
        if tracer.said_within("writing works again", Duration::from_secs(1)) {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "it does not go on");
    }
    until_kept(file, 1)?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.matches(problem).count() == 1, "{problem:?} is not said once:\n{said}");
    Ok(())
}
