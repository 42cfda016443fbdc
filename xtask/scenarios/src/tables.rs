//! Somebody fills the tables of counts, by many cgroups and by odd numbers: others are counted by name and
//! shown anyway.

use std::{
    fs::File,
    io::{self, Write as _},
    process::Child,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use socket2::{Protocol, Socket};
use xtask_common::cgroup;

use super::{
    child,
    network::Family,
    odd_calls::{self, WAYS},
    owner,
    socket::{self, Pair},
    tracer::Tracer,
    verify::{Metrics, sum},
};

/// A service whose cgroups are its own, and so many processes, each in one of them.
const CROWD: &str = "/system.slice/crowd.service";
const PROCESSES: usize = 44;

/// How many sockets each of them has. With [`WAYS`] these are more kinds of failures than there is room for.
const SOCKETS: u64 = 6;

/// How long the daemon may take to make room.
const REST: Duration = Duration::from_secs(2);

/// Another one.
const OTHER: &str = "/system.slice/other.service";
const OTHERS: &str = "socktrace_service_errors_total{cause=\"sockopt_rejected\"";

/// What every daemon here is asked for.
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A service fails in thousands of ways in cgroups of its own: there is room for the counts of another one.
pub(super) fn full_of_cgroups() -> Result<()> {
    let tracer =
        Tracer::must_start(&[&["--max-series", "16", "--no-stream"][..], &LISTEN].concat())?;
    let crowd = (0..PROCESSES).map(start).collect::<Result<Vec<_>>>()?;
    for process in crowd {
        child::finish(process)?;
    }
    // The daemon makes room as soon as entries are announced, before anybody asks for metrics.
    thread::sleep(REST);
    cgroup::enter(&owner::make(OTHER)?)?;
    fail_in_every_way()?;
    owner::leave()?;
    let metrics = tracer.scrape()?;
    let made = number((PROCESSES as u64 + 1) * SOCKETS * WAYS);
    let counted = sum(&metrics, "socktrace_socket_errors_total{");
    // Of processes that preempt each other in the kernel it may keep some from socktrace.
    let missed = sum(&metrics, "socktrace_hook_missed_total{");
    ensure!(counted <= made && made <= counted + missed, "{counted} and {missed} of {made}");
    // What the crowd adds to an entry while that is removed is missing in its own series.
    let by_service = sum(&metrics, "socktrace_service_errors_total{");
    ensure!(by_service <= counted, "{by_service} by service of {counted}");
    is_of(&metrics, "other.service", number(SOCKETS * WAYS))
}

/// One of the crowd.
fn start(number: usize) -> Result<Child> {
    let directory = owner::make(&format!("{CROWD}/{number}"))?;
    child::start(&["crowd-in", &directory], File::open("/dev/null")?.into())
}

/// What a process of the crowd does.
pub(super) fn crowd_in(directory: &str) -> Result<()> {
    cgroup::enter(directory)?;
    fail_in_every_way()?;
    writeln!(io::stdout(), "0").context("cannot write")
}

/// Provokes refusals of options on sockets of both families in several states.
fn fail_in_every_way() -> Result<()> {
    for family in [Family::Ipv4, Family::Ipv6] {
        let listener = socket::listener(family.loopback(), 1)?;
        let pair = Pair::through(&listener)?;
        let sockets = [&listener, &pair.client, &socket::stream(family.loopback())?];
        sockets.into_iter().try_for_each(odd_calls::every_way)?;
    }
    Ok(())
}

/// Levels of options, those that sockets of TCP have and some that they have not.
const LEVELS: [i32; 16] = [0, 1, 6, 17, 41, 58, 132, 136, 255, 263, 270, 273, 282, 283, 284, 285];
/// Number of options that are tried of each.
const OPTIONS: i32 = 128;

/// A process has every option refused that there can be, in all states of sockets; hundreds have binds of
/// MPTCP sockets refused. The options of others still have their names, no signature is wasted, and a program
/// that tries again by TCP has failed once.
pub(super) fn full_of_odd_numbers() -> Result<()> {
    let tracer = Tracer::must_start(&[&["--no-stream"][..], &LISTEN].concat())?;
    let mut refused = 0;
    let mut sockets = vec![socket::stream(Family::Ipv4.loopback())?];
    sockets.extend(mptcp()?);
    for socket in &sockets {
        for level in LEVELS {
            refused +=
                (0..OPTIONS).map(|option| odd_calls::refuse(socket, level, option)).sum::<u64>();
        }
    }
    let full = tracer.scrape()?;
    is(&full, "socktrace_sockopt_errors_total{", number(refused))?;
    let before = sum(&full, "socktrace_map_entries{map=\"signatures\"}");
    fail_in_every_way()?;
    let after = tracer.scrape()?;
    let named =
        "socktrace_sockopt_errors_total{call=\"setsockopt\",errno=\"EDOM\",level=\"SOL_SOCKET\"";
    is(&after, named, number(SOCKETS))?;
    // They differ by family, call and errno alone, and some of those were there before.
    let added = sum(&after, "socktrace_map_entries{map=\"signatures\"}") - before;
    ensure!(added <= number(2 * WAYS), "the states of sockets make {added} more signatures");
    retries_are_known(&tracer)
}

/// Processes with binds that are refused to MPTCP sockets: more than are remembered.
const REFUSED: u64 = 300;

/// Others have binds of MPTCP sockets refused. A retry by TCP is known for one.
fn retries_are_known(tracer: &Tracer) -> Result<()> {
    let failed =
        |metrics: &Metrics| sum(metrics, "socktrace_socket_errors_total{cause=\"bind_failed\"");
    let listener = socket::listener(Family::Ipv4.loopback(), 1)?;
    let taken = socket::local(&listener)?;
    let refused =
        |socket: Option<Socket>| socket.is_none_or(|socket| socket.bind(&taken.into()).is_err());
    let before = failed(&tracer.scrape()?);
    for _ in 0..REFUSED {
        let socket = mptcp()?;
        // SAFETY: the child calls bind, and ends.
        match unsafe { fork() }.context("cannot fork")? {
            // SAFETY: nothing of the parent's is to be run at the end.
            ForkResult::Child => unsafe { libc::_exit(i32::from(!refused(socket))) },
            ForkResult::Parent { child } => {
                let status = waitpid(child, None)?;
                ensure!(matches!(status, WaitStatus::Exited(_, 0)), "a bind: {status:?}");
            }
        }
    }
    ensure!(refused(mptcp()?) && refused(Some(socket::stream(taken)?)), "bound to {taken}");
    let found = failed(&tracer.scrape()?) - before;
    let has_mptcp = super::has_mptcp();
    let expected = if has_mptcp { number(REFUSED + 1) } else { 1.0 };
    ensure!((found - expected).abs() < 0.5, "{found} binds failed, not {expected}");
    Ok(())
}

/// A socket of MPTCP, unless the kernel has none.
fn mptcp() -> Result<Option<Socket>> {
    if !super::has_mptcp() {
        return Ok(None);
    }
    Ok(Some(socket::open(Family::Ipv4.loopback(), Protocol::MPTCP).context("no MPTCP")?))
}

/// Whether the series that begin so add up to this.
fn is(metrics: &Metrics, series: &str, count: f64) -> Result<()> {
    let found = sum(metrics, series);
    ensure!((found - count).abs() < 0.5, "{series} {found}, not {count}");
    Ok(())
}

/// Whether a service has so many failures.
fn is_of(metrics: &Metrics, service: &str, count: f64) -> Result<()> {
    let label = format!("service=\"{service}\"");
    let found: f64 = metrics
        .iter()
        .filter(|(series, _)| series.starts_with(OTHERS) && series.contains(&label))
        .map(|(_, count)| count)
        .sum();
    ensure!((found - count).abs() < 0.5, "{found} failures of {service}, not {count}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
const fn number(count: u64) -> f64 {
    count as f64
}
