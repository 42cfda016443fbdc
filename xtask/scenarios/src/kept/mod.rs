//! Histories: failures are kept, and can be shown later, whatever happens meanwhile.

mod faults;

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{
    daemon, flood,
    network::{Family, NOBODY_LISTENS},
    socket::{self, Pair},
    survive,
    tracer::{self, PROGRAM, REPEAT_AFTER, Tracer},
    verify::sum,
};

pub(super) use faults::{full_disk, not_writable, second_writer, survives_kill};

/// Time until a line is written, with the delay of a slow guest.
const PATIENCE: Duration = Duration::from_secs(30);

/// A uid that is no user of the guest.
const NOBODY: u32 = 65_534;

/// Path of a history file, in a directory of its own.
pub(super) fn place(name: &str) -> Result<String> {
    let directory = format!("/run/kept-{name}");
    // Left by an earlier run.
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

/// Output of a command that must succeed: its lines, and the summary.
fn shown(mut command: Command) -> Result<(Vec<String>, String)> {
    let Output { status, stdout, stderr } = command.output()?;
    let said = String::from_utf8(stderr)?;
    ensure!(status.success(), "{command:?}: {status}: {said}");
    let text = String::from_utf8(stdout)?;
    Ok((text.lines().map(str::to_owned).collect(), said))
}

/// Waits until `count` lines are kept.
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

/// Each line is kept as it was shown, and can be shown again while the daemon runs and afterwards:
/// to root and to members of the file's group, filtered, counted, and by a replay.
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

/// Lines read by a mere member of the file's group.
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

/// Of a flood, the history has what the stream would show: some failures, and the number of the
/// others. All of them are counted when it is read.
pub(super) fn flood() -> Result<()> {
    const FLOOD: u64 = 2_000;
    let file = place("flood")?;
    let args = ["--no-stream", "--no-metrics", "--history", "--history-file", &file];
    let tracer = Tracer::must_start(&[&args[..], &[REPEAT_AFTER, "2"]].concat())?;
    flood::reject_options(FLOOD)?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    let (lines, _) = shown(history(&file, &["--output", "json"]))?;
    ensure!(lines.len() < usize::try_from(FLOOD / 2)?, "{} lines", lines.len());
    ensure!(lines.iter().any(|line| line.contains("\"repeated\":")), "no sum: {lines:?}");
    let written = format!("history: {} lines written, 0 dropped", lines.len());
    ensure!(said.contains(&written), "no {written:?} in:\n{said}");
    let (groups, said) = shown(history(&file, &["--output", "json", "--group-by", "cause"]))?;
    let count = format!("\"count\":{FLOOD},");
    ensure!(groups.len() == 1 && groups[0].contains(&count), "{groups:?}");
    ensure!(said.contains(&format!("{FLOOD} failures (sockopt_rejected {FLOOD})")), "{said}");
    Ok(())
}

/// Failures of ordinary operation are not kept, even if they are sent to a collector. Neither are
/// filtered failures. A history works without any other output.
pub(super) fn as_streamed() -> Result<()> {
    let file = place("streamed")?;
    let collector = format!("http://127.0.0.1:{NOBODY_LISTENS}");
    let args = ["--no-stream", "--no-metrics", "--otlp", &collector, "--errno", "!ECONNREFUSED"];
    let tracer =
        Tracer::must_start(&[&args[..], &["--history", "--history-file", &file]].concat())?;
    // Both ends have closed, and one had not read everything: noise.
    let Pair { client, server } = Pair::new(Family::Ipv4.loopback())?;
    socket::fill(&client)?;
    drop(client);
    drop(server);
    ensure!(TcpStream::connect(("127.0.0.1", NOBODY_LISTENS)).is_err(), "somebody listens");
    daemon::reset_one()?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    let (lines, _) = shown(history(&file, &["--output", "json"]))?;
    let [line] = lines.as_slice() else { bail!("not the reset alone is kept: {lines:?}") };
    ensure!(line.contains("\"reset_by_peer\""), "{line}");
    ensure!(said.contains("history: 1 lines written, 0 dropped"), "{said}");
    Ok(())
}

/// After a reload of the configuration, a history is kept for the time that it now sets.
pub(super) fn reload() -> Result<()> {
    const DAYS: i64 = 2 * 86_400;
    let file = place("reload")?;
    let config = format!("{}.toml", file.trim_end_matches(".db"));
    let setting = |more: &str| {
        let text = format!("history-file = \"{file}\"\nno-stream = true\n{more}\n");
        fs::write(&config, text)
    };
    setting("history = true")?;
    let mut command = tracer::daemon(&["--listen", "127.0.0.1:0"]);
    command.env("SOCKTRACE_CONFIG", &config);
    let mut tracer = Tracer::run(command)?;
    daemon::reset_one()?;
    let before = until_kept(&file, 1)?;

    survive::advance_clock(DAYS)?;
    setting("history = false\nhistory-age = 1")?;
    let done = has_older_go(&mut tracer, &file, &before);
    survive::advance_clock(-DAYS)?;
    done?;
    // Readers find the file the same way as the daemon.
    let mut command = Command::new(PROGRAM);
    command.args(["history", "--output", "json"]).env("SOCKTRACE_CONFIG", &config);
    ensure!(shown(command)?.0.len() == 1, "another file is read");
    let (_, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(said.contains("only after a restart: history\n"), "{said}");
    Ok(())
}

fn has_older_go(tracer: &mut Tracer, file: &str, older: &[String]) -> Result<()> {
    tracer.signal(Signal::SIGHUP)?;
    tracer.wait_for("changed since the start: history-age")?.context("not read again")?;
    daemon::reset_one()?;
    let began = Instant::now();
    loop {
        let (lines, _) = shown(history(file, &["--output", "json"]))?;
        if lines.len() == 1 && lines != older {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "older lines stay: {lines:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Wrong arguments exit with 2, and a suggestion.
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
    ensure!(output.status.code() == Some(1) && said.contains("there is not a history"), "{said}");
    Ok(())
}
