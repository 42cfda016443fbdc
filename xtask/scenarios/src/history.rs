//! An hour of a host whose services fail in different ways, for pictures of the dashboard.

use std::{
    io,
    ops::Range,
    os::fd::AsFd as _,
    process::Child,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use xtask_common::{
    cgroup,
    dashboard::{self, Times},
    report::{History, Report, Reporter},
};

use super::{
    catalogue, child,
    network::{Cut, Family, Network, Silence},
    owner, prometheus,
    scraper::{Prometheus, TARGET},
    socket::{self, Pair},
    tracer::Tracer,
};

/// Scrape interval of Prometheus.
const TICK: Duration = Duration::from_secs(15);
const TICKS_A_MINUTE: u64 = 4;

const HOUR: Duration = Duration::from_hours(1);

/// Interval that Grafana chooses for an hour scraped every 15 seconds: four scrapes.
const TIMES: Times = Times { rate_interval: "1m", range: "1h" };

/// Connections per tick that end in order.
const ORDERLY: usize = 25;

/// A failure that recurs for a while.
struct Incident {
    cgroup: &'static str,
    scenario: &'static str,
    minutes: Range<u64>,
    /// Number of failures per tick.
    times: usize,
}

const CHECKOUT: &str = "/system.slice/checkout.service";
const GATEWAY: &str = "/system.slice/docker-\
    7f3c0a9be1d24c55b8a6f0e93d1c7742a5b9e8f60d3c2b1a4f5e6d7c8b9a0f1e.scope";
const INGEST: &str = "/system.slice/ingest.service";
const MAILER: &str = "/system.slice/mailer.service";
const SEARCH: &str = "/system.slice/search.service";

const TROUBLES: [Incident; 8] = [
    trouble(CHECKOUT, "reset_by_peer/ipv4", 2..60, 1),
    trouble(GATEWAY, "connect_refused/ipv4", 6..17, 3),
    trouble(INGEST, "reset_before_accept/ipv6", 12..27, 2),
    trouble(MAILER, "user_timeout/ipv4", 29..33, 1),
    trouble(MAILER, "sockopt_rejected_unknown/ipv4", 28..30, 1),
    trouble(INGEST, "reset_before_accept/ipv6", 37..60, 1),
    trouble(CHECKOUT, "reset_after_peer_close/ipv4", 46..60, 4),
    trouble(CHECKOUT, "sigpipe_kills/ipv4", 49..60, 1),
];

const fn trouble(
    cgroup: &'static str,
    scenario: &'static str,
    minutes: Range<u64>,
    times: usize,
) -> Incident {
    Incident { cgroup, scenario, minutes, times }
}

/// Minutes in which the network is cut, longer than connections take to give up: 131 seconds.
const OUTAGES: [Range<u64>; 2] = [38..41, 55..58];

/// Connections that time out in each outage.
const TIMEOUTS: usize = 6;

/// Makes services fail for an hour, and reports the answers of Prometheus.
pub(super) fn main() -> Result<i32> {
    let daemon = Tracer::must_start(&["--no-stream"])?;
    let prometheus = Prometheus::start(None)?;
    prometheus.until_scraped(TARGET)?;
    let started = Instant::now();
    let mut outage = None;
    for tick in 0.. {
        let now = TICK * tick;
        if now >= HOUR {
            break;
        }
        thread::sleep(now.saturating_sub(started.elapsed()));
        go_on(u64::from(tick) / TICKS_A_MINUTE, &mut outage)?;
    }
    let to = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (from, step) = (to - HOUR.as_secs(), TICK.as_secs());
    let queries = dashboard::queries(TIMES).map_err(anyhow::Error::msg)?;
    let answers = queries.into_iter().map(|query| {
        let answer = if query.over_range {
            prometheus.over(&query.expr, from, to, step)
        } else {
            prometheus.at(&query.expr, to)
        };
        Ok((query.id, answer?))
    });
    let answers = answers.collect::<Result<_>>()?;
    Reporter::from_env()?.send(&Report::History(History { from, to, step, answers }))?;
    drop(daemon);
    Ok(0)
}

/// Runs one tick of this minute.
fn go_on(minute: u64, outage: &mut Option<Outage>) -> Result<()> {
    for _ in 0..ORDERLY {
        let Pair { client, server } = Pair::new(Family::Ipv4.loopback())?;
        socket::exchange(&client, &server)?;
        drop(client);
        socket::read_end(&server)?;
    }
    for trouble in TROUBLES.iter().filter(|trouble| trouble.minutes.contains(&minute)) {
        let directory = owner::make(trouble.cgroup)?;
        let words = ["fail-in", &directory, trouble.scenario, &trouble.times.to_string()];
        let reported =
            child::finish(child::start(&words, io::stdin().as_fd().try_clone_to_owned()?)?)?;
        ensure!(reported.killed_by.is_none(), "{} ended: {reported:?}", trouble.scenario);
    }
    match outage.take_if(|outage| !outage.minutes.contains(&minute)) {
        Some(over) => over.end()?,
        None if outage.is_some() => {}
        None => {
            let begins = OUTAGES.into_iter().find(|minutes| minutes.contains(&minute));
            *outage = begins.map(Outage::begin).transpose()?;
        }
    }
    Ok(())
}

/// Fails in a cgroup, in the child.
pub(super) fn fail_in(directory: &str, scenario: &str, count: usize) -> Result<()> {
    cgroup::enter(directory)?;
    let scenario = catalogue::named(scenario)?;
    (0..count).try_for_each(|_| scenario.make())
}

/// A cut network, and the clients that connect over it.
struct Outage {
    minutes: Range<u64>,
    cut: Cut,
    children: Vec<Child>,
}

impl Outage {
    fn begin(minutes: Range<u64>) -> Result<Self> {
        let cut = Network::get()?.cut(Silence::Drop)?;
        Ok(Self { minutes, cut, children: prometheus::start_connecting(SEARCH, TIMEOUTS)? })
    }

    fn end(self) -> Result<()> {
        self.children.into_iter().try_for_each(prometheus::finish_timing_out)?;
        drop(self.cut);
        Ok(())
    }
}
