//! Traces this host: streams failures and serves metrics until it is stopped.

use std::{collections::BTreeMap, fmt::Display, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use socktrace_ebpf::Counter;
use socktrace_exporter::{Access, PassedSockets};
use socktrace_otlp::Numbers;
use tokio::runtime;

use super::{
    following::{self, Whom},
    kept::{self, Kept},
    lifecycle::Lifecycle,
    looks::Looks,
    needs::needs,
    otlp::Otlp,
    serve, totals, watch,
};
use crate::{
    cli::Cli,
    config::Resolved,
    counts::{Counts, SharedProgress, StreamProgress},
    filter::Filter,
    kernel::{
        clock::Clock,
        events::Events,
        filter::{Scope, Verdicts},
        health::Health,
        hooks::Hook,
        host::running_kernel,
        load::{self, Attached, Loaded, OnRequest},
        object::Object,
        owned::Extent,
        probe_log,
        programs::Programs,
        repeats::{Limit, RepeatMaps},
        tally::Tallies,
        undisturbed,
    },
    metrics::{Hooks, Netstat},
    owner::Owners,
    pipeline::{Gate, Judge, Pipeline, VerdictCache},
    record::{Decoder, RemoteNames},
    service::{
        log::NOTICE,
        manager::Manager,
        sandbox::{self, Needs},
        signals::{ReloadSignal, StopSignals},
    },
    sinks::{Sink, Sinks, Target},
    top::{Running, Screen},
};

/// Runs until SIGINT or SIGTERM, until the reader of the output has gone, or until everything that
/// is followed has ended. Returns the exit code: that of the command, if one is followed.
///
/// # Errors
/// When the host refuses tracing, or a requested address cannot be served.
pub(crate) fn run(resolved: Resolved) -> anyhow::Result<ExitCode> {
    begin(resolved, None)
}

/// Runs until a person closes the screen, which shows everything.
///
/// # Errors
/// When the host refuses tracing, or the terminal cannot be used.
pub(crate) fn run_on_screen(resolved: Resolved, screen: Screen) -> anyhow::Result<ExitCode> {
    begin(resolved, Some(screen))
}

fn begin(resolved: Resolved, screen: Option<Screen>) -> anyhow::Result<ExitCode> {
    let passed = PassedSockets::from_env();
    let cli = &resolved.cli;
    let access = Access::open(cli.web_config.as_deref(), cli.protect_health)?;
    let whom = Whom::new(cli)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let result = runtime.block_on(trace(resolved, passed, access, (whom, screen)));
    // A write to a stalled pipe may still be under way: do not wait for it.
    runtime.shutdown_background();
    result
}

/// Logs what is attached and what is not; if `is_brief`, only that something is hidden.
fn announce(health: &Health, hooks: &Hooks, losses: &[impl Display], is_brief: bool) {
    if !is_brief {
        announce_attached(hooks);
        announce_missing(health, hooks, losses);
    } else if health.problems().count() + health.fallbacks().count() + losses.len() > 0 {
        log::warn!(
            target: NOTICE,
            "socktrace: some failures are hidden on this kernel: socktrace doctor lists them"
        );
    }
}

fn announce_attached(hooks: &Hooks) {
    log::info!(
        target: NOTICE,
        socktrace_hooks = hooks.attached.len(), socktrace_hooks_missing = hooks.problems.len();
        "socktrace {} on {}; hooks: {}",
        env!("CARGO_PKG_VERSION"),
        running_kernel(),
        hooks.attached.join(", ")
    );
}

async fn trace(
    resolved: Resolved,
    passed: PassedSockets,
    access: Access,
    (whom, screen): (Option<Whom>, Option<Screen>),
) -> anyhow::Result<ExitCode> {
    let cli = &resolved.cli;
    let mut stop = StopSignals::new()?;
    let child = whom.as_ref().and_then(Whom::child);
    // A command gets SIGHUP itself.
    let reload = if child.is_some() { ReloadSignal::none() } else { ReloadSignal::new()? };
    let target = Target::new(cli.output_file.as_deref(), child.is_some())?;
    let manager = Manager::new();
    let clock = Clock::new()?;
    let names = cli.resolve.then(RemoteNames::of_this_host).transpose()?;
    let filter = Arc::new(Filter::from(&cli.filters));
    let shows_lines = !cli.no_stream;
    // Before privileges are dropped, which its files may require.
    let otlp = Otlp::new(&resolved)?;
    let kept = Kept::new(&cli.history);
    let events = shows_lines || otlp.is_some() || kept.is_some() || screen.is_some();
    let scope = Scope { events, counts: cli.filter_metrics || whom.is_some() };
    let kernel_filter =
        filter.kernel_filter(scope, cli.all || otlp.is_some()).following(whom.is_some());
    let mut services = serve::ServiceCounts::new(cli);
    let limit = flood_limit(cli, scope, &filter);
    let options = options(cli, clock, services.extent(), limit);
    let Loaded { mut object, links, health, losses, rst_reasons, measurable, listeners: looks } =
        undisturbed(|| load::load(options, &kernel_filter))??;
    let looks = looks.map(Arc::new);
    // Before privileges are dropped, because `/proc` may hide other processes afterwards.
    let netstat =
        Netstat::open().inspect_err(|error| log::debug!("cannot open netstat: {error}")).ok();
    let counted = scope.counts.then(|| Arc::clone(&filter));
    let tallies = Tallies::new(&mut object)?;
    let counts = Arc::new(Counts::new(tallies, services.tallies(&mut object)?, counted));
    let programs = Arc::new(Programs::new(&object).context("cannot watch the kernel programs")?);
    // Before readiness is reported, so that services that go soon afterwards are known.
    let owners = services.look_around(kernel_filter.needs_events());
    let listeners = serve::listeners(cli, passed)?;
    let mut following = whom.map(|whom| whom.follow(&mut object)).transpose()?;
    if !cli.no_sandbox {
        let needs = Needs { child, terminal: screen.is_some(), ..needs(&resolved, &access) };
        sandbox::enter(&needs, || counts.counter(Counter::EventsLost).map(drop))?;
    }

    let hooks = Hooks::from(&health);
    let is_brief = following.is_some() && !cli.verbose;
    announce(&health, &hooks, &losses, is_brief);
    if cli.probe_log {
        probe_log::forward(&mut object)?;
    }
    let attached = hooks.attached.len();
    let progress = shows_lines.then(Arc::<SharedProgress>::default);
    let about = serve::about(cli, health, measurable, rst_reasons.clone());
    let sources = serve::Sources {
        counts: Arc::clone(&counts),
        programs: Arc::clone(&programs),
        progress: progress.clone(),
        listeners: looks.clone(),
        netstat,
        otlp: otlp.as_ref().map(Otlp::counts),
        history: kept.as_ref().map(Kept::counts),
    };
    let (numbers, _server) =
        serve::metrics(&mut object, (listeners, access), services, (about, &hooks), sources)?;

    let lifecycle = Lifecycle { manager, reload, counts: Arc::clone(&counts), hooks: attached };
    let on_screen = screen.as_ref().map(Screen::sink);
    let sinks = sinks(cli, target, otlp.as_ref(), kept.as_ref(), on_screen);
    let kept = kept.map(Kept::start).transpose()?;
    let otlp = otlp.zip(numbers).map(|(otlp, numbers)| otlp.start(numbers)).transpose()?;
    let mut pipeline = None;
    if let Some(owners) = owners {
        let decoder = Decoder::new(clock, rst_reasons, owners).with_listeners(looks.clone());
        let judging = judging(&mut object, cli, decoder, filter, &counts)?;
        pipeline = Some(if scope.events {
            let repeats = limit.map(|limit| RepeatMaps::new(&mut object, limit)).transpose()?;
            judging.show(sinks, repeats, names, progress)
        } else {
            judging
        });
    }
    let running = screen.map(|screen| screen.on_hooks(attached).start()).transpose()?;
    if let Some(running) = &running {
        stop.end_with(&running.ended);
    }
    let looks = looks.filter(|_| scope.events).map(Looks::new);
    let attached = Attached::new(object, links);
    let on_reload = |new: &Cli| {
        if let Some(otlp) = &otlp {
            otlp.reload();
        }
        if let Some(kept) = &kept {
            kept.change(kept::limits(&new.history));
        }
    };
    let end = (&mut following, &mut stop);
    let watched = watch::watch(pipeline, looks, lifecycle, attached, resolved, on_reload, end);
    let shown = Box::pin(watched).await;
    running.map(Running::finish).transpose()?;
    let code = following::code(following, &mut stop).await;
    let elsewhere = otlp.map(|otlp| sent_records(otlp.finish())).unwrap_or_default()
        + &kept.map(|kept| kept_lines(kept.finish())).unwrap_or_default();
    let shown = shown.map(|shown| shows_lines.then_some(shown));
    match shown.and_then(|shown| conclude(&counts, &programs, shown, &elsewhere)) {
        // The command has run, and its exit code counts.
        Err(error) if child.is_some() => log::error!("{error:#}"),
        result => result?,
    }
    Ok(code)
}

/// Limit beyond which events of one kind are counted instead of shown.
fn flood_limit(cli: &Cli, scope: Scope, filter: &Filter) -> Option<Limit> {
    // Events of one kind differ in their paths and command names, which the kernel does not judge.
    let is_judged_here = filter.asks_for_paths() || filter.asks_for_comm_patterns();
    (scope.events && !cli.no_collapse && !is_judged_here)
        .then(|| Limit { events: cli.repeat_after(), by_cgroup: Owners::are_known_by_cgroup() })
}

/// Creates the judge of events, before there are any sinks.
fn judging(
    object: &mut Object,
    cli: &Cli,
    decoder: Decoder,
    filter: Arc<Filter>,
    counts: &Arc<Counts>,
) -> anyhow::Result<Pipeline> {
    let events = Events::new(object)?;
    let judge = Judge::new(filter, cli.all, cli.retransmits);
    let verdicts = VerdictCache::new(Some(Verdicts::new(object)?));
    let gate = Gate::new(decoder, judge, verdicts, counts.user_counts());
    Ok(Pipeline::new(events, gate, Arc::clone(counts)))
}

/// Logs the summary, with the outcome of records sent elsewhere.
fn conclude(
    counts: &Counts,
    programs: &Programs,
    shown: Option<StreamProgress>,
    elsewhere: &str,
) -> anyhow::Result<()> {
    let summary = summary(counts, shown)?;
    let missed = missed_calls(&programs.look().missed);
    let left_out = left_out(counts.counter(Counter::FollowedFull)?);
    log::info!(target: NOTICE, "socktrace: {summary}{elsewhere}{missed}{left_out}");
    Ok(())
}

/// Logs what is not attached, and what is hidden for other reasons.
fn announce_missing(health: &Health, hooks: &Hooks, losses: &[impl Display]) {
    for line in health.fallbacks() {
        log::warn!(target: NOTICE, "{line}");
    }
    let missing = health.iter().map(|(hook, _)| hook).filter(|hook| !health.is_attached(*hook));
    for (hook, problem) in missing.zip(&hooks.problems) {
        log::warn!(target: NOTICE, socktrace_hook = hook.id(); "not attached: {problem}");
    }
    for loss in losses {
        log::warn!(target: NOTICE, "hidden: {loss}");
    }
}

/// Sinks for records: lines unless they are off, a collector, a history and a screen.
fn sinks(
    cli: &Cli,
    target: Target,
    otlp: Option<&Otlp>,
    kept: Option<&Kept>,
    on_screen: Option<Box<dyn Sink>>,
) -> Sinks {
    let stream = (!cli.no_stream).then(|| watch::stream(cli, target));
    let all = [stream, otlp.map(Otlp::sink), kept.map(Kept::sink), on_screen];
    Sinks::new(all.into_iter().flatten().collect())
}

/// Options for loading: counts by owner to this extent, and events up to this limit.
fn options(cli: &Cli, clock: Clock, owned: Option<Extent>, limit: Option<Limit>) -> load::Options {
    load::Options {
        method: cli.attach.into(),
        retransmits: cli.retransmits,
        on_request: OnRequest {
            udp_sends: cli.udp_sends,
            unix_sends: cli.unix_sends,
            hops: cli.hops,
            follows: cli.follows(),
        },
        max_sockets: cli.max_sockets(),
        owned,
        limit,
        ring_bytes: cli.ring_bytes(),
        jiffy_us: clock.jiffy_us(),
        probe_log: cli.probe_log,
        idle_jiffies: clock.seconds_to_jiffies(cli.idle_threshold),
        retransmit_threshold: cli.retransmit_threshold,
    }
}

/// Summary of the whole run in one line, from the exact counts.
fn summary(counts: &Counts, shown: Option<StreamProgress>) -> anyhow::Result<String> {
    let failures = totals::failures(counts.failures()?);
    let Some(shown) = shown else { return Ok(failures) };
    let lost = counts.counter(Counter::EventsLost)? + shown.dropped;
    let repeated = match shown.repeated {
        0 => String::new(),
        count => format!(", {count} in floods"),
    };
    Ok(format!("{failures}; {} events shown{repeated}, {lost} lost", shown.shown))
}

/// The outcome of log records, appended to the summary.
fn sent_records(numbers: Numbers) -> String {
    let dropped: u64 = numbers.dropped.iter().sum();
    format!("; OpenTelemetry: {} records sent, {dropped} dropped", numbers.sent)
}

/// The outcome of the history's lines, appended to the summary.
fn kept_lines(numbers: socktrace_history::Numbers) -> String {
    let dropped: u64 = numbers.dropped.iter().sum();
    format!("; history: {} lines written, {dropped} dropped", numbers.written)
}

/// Calls that the kernel did not report to the programs, appended to the summary; empty if none.
fn missed_calls(counts: &BTreeMap<Hook, u64>) -> String {
    let missed = counts.iter().filter(|(_, count)| **count > 0);
    let hooks: Vec<_> = missed.map(|(hook, count)| format!("{} {count}", hook.id())).collect();
    if hooks.is_empty() {
        return String::new();
    }
    format!("; calls that the kernel did not report: {}", hooks.join(", "))
}

/// Number of processes that were not followed, appended to the summary; empty if none.
fn left_out(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!("; processes not followed because the table was full: {count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_calls_are_reported_by_hook() {
        let counts = BTreeMap::from([(Hook::TcpDone, 0), (Hook::SkStreamError, 4)]);
        assert_eq!(
            missed_calls(&counts),
            "; calls that the kernel did not report: sk_stream_error 4"
        );
        assert_eq!(missed_calls(&BTreeMap::from([(Hook::TcpDone, 0)])), "");
    }
}
