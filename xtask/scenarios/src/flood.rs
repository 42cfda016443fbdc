//! Floods: failures of one kind that arrive faster than people read, shown as exact numbers.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{libc, sys::signal::Signal};
use serde_json::Value;
use xtask_common::cgroup;

use super::{
    child, daemon, event_schema,
    network::{Family, NOBODY_LISTENS},
    owner, socket,
    tracer::{NO_COLLAPSE, REPEAT_AFTER, Tracer},
    udp,
    verify::sum,
};

/// Arguments of a daemon that collapses floods, with a limit that even a slow
/// emulated machine always exceeds.
const COUNTING: [&str; 6] = ["--output", "json", REPEAT_AFTER, "2", "--listen", "127.0.0.1:0"];

/// Lines shown singly at the beginning of a flood.
const SHOWN: u64 = 2;

/// Longest time until the rest is reported, even if nothing follows: within a second of the end of
/// the 100 ms window, plus the delay of an emulated machine.
const DUE: Duration = Duration::from_secs(5);

const LOUD: &str = "loud.service";
const QUIET: &str = "quiet.service";

/// Makes `count` refused connects, as a process of a service.
fn refused_in(service: &str, count: u64) -> Result<()> {
    cgroup::enter(&owner::make(&format!("/flood.slice/{service}"))?)?;
    let nobody = SocketAddr::new(Family::Ipv4.loopback().ip(), NOBODY_LISTENS);
    (0..count).try_for_each(|_| {
        let connected = socket::stream(nobody)?.connect(&nobody.into());
        let errno = socket::errno("connect", connected)?;
        socket::ensure_errno("connect", errno, libc::ECONNREFUSED)
    })
}

/// Sets a nonexistent option `count` times.
pub(super) fn reject_options(count: u64) -> Result<()> {
    let socket = socket::stream(Family::Ipv4.loopback())?;
    (0..count).try_for_each(|_| {
        let result = socket::set_option(&socket, libc::IPPROTO_TCP, 9_999, 1);
        let errno = socket::errno("setsockopt", result)?;
        socket::ensure_errno("setsockopt", errno, libc::ENOPROTOOPT)
    })
}

/// Sets a nonexistent option `count` times, in the child, as a process of a service.
pub(super) fn reject_in(directory: &str, count: u64) -> Result<()> {
    cgroup::enter(directory)?;
    reject_options(count)
}

/// Failures of a service in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// Failures with a line of their own.
    pub(super) singly: u64,
    /// Failures that are only counted in a line.
    pub(super) repeated: u64,
}

impl Reported {
    pub(super) fn all(self) -> u64 {
        self.singly + self.repeated
    }
}

/// The failures among these lines that `is` selects.
pub(super) fn reported(lines: &[Value], is: impl Fn(&Value) -> bool) -> Reported {
    let mut reported = Reported::default();
    for line in lines.iter().filter(|line| line["event"] == "failure" && is(line)) {
        match line["repeated"].as_u64() {
            Some(count) => reported.repeated += count,
            None => reported.singly += 1,
        }
    }
    reported
}

fn is_of(service: &str) -> impl Fn(&Value) -> bool {
    move |line| line["unit"] == service
}

/// Collects lines until they report this many failures, and then until no more arrive.
fn lines_of(tracer: &Tracer, count: u64) -> Result<Vec<Value>> {
    let deadline = Instant::now() + DUE;
    let mut lines = Vec::new();
    while reported(&lines, |_| true).all() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = tracer.next_line(left).with_context(|| {
            format!("{:?} of {count} are reported within {DUE:?}", reported(&lines, |_| true))
        })?;
        lines.push(event_schema::read(&line)?);
    }
    for line in tracer.collect(0) {
        lines.push(event_schema::read(&line)?);
    }
    Ok(lines)
}

/// Number of failures of the loud service.
const FLOOD: u64 = 1_000;

/// Number of other services' failures before the flood.
const OTHERS: u64 = 10;

/// A flood of one service, during which another service fails once. Both are shown; the number in
/// the flood is exact even though nothing follows. This also holds without counts by service, and
/// when the table of those counts is full.
pub(super) fn beside_another() -> Result<()> {
    let with = |series| [&COUNTING[..], &["--max-series", series]].concat();
    // The second has room for eight kinds, which other services have taken.
    let tracers = Tracer::start_all(&[with("0"), with("1")])?;
    make_flood()?;
    for tracer in &tracers {
        reports_count(tracer, FLOOD, 1, OTHERS, FLOOD + 1 + OTHERS)?;
    }
    Ok(())
}

/// A service gets more datagrams than it reads. From the third on, the kernel's drops are shown by
/// number, whatever the limit for floods, and are attributed to the service although no process is known.
pub(super) fn of_datagrams() -> Result<()> {
    const NEVER: &str = "1000000";
    let args = ["--output", "json", REPEAT_AFTER, NEVER, "--listen", "127.0.0.1:0"];
    let tracer = Tracer::must_start(&args)?;
    cgroup::enter(&owner::make(&format!("/flood.slice/{LOUD}"))?)?;
    let dropped = udp::overload(Family::Ipv4, FLOOD)?;
    owner::leave()?;
    let lines = lines_of(&tracer, dropped)?;
    let about = reported(&lines, is_of(LOUD));
    ensure!(about.all() == dropped, "{about:?} of {dropped}");
    // A long interruption of a slow machine can restart the flood, but not every time.
    ensure!(about.singly <= dropped / 4, "not collapsed: {about:?}");
    for line in &lines {
        ensure!(line["cause"] == "receive_queue_full" && line["pid"].is_null(), "{line}");
    }
    let counted = sum(&tracer.scrape()?, "socktrace_service_errors_total{");
    ensure!((counted - number(dropped)).abs() < 0.5, "{counted} counted of {dropped}");
    Ok(())
}

/// Floods and filters: filtered failures are in no flood, and a flood passes a filter if its failures do.
pub(super) fn filtered() -> Result<()> {
    let with = |more: &[&'static str]| [&COUNTING[..], more].concat();
    let tracers = Tracer::start_all(&[
        with(&["--unit", QUIET]),
        with(&["--unit", LOUD, "--filter-metrics"]),
    ])?;
    make_flood()?;
    reports_count(&tracers[0], 0, 1, 0, FLOOD + 1 + OTHERS)?;
    reports_count(&tracers[1], FLOOD, 0, 0, FLOOD)
}

fn make_flood() -> Result<()> {
    for number in 0..OTHERS {
        refused_in(&format!("other-{number}.service"), 1)?;
    }
    refused_in(LOUD, FLOOD / 2)?;
    refused_in(QUIET, 1)?;
    refused_in(LOUD, FLOOD / 2)?;
    owner::leave()
}

/// Checks that this many failures are reported, and `counted` are counted.
fn reports_count(tracer: &Tracer, loud: u64, quiet: u64, others: u64, counted: u64) -> Result<()> {
    let all = loud + quiet + others;
    let lines = lines_of(tracer, all)?;
    let about = |service| reported(&lines, is_of(service));
    ensure!(about(LOUD).all() == loud, "{:?} of {loud}", about(LOUD));
    // A long interruption of a slow machine can restart the flood, but not every time.
    ensure!(about(LOUD).singly <= loud * 3 / 4, "not collapsed: {:?}", about(LOUD));
    let single = Reported { singly: quiet, repeated: 0 };
    ensure!(about(QUIET) == single, "{:?} of {quiet}", about(QUIET));
    ensure!(reported(&lines, |_| true).all() == all, "{:?} of {all}", reported(&lines, |_| true));
    for line in lines.iter().filter(|line| line["repeated"].is_u64()) {
        is_sound(line).with_context(|| line.to_string())?;
    }
    let metrics = tracer.scrape()?;
    let is = |series: &str, count: u64| {
        let found = sum(&metrics, series);
        ensure!((found - number(count)).abs() < 0.5, "{series} {found}, not {count}");
        Ok(())
    };
    is("socktrace_socket_errors_total{", counted)?;
    is("socktrace_events_shown_total", reported(&lines, |_| true).singly)?;
    is("socktrace_events_repeated_total", reported(&lines, |_| true).repeated)?;
    is("socktrace_events_lost_total{", 0)
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

/// Checks that the line about a flood of refused connects has the fields that they share.
fn is_sound(line: &Value) -> Result<()> {
    let process = super::process::Process::this();
    let expected = [
        ("unit", LOUD.into()),
        ("service", LOUD.into()),
        ("cause", "connect_refused".into()),
        ("errno", "ECONNREFUSED".into()),
        ("call", "connect".into()),
        ("family", "ipv4".into()),
        ("role", "client".into()),
        ("service_port", NOBODY_LISTENS.into()),
        ("remote", "127.0.0.1".into()),
        ("peers", 1.into()),
        ("peers_exact", true.into()),
        ("pid", process.pid.into()),
        ("uid", process.uid.into()),
    ];
    for (field, value) in expected {
        let value: Value = value;
        ensure!(line[field] == value, "{field} is {}, not {value}", line[field]);
    }
    let reason = line["reason"].as_str().context("no reason")?;
    ensure!(reason.starts_with('×') && reason.contains(", from 1 peer: "), "{reason}");
    ensure!(
        line["repeated_ms"].as_u64().context("no time")? < 60_000,
        "longer than the test takes"
    );
    Ok(())
}

/// Pending floods are reported when the daemon is stopped, and when it reloads its configuration.
pub(super) fn reported_at_once() -> Result<()> {
    const FLOOD: u64 = 2_000;
    let tracer = Tracer::must_start(&COUNTING)?;
    let began = Instant::now();
    reject_options(FLOOD)?;
    tracer.signal(Signal::SIGHUP)?;
    let lines = lines_of(&tracer, FLOOD)?;
    let took = began.elapsed();
    ensure!(
        reported(&lines, |_| true).all() == FLOOD,
        "{:?} of {FLOOD}",
        reported(&lines, |_| true)
    );
    ensure!(took < Duration::from_millis(700), "after {took:?} it would have come anyway");
    drop(tracer);

    let path = env::temp_dir().join("flood.json");
    let tracer = Tracer::start_into(File::create(&path)?, &COUNTING)?;
    let began = Instant::now();
    reject_options(FLOOD)?;
    let took = began.elapsed();
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(took < Duration::from_millis(700), "after {took:?} it would have come anyway");
    let lines = lines_in(&path)?;
    let Reported { singly, repeated } = reported(&lines, |_| true);
    ensure!(singly + repeated == FLOOD && singly >= SHOWN, "{singly} and {repeated} of {FLOOD}");
    let summary = format!(
        "{FLOOD} failures (sockopt_rejected {FLOOD}); {singly} events shown, {repeated} in floods, 0 lost"
    );
    ensure!(said.contains(&summary), "no {summary:?} in:\n{said}");
    Ok(())
}

/// When stopped in a storm, the daemon accounts for every failure that it has counted: each is
/// shown, part of a flood that is shown, or lost. This also holds if nobody reads the lines.
pub(super) fn stopped_in_a_storm() -> Result<()> {
    let path = env::temp_dir().join("stopped.json");
    let tracer = Tracer::start_into(File::create(&path)?, &COUNTING)?;
    let [counted, shown, repeated, lost] = daemon::storm_until_stopped(tracer)?;
    let lines = lines_in(&path)?;
    let expected = Reported { singly: shown, repeated };
    ensure!(
        reported(&lines, |_| true) == expected,
        "{:?}, said {expected:?}",
        reported(&lines, |_| true)
    );
    ensure!(counted == shown + repeated + lost, "{counted} counted, {expected:?}, {lost} lost");
    ensure!(repeated > 0 && lost == 0, "{expected:?}, {lost} lost");

    let mut stalled = daemon::stalled_reader()?;
    let tracer = Tracer::start_into(stalled.stdin.take().context("no pipe")?, &COUNTING);
    let numbers = tracer.and_then(daemon::storm_until_stopped);
    stalled.kill()?;
    stalled.wait()?;
    let [counted, shown, repeated, lost] = numbers?;
    ensure!(
        counted == shown + repeated + lost,
        "unread: {counted} counted, {shown} shown, {repeated} in floods, {lost} lost"
    );
    Ok(())
}

/// Lines of a file, which is removed.
fn lines_in(path: &Path) -> Result<Vec<Value>> {
    let lines = fs::read_to_string(path)?;
    fs::remove_file(path)?;
    Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// `--no-collapse` shows each failure; the lowest limit shows hardly any.
pub(super) fn not_collapsed() -> Result<()> {
    const FAILURES: u64 = 500;
    let tracers = Tracer::start_all(&[
        vec!["--output", "json", "--no-metrics", NO_COLLAPSE],
        vec!["--output", "json", "--no-metrics", REPEAT_AFTER, "2"],
    ])?;
    reject_options(FAILURES)?;
    for (index, tracer) in tracers.iter().enumerate() {
        let reported = reported(&lines_of(tracer, FAILURES)?, |_| true);
        ensure!(reported.all() == FAILURES, "{index}: {reported:?}");
        match index {
            1 => ensure!(reported.singly < FAILURES / 10, "{index}: {reported:?}"),
            _ => ensure!(reported.repeated == 0, "{index}: {reported:?}"),
        }
    }
    Ok(())
}

/// A storm of failures of several services on all processors: two contend for the same service, and
/// resets come in interrupts. Each failure is shown or counted, and none is lost. Calls for which
/// the kernel skips a preempted program are in no line, and only in the count of missed calls.
pub(super) fn storm() -> Result<()> {
    let each: u64 = if super::is_full() { 25_000 } else { 2_000 };
    let storm = 4 * each;
    let path = env::temp_dir().join("storm.json");
    let tracer = Tracer::start_into(File::create(&path)?, &COUNTING)?;
    let start =
        |words: &[&str]| -> Result<Child> { child::start(words, File::open("/dev/null")?.into()) };
    let count = each.to_string();
    let [one, other] = ["one", "other"].map(|name| owner::make(&format!("/{name}.service")));
    let (one, other) = (one?, other?);
    let children = [
        start(&["reject-in", &one, &count])?,
        start(&["reject-in", &one, &count])?,
        start(&["reject-in", &other, &count])?,
        start(&["reset", &count])?,
    ];
    refused_in(QUIET, 1)?;
    owner::leave()?;
    for child in children {
        child::finish(child)?;
    }
    let metrics = tracer.scrape()?;
    let counted = sum(&metrics, "socktrace_socket_errors_total{");
    let missed = sum(&metrics, "socktrace_hook_missed_total{");
    let is_between = |found: f64, expected: u64| {
        (number(expected) - missed - 0.5..number(expected) + 0.5).contains(&found)
    };
    ensure!(
        is_between(counted, storm + 1),
        "{counted} of {storm} and 1 counted, {missed} calls missed"
    );
    let (status, said) = tracer.stop(Signal::SIGINT)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.contains(", 0 lost"), "lost:\n{said}");
    let lines = lines_in(&path)?;
    for (service, failures) in [("one.service", 2 * each), ("other.service", each), (QUIET, 1)] {
        let reported = reported(&lines, is_of(service));
        ensure!(
            is_between(number(reported.all()), failures),
            "{service}: {reported:?} of {failures}, {missed} calls missed"
        );
    }
    let resets = reported(&lines, |line| line["cause"] == "reset_by_peer");
    ensure!(
        is_between(number(resets.all()), each),
        "{resets:?} of {each} resets, {missed} calls missed"
    );
    let all = reported(&lines, |_| true);
    ensure!((number(all.all()) - counted).abs() < 0.5, "{all:?} of {counted} counted");
    ensure!(all.repeated > storm / 4, "hardly a storm");
    Ok(())
}
