//! Filters: what they show, what is still counted, and what is dropped in the kernel.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    sys::{
        signal::Signal,
        socket::{setsockopt, sockopt},
    },
    unistd::Uid,
};
use serde_json::Value;
use socket2::Socket;

use super::{
    both_ends, child, connect,
    network::Family,
    owner,
    socket::{self, Pair},
    tracer::Tracer,
    verify::{Metrics, sum},
};

/// Kinds of RSTs sent in the meantime: by a socket, and in answer without a socket.
const RSTS: usize = 2;

/// Service of one process, and container of another.
const WEB: &str = "/system.slice/web.service";
const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";

/// Number of rounds. What the kernel side learns from the first round it applies by the last.
const ROUNDS: usize = 3;

/// Longest time to wait for due counts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kinds of failures, which differ in every property that filters test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// This process's server gets ECONNRESET.
    Reset,
    /// A process of the web service cannot connect over IPv6.
    Refused,
    /// This process uses a socket option that does not exist.
    Option,
    /// A process in a container cannot connect over IPv4.
    Contained,
}

use Failure::{Contained, Option as BadOption, Refused, Reset};

const ALL: &[Failure] = &[Reset, Refused, BadOption, Contained];

impl Failure {
    /// Failure that a line is about.
    fn of(line: &Value) -> Result<Self> {
        let is = |field: &str, value: &str| line[field] == value;
        Ok(match () {
            () if is("cause", "reset_by_peer") => Reset,
            () if is("cause", "sockopt_rejected") => BadOption,
            () if is("cause", "connect_refused") && is("unit", "web.service") => Refused,
            () if is("cause", "connect_refused") && line["container"]["id"] == ID => Contained,
            () => anyhow::bail!("nothing of this kind was made: {line}"),
        })
    }
}

/// Makes one failure of each kind, using this listener.
fn make(listener: &Socket) -> Result<()> {
    let Pair { client, server } = Pair::through(listener)?;
    socket::close_with_reset(client)?;
    ensure!(socket::read_errno(&server)? == libc::ECONNRESET, "no ECONNRESET");
    owner::connect_refused(Family::Ipv6, WEB)?;
    let unopened = socket::stream(Family::Ipv4.loopback())?;
    ensure!(setsockopt(&unopened, sockopt::TcpKeepIdle, &0).is_err(), "0 s are accepted");
    owner::connect_refused(Family::Ipv4, &format!("/system.slice/docker-{ID}.scope"))?;
    Ok(())
}

/// A filter, and the failures that it shows.
struct Case {
    args: Vec<String>,
    shown: &'static [Failure],
    /// Where the others are dropped.
    left_out: LeftOut,
}

/// The side that drops filtered events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    /// In the kernel, from the first event on.
    InKernel,
    /// In the kernel, once the daemon has judged one such event.
    OnceTaught,
    /// In the daemon.
    InDaemon,
}

fn case(option: &str, value: &str, shown: &'static [Failure]) -> Case {
    Case { args: vec![option.to_owned(), value.to_owned()], shown, left_out: LeftOut::InKernel }
}

/// A filter and its negation by `!`.
fn both(
    option: &str,
    value: &str,
    shown: &'static [Failure],
    others: &'static [Failure],
) -> [Case; 2] {
    [case(option, value, shown), case(option, &format!("!{value}"), others)]
}

/// A filter and its negation by a `--not-` option.
fn otherwise(
    option: &str,
    value: &str,
    shown: &'static [Failure],
    others: &'static [Failure],
) -> [Case; 2] {
    [case(option, value, shown), case(&option.replace("--", "--not-"), value, others)]
}

/// Runs one daemon per filter on the same failures. Except in the full scope, filters and their
/// negations take turns.
fn compare(listener: &Socket, cases: impl IntoIterator<Item = Case>) -> Result<()> {
    let is_chosen = |index: &usize| super::is_full() || matches!(index % 4, 0 | 3);
    let cases = cases.into_iter().enumerate().filter(|(index, _)| is_chosen(index));
    let cases: Vec<_> = cases.map(|(_, case)| case).collect();
    let all = cases.iter().map(|case| {
        let common = ["--no-metrics", "--output", "json", "--verbose"];
        common.into_iter().chain(case.args.iter().map(String::as_str)).collect()
    });
    let tracers = Tracer::start_all(&all.collect::<Vec<_>>())?;
    for _ in 0..ROUNDS {
        make(listener)?;
        for (tracer, case) in tracers.iter().zip(&cases) {
            let lines = tracer.collect(case.shown.len());
            let shown = lines.iter().map(|line| kind(line)).collect::<Result<Vec<_>>>()?;
            ensure!(shown == case.shown, "{:?} shows {shown:?}", case.args);
        }
    }
    for (said, case) in Tracer::stop_all(tracers, Signal::SIGINT)?.iter().zip(&cases) {
        let sent = events_sent(said).with_context(|| format!("no number of events: {said}"))?;
        // The last filtered events may arrive before the first was judged.
        let sent_rounds = match case.left_out {
            LeftOut::InKernel => 0,
            LeftOut::OnceTaught => ROUNDS - 1,
            LeftOut::InDaemon => ROUNDS,
        };
        let most = case.shown.len() * ROUNDS
            + (ALL.len() - case.shown.len()) * sent_rounds
            // All cases drop the RSTs, and the kernel learns to from the first round.
            + RSTS * (ROUNDS - 1);
        ensure!(sent <= most, "{:?}: the kernel sent {sent} events, {most} at most", case.args);
    }
    Ok(())
}

fn kind(line: &str) -> Result<Failure> {
    let line: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
    let made = Failure::of(&line)?;
    let (role, service_port) = match made {
        Reset => ("server", &line["local_port"]),
        Refused | Contained => ("client", &line["remote_port"]),
        BadOption => {
            ensure!(line["role"].is_null() && line["service_port"].is_null(), "{line}");
            return Ok(made);
        }
    };
    ensure!(line["role"] == role && &line["service_port"] == service_port, "{line}");
    Ok(made)
}

/// Number of events that the daemon reports to have received from the kernel.
fn events_sent(said: &str) -> Option<usize> {
    const BEFORE: &str = "events from the kernel: ";
    said.lines().find_map(|line| line.split_once(BEFORE)?.1.parse().ok())
}

fn listener() -> Result<Socket> {
    socket::listener(Family::Ipv4.loopback(), 1)
}

/// Failures of this process, and of the others.
const OWN: &[Failure] = &[Reset, BadOption];
const OTHER: &[Failure] = &[Refused, Contained];

/// `--pid` and `--comm`.
pub(super) fn by_process() -> Result<()> {
    let comm = fs::read_to_string("/proc/thread-self/comm")?;
    let pid = std::process::id().to_string();
    let cases = [both("--pid", &pid, OWN, OTHER), both("--comm", comm.trim_end(), OWN, OTHER)];
    compare(&listener()?, cases.into_iter().flatten())
}

/// `--comm` with patterns, which the daemon evaluates.
pub(super) fn by_process_pattern() -> Result<()> {
    let comm = fs::read_to_string("/proc/thread-self/comm")?;
    let rest = comm.trim_end().get(1..).context("a short name")?;
    let cases = [otherwise("--comm", &format!("?{rest}*"), OWN, OTHER)];
    let cases = cases.into_iter().flatten();
    compare(&listener()?, cases.map(|case| Case { left_out: LeftOut::InDaemon, ..case }))
}

/// Patterns are refused where the kernel side counts. An unknown user is refused everywhere.
pub(super) fn wrong_values() -> Result<()> {
    for (args, words) in [
        (&["--comm", "ngin*", "--filter-metrics"][..], "the kernel programs compare whole names"),
        (&["--not-comm", "ngin?", "--filter-metrics"], "the kernel programs compare whole names"),
        (&["--uid", "nobody-there"], "/etc/passwd"),
        (&["--not-unit", "!nginx"], "negate --not-"),
        (&["--unit", "ngin["], "nginx.service"),
        (&["--count", "1", "--no-stream"], "cannot be used with '--no-stream'"),
        (&["--count", "0"], "expected a whole number from 1"),
        (&["--duration", "0s"], "expected a span with its unit"),
        (&["--summary", "10"], "expected a span with its unit"),
    ] {
        let Err(refused) = Tracer::start(args)? else { bail!("{args:?} is taken") };
        let said = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(refused.exit == 2 && said.contains(words), "{args:?}: {}: {said}", refused.exit);
    }
    Ok(())
}

/// `--uid` and `--netns`.
pub(super) fn by_user_and_namespace() -> Result<()> {
    let cases = [
        both("--uid", &Uid::current().to_string(), OWN, OTHER),
        // The user as named in the guest's /etc/passwd.
        otherwise("--uid", "root", OWN, OTHER),
        both("--netns", "/proc/self/ns/net", ALL, &[]),
    ];
    compare(&listener()?, cases.into_iter().flatten())
}

/// `--unit` and `--container`.
pub(super) fn by_service() -> Result<()> {
    learn([
        both("--unit", "web", &[Refused], &[Reset, BadOption, Contained]),
        both("--container", &ID[..12], &[Contained], &[Reset, Refused, BadOption]),
    ])
}

/// `--cgroup`.
pub(super) fn by_cgroup() -> Result<()> {
    learn([both("--cgroup", "/system.slice", OTHER, OWN)])
}

/// `--unit`, `--container` and `--cgroup` with patterns.
pub(super) fn by_service_pattern() -> Result<()> {
    learn([
        otherwise("--unit", "w?*", &[Refused], &[Reset, BadOption, Contained]),
        otherwise("--container", "cf87ba*", &[Contained], &[Reset, Refused, BadOption]),
        otherwise("--cgroup", "/sys*.slice", OTHER, OWN),
    ])
}

/// `--port` and `--local`.
pub(super) fn by_local_end() -> Result<()> {
    let listener = listener()?;
    let port = socket::local(&listener)?.port().to_string();
    let cases = [
        both("--port", &port, &[Reset], &[Refused, BadOption, Contained]),
        both("--local", "::1", &[Refused], &[Reset, BadOption, Contained]),
    ];
    compare(&listener, cases.into_iter().flatten())
}

/// `--remote`, also with an IPv4-mapped address.
pub(super) fn by_remote_end() -> Result<()> {
    let cases = ["127.0.0.0/8", "::ffff:127.0.0.1"]
        .map(|value| both("--remote", value, &[Reset, Contained], &[Refused, BadOption]));
    compare(&listener()?, cases.into_iter().flatten())
}

/// `--remote` tests the address passed to the call, not one that the socket has from before.
pub(super) fn by_address_asked_for() -> Result<()> {
    const COMMON: [&str; 3] = ["--no-metrics", "--output", "json"];
    let former = Family::Ipv4.loopback().ip().to_string();
    let asked = Family::Ipv4.elsewhere().ip().to_string();
    let filters = [former, asked];
    let all = filters.iter().map(|filter| [&COMMON[..], &["--remote", filter]].concat());
    let tracers = Tracer::start_all(&all.collect::<Vec<_>>())?;
    connect::elsewhere_after_failure(Family::Ipv4)?;
    for (tracer, causes) in
        tracers.iter().zip([["connect_refused", "reset_by_peer"], ["connect_no_route"; 2]])
    {
        let lines = tracer.collect(causes.len());
        let parsed = lines.iter().map(|line| serde_json::from_str::<Value>(line));
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        let shown: Vec<_> = parsed.iter().map(|line| &line["cause"]).collect();
        ensure!(shown == causes, "{causes:?} are due, not {lines:?}");
    }
    Tracer::stop_all(tracers, Signal::SIGINT)?;
    Ok(())
}

/// `--errno` and `--cause`.
pub(super) fn by_errno_and_cause() -> Result<()> {
    learn([
        both("--errno", "ECONNREFUSED", OTHER, OWN),
        both("--cause", "reset_by_peer", &[Reset], &[Refused, BadOption, Contained]),
    ])
}

/// `--severity`.
pub(super) fn by_severity() -> Result<()> {
    learn([both("--severity", "notable", &[BadOption], &[Reset, Refused, Contained])])
}

/// Filters on a process that has exited: its connection is reset after it was left behind with
/// unsent data. User and service are still known; the process is not.
pub(super) fn by_gone_process() -> Result<()> {
    let comm = fs::read_to_string("/proc/self/comm")?;
    let user = owner::USER.to_string();
    let cases = [
        ("--uid", user.as_str(), true),
        ("--unit", "web", true),
        ("--comm", comm.trim_end(), false),
    ];
    let all: Vec<_> = cases
        .iter()
        .flat_map(|&(option, value, is_shown)| {
            [(option, value.to_owned(), is_shown), (option, format!("!{value}"), !is_shown)]
        })
        .collect();
    let tracers = Tracer::start_all(
        &all.iter()
            .map(|(option, value, _)| {
                vec!["--no-metrics", "--output", "json", "--all", option, value.as_str()]
            })
            .collect::<Vec<_>>(),
    )?;
    let listener = listener()?;
    let client = socket::stream(Family::Ipv4.loopback())?;
    let address = socket::local(&listener)?.to_string();
    let child = child::start(&["fill-in", &owner::make(WEB)?, &address], client.into())?;
    let (server, _) = listener.accept()?;
    child::finish(child)?;
    socket::close_with_reset(server)?;
    for (tracer, (option, value, is_shown)) in tracers.iter().zip(all) {
        let lines = tracer.collect(usize::from(is_shown));
        let lines = lines.iter().map(|line| serde_json::from_str(line));
        let mut lines = lines.collect::<Result<Vec<Value>, _>>()?;
        lines.retain(|line| !both_ends::is_sent(line));
        ensure!(lines.len() == usize::from(is_shown), "{option} {value}: {lines:?}");
        for line in lines {
            ensure!(
                line["cause"] == "reset_while_closing"
                    && line["pid"].is_null()
                    && line["owner_unknown"] == "process_gone"
                    && line["unit"] == "web.service",
                "{option} {value}: {line}"
            );
        }
    }
    Ok(())
}

/// Compares filters that the kernel side has to learn.
fn learn(cases: impl IntoIterator<Item = [Case; 2]>) -> Result<()> {
    let learnt = cases.into_iter().flatten();
    let learnt = learnt.map(|case| Case { left_out: LeftOut::OnceTaught, ..case });
    compare(&listener()?, learnt)
}

/// Filters do not affect counts, unless `--filter-metrics` applies them there too.
pub(super) fn metrics() -> Result<()> {
    let listener = listener()?;
    let port = socket::local(&listener)?.port().to_string();
    let unit = ["--unit", "web"];
    let cases: [(&[&str], &[Failure]); 6] = [
        (&["--port", &port], ALL),
        (&unit, ALL),
        (&["--port", &port, "--filter-metrics"], &[Reset]),
        (&["--errno", "!ECONNREFUSED", "--filter-metrics"], &[Reset, BadOption]),
        (&[unit[0], unit[1], "--no-stream", "--filter-metrics"], &[Refused]),
        (&["--not-unit", "w*", "--no-stream", "--filter-metrics"], &[Reset, BadOption, Contained]),
    ];
    let all = cases.iter().map(|(args, _)| [&["--listen", "127.0.0.1:0"], *args].concat());
    let tracers = Tracer::start_all(&all.collect::<Vec<_>>())?;
    for _ in 0..ROUNDS {
        make(&listener)?;
    }
    for (tracer, (args, counted)) in tracers.into_iter().zip(cases) {
        // Events that the daemon has to judge are counted only after that.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let differences = differences(&tracer.scrape()?, counted)?;
            if differences.is_empty() {
                break;
            }
            ensure!(Instant::now() < deadline, "{args:?}: {differences:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Lists causes whose counts do not match these failures.
fn differences(metrics: &Metrics, counted: &[Failure]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (cause, of) in [
        ("reset_by_peer", &[Reset][..]),
        ("connect_refused", &[Refused, Contained]),
        ("sockopt_rejected", &[BadOption]),
    ] {
        let due = counted.iter().filter(|made| of.contains(made)).count() * ROUNDS;
        let due = f64::from(u32::try_from(due)?);
        for metric in ["socket_errors", "service_errors"] {
            let series = format!("socktrace_{metric}_total{{cause=\"{cause}\"");
            let counted = sum(metrics, &series);
            if (counted - due).abs() > 0.5 {
                found.push(format!("{metric}, {cause}: {counted} of {due}"));
            }
        }
    }
    Ok(found)
}
