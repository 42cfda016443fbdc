//! What is kept of failures can be shown later, whatever happens meanwhile.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{fs::chown, process::CommandExt as _},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::Signal,
};

use super::{
    daemon,
    network::Family,
    privileges,
    tracer::{PROGRAM, Tracer, join_ending},
    verify::sum,
};

/// What waits to be written, and what a slow guest adds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who is no user of the guest.
const NOBODY: u32 = 65_534;

/// A history's file, in a directory of its own.
pub(super) fn place(name: &str) -> Result<String> {
    let directory = format!("/run/kept-{name}");
    // Of a run before.
    drop(fs::remove_dir_all(&directory));
    fs::create_dir(&directory)?;
    Ok(format!("{directory}/history.db"))
}

/// `socktrace history` with these arguments.
fn history(file: &str, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["history", "--file", file]).args(args);
    command
}

/// What a command prints that must succeed: lines, and the summary.
fn shown(mut command: Command) -> Result<(Vec<String>, String)> {
    let Output { status, stdout, stderr } = command.output()?;
    let said = String::from_utf8(stderr)?;
    ensure!(status.success(), "{command:?}: {status}: {said}");
    let text = String::from_utf8(stdout)?;
    Ok((text.lines().map(str::to_owned).collect(), said))
}

/// Waits until so many lines are kept.
fn until_kept(file: &str, count: usize) -> Result<Vec<String>> {
    let began = Instant::now();
    loop {
        if fs::exists(file)?
            && let Ok((lines, _)) = shown(history(file, &["--output", "json"]))
            && lines.len() >= count
        {
            return Ok(lines);
        }
        ensure!(began.elapsed() < PATIENCE, "{count} lines are not kept");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Each line is kept as it was shown, and is shown again while the daemon runs and after that: to root and to
/// members of its group, filtered, counted, and by a replay.
pub(super) fn as_shown() -> Result<()> {
    let file = place("shown")?;
    let args =
        ["--output", "json", "--listen", "127.0.0.1:0", "--history", "--history-file", &file];
    let tracer = Tracer::must_start(&args)?;
    daemon::resets(Family::Ipv4, 2)?;
    daemon::resets(Family::Ipv6, 1)?;
    let lines = tracer.collect(3);
    ensure!(lines.len() == 3, "{lines:?}");
    ensure!(until_kept(&file, 3)? == lines, "other lines are kept than were shown: {lines:?}");
    ensure!(as_member(&file)? == lines, "a member of the group reads others while it runs");
    let metrics = tracer.scrape()?;
    let (written, dropped) =
        (sum(&metrics, "socktrace_history_written"), sum(&metrics, "socktrace_history_dropped"));
    ensure!((written - 3.0).abs() < 0.5 && dropped < 0.5, "{written} written, {dropped} dropped");
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.contains("history: 3 lines written, 0 dropped"), "no summary in:\n{said}");
    ensure!(as_member(&file)? == lines, "a member of the group reads others after it has ended");

    let stranger = history(&file, &[]).uid(NOBODY).gid(NOBODY).output()?;
    let said = String::from_utf8(stranger.stderr)?;
    ensure!(
        stranger.status.code() == Some(1) && said.contains("group"),
        "a stranger reads: {said}"
    );

    let count = |args: &[&str]| Ok::<_, anyhow::Error>(shown(history(&file, args))?.0.len());
    for (args, expected) in [
        (&["--output", "json", "--since", "1h"][..], 3),
        (&["--output", "json", "--until", "1h"], 0),
        (&["--output", "json", "--since", "yesterday", "--until", "now"], 3),
        (&["--output", "json", "--remote", "::1"], 1),
        (&["--output", "json", "--cause", "!reset_by_peer"], 0),
        (&["--output", "json", "--group-by", "cause,errno"], 1),
    ] {
        let found = count(args)?;
        ensure!(found == expected, "{args:?} shows {found}");
    }
    let (people, said) = shown(history(&file, &["--time", "utc"]))?;
    ensure!(said.contains("3 failures (reset_by_peer 3); 3 events from"), "{said}");
    ensure!(
        people.len() == 5 && people[0].contains("REASON") && people[1].starts_with("20"),
        "{people:?}"
    );
    ensure!(replayed(&lines)? == people, "a replay shows other lines than {people:?}");

    let (_, said) = shown(history(&file, &["--purge"]))?;
    ensure!(said.contains("3 lines deleted"), "{said}");
    ensure!(count(&[])? == 1, "something is left");
    Ok(())
}

/// What somebody reads who is no more than a member of the file's group.
fn as_member(file: &str) -> Result<Vec<String>> {
    let mut command = history(file, &["--output", "json"]);
    command.uid(NOBODY).gid(0);
    Ok(shown(command)?.0)
}

fn replayed(lines: &[String]) -> Result<Vec<String>> {
    let mut command = Command::new(PROGRAM);
    command.args(["replay", "--time", "utc", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no stdin")?;
    lines.iter().try_for_each(|line| writeln!(input, "{line}"))?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "replay ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// A daemon with the privileges of the unit keeps failures without a stream. What is older than a second is
/// still there after it was killed, and the next one goes on with it.
pub(super) fn survives_kill() -> Result<()> {
    const MANY: u32 = 300;
    let file = place("killed")?;
    let directory = file.strip_suffix("/history.db").context("a directory")?;
    chown(directory, Some(privileges::USER), Some(privileges::USER))?;
    let args = ["--no-stream", "--listen", "127.0.0.1:0", "--no-collapse", "--history"];
    let args = [&args[..], &["--history-file", &file]].concat();
    let start = || {
        let is_kprobe = super::uses_kprobes();
        let command =
            if is_kprobe { super::tracer::daemon(&args) } else { privileges::service(&args) };
        Tracer::run(command)
    };
    let tracer = start()?;
    daemon::resets(Family::Ipv4, MANY)?;
    // Longer than a second, as the guest is slow.
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

/// Of two daemons with one file the second says so, and goes on without.
pub(super) fn second_writer() -> Result<()> {
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
    ensure!(said.matches("another process writes").count() == 1, "{said}");
    ensure!(said.contains("history: 0 lines written, 1 dropped"), "{said}");
    let (_, said) = first.stop(Signal::SIGTERM)?;
    ensure!(said.contains("history: 1 lines written, 0 dropped"), "{said}");
    Ok(())
}

/// A full disk and a file that is none of socktrace's are reported once; the stream goes on, and so does the
/// history as soon as it can.
pub(super) fn full_disk() -> Result<()> {
    let file = place("full")?;
    let directory = file.strip_suffix("/history.db").context("a directory")?;
    mount(Some("none"), directory, Some("tmpfs"), MsFlags::empty(), Some("size=6m"))?;
    let done = with_full_disk(directory, &file);
    // One that was killed may have its file open still.
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
        if tracer.said_within("can be written again", Duration::from_secs(1)) {
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

/// Wrong arguments end with 2, and what could be written instead.
pub(super) fn wrong_arguments() -> Result<()> {
    for (args, words) in [
        (&["history", "--since", "noon"][..], &["yesterday", "90min"][..]),
        (&["history", "--group-by", "color"], &["service", "cause"]),
        (&["history", "--purge", "--cause", "reset_by_peer"], &["--cause"]),
        (&["history", "--cause", "no_such"], &["cause"]),
        (&["replay"], &["FILE"]),
        (&["--history-size", "1"], &["16"]),
        (&["--history-age", "0"], &["1"]),
    ] {
        let output = Command::new(PROGRAM).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{args:?}: {}: {said}", output.status);
        ensure!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    }
    let output = history("/run/no-such-history", &[]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("there is no history"), "{said}");
    Ok(())
}
