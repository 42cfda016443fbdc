//! Traces this host: streams failures and serves metrics until told to stop.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use aya::Ebpf;
use aya_log::EbpfLogger;
use socktrace_ebpf::Counter;
use tokio::{io::unix::AsyncFd, runtime};

use super::watch::{self, Service, Shown, Source};
use crate::{
    cli::{Cli, DEFAULT_LISTEN},
    config::Resolved,
    filter::{Counts, Filter, Gate},
    kernel::{
        clock::Clock,
        filter::{Scope, Verdicts},
        hooks::Hook,
        host::running_kernel,
        load::{self, Attached, Loaded},
        missed::Missed,
        stream::Events,
        tally::Tallies,
    },
    metrics::{Access, Exporter, Hooks, Listen, Listener, PassedSockets, Pulse, Server, Site},
    output::{Decoder, stream::Printer},
    owner::Owners,
    resolve::{Names, System},
    service::{
        log::NOTICE,
        manager::Manager,
        privileges,
        signals::{ReloadSignal, StopSignals, undisturbed},
    },
};

/// Runs until SIGINT or SIGTERM, or until the reader of the output is gone.
///
/// # Errors
/// When the host refuses tracing, or an address asked for cannot be served.
pub(crate) fn run(resolved: Resolved) -> anyhow::Result<()> {
    let passed = PassedSockets::from_env();
    let access = Access::open(resolved.cli.web_config.as_deref())?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let result = runtime.block_on(trace(resolved, passed, access));
    // A write to a stalled pipe may still be under way: do not wait for it.
    runtime.shutdown_background();
    result
}

async fn trace(resolved: Resolved, passed: PassedSockets, access: Access) -> anyhow::Result<()> {
    let cli = &resolved.cli;
    let mut stop = StopSignals::new()?;
    let reload = ReloadSignal::new()?;
    let manager = Manager::new();
    let clock = Clock::new()?;
    let names = if cli.resolve { Some(Names::new(System::new()?)) } else { None };
    let filter = Arc::new(Filter::new(&cli.filters));
    let scope = Scope { stream: !cli.no_stream, counts: cli.filters.filter_metrics };
    let program = filter.program(scope, cli.all);
    let options = load::Options {
        method: cli.attach.into(),
        retransmits: cli.retransmits,
        max_sockets: cli.max_sockets,
        probe_log: cli.probe_log,
        idle_jiffies: clock.seconds_to_jiffies(cli.idle_threshold),
        retransmit_threshold: cli.retransmit_threshold,
    };
    let Loaded { mut ebpf, links, health, losses, rst_reasons } =
        undisturbed(|| load::load(options, &program))??;
    let counted = scope.counts.then(|| Arc::clone(&filter));
    let counts = Arc::new(Counts::new(Tallies::new(&mut ebpf)?, counted));
    let missed = Arc::new(Missed::new(&ebpf).context("cannot watch the kernel programs")?);
    // Learnt before it says that it is ready, so that those are known that go soon after.
    let owners = program.needs_events().then(Owners::new);
    let listeners = metrics_listeners(cli, passed)?;
    if !cli.no_sandbox {
        privileges::drop_all(|| counts.counter(Counter::EventsLost).map(drop))?;
    }

    let hooks = Hooks::from(&health);
    log::info!(
        target: NOTICE,
        "socktrace {} on {}; hooks: {}",
        env!("CARGO_PKG_VERSION"),
        running_kernel(),
        hooks.attached.join(", ")
    );
    for line in health.fallbacks() {
        log::warn!(target: NOTICE, "{line}");
    }
    for problem in &hooks.problems {
        log::warn!(target: NOTICE, "not attached: {problem}");
    }
    for loss in losses {
        log::warn!(target: NOTICE, "not told: {loss}");
    }
    if cli.probe_log {
        forward_probe_log(&mut ebpf)?;
    }
    let attached = hooks.attached.len();
    let exporter = Exporter::new(Arc::clone(&counts), Arc::clone(&missed), health);
    let _server = serve_metrics(listeners, access, exporter, hooks)?;

    let service = Service { manager, reload, counts: Arc::clone(&counts), hooks: attached };
    let source = if let Some(owners) = owners {
        let events = Events::new(&mut ebpf)?;
        let decoder = Decoder::new(clock, rst_reasons, owners);
        let verdicts = Some(Verdicts::new(&mut ebpf)?);
        let besides = (cli.all, cli.retransmits);
        let gate = Gate::new(filter, besides, counts.judged(), verdicts);
        Some(Source { events, decoder, gate })
    } else {
        None
    };
    let _attached = Attached::new(ebpf, links);
    let shown = match source {
        Some(source) if scope.stream => {
            let printer = Printer::new(cli.output, cli.color);
            Some(watch::stream(source, names, printer, service, resolved, &mut stop).await?)
        }
        Some(source) => {
            watch::judge(source, service, resolved, &mut stop).await?;
            None
        }
        None => {
            watch::count(service, resolved, &mut stop).await?;
            None
        }
    };
    let summary = summary(&counts, shown)?;
    log::info!(target: NOTICE, "socktrace: {summary}{}", missed_calls(&missed.counts()));
    Ok(())
}

/// Serves the metrics at these sockets, if any.
fn serve_metrics(
    listeners: Vec<Listener>,
    access: Access,
    exporter: Exporter,
    hooks: Hooks,
) -> anyhow::Result<Option<Server>> {
    if listeners.is_empty() {
        return Ok(None);
    }
    let urls: Vec<_> = listeners.iter().map(|listener| listener.metrics_url(&access)).collect();
    let (pulse, heart) = Pulse::new();
    tokio::spawn(heart.beat());
    let site = Site { gather: Arc::new(move || exporter.gather()), pulse, hooks };
    let server = Server::start(listeners, access, site)?;
    for url in urls {
        log::info!(target: NOTICE, "metrics: {url}");
    }
    Ok(Some(server))
}

/// The sockets for metrics; none when nobody wants them, or when they can only not be had at the
/// default address, which nobody has asked for.
fn metrics_listeners(cli: &Cli, mut passed: PassedSockets) -> anyhow::Result<Vec<Listener>> {
    if cli.no_metrics {
        return Ok(Vec::new());
    }
    let asked = match cli.listen.as_slice() {
        [] if passed.is_empty() => &[DEFAULT_LISTEN],
        [] => &[Listen::Systemd],
        asked => asked,
    };
    let mut listeners = Vec::new();
    for listen in asked {
        match Listener::bind(listen, &mut passed) {
            Ok(bound) => listeners.extend(bound),
            // A person at a terminal came for the stream; a service has nothing else to offer.
            Err(error) if *asked == [DEFAULT_LISTEN] && cli.listen.is_empty() && !cli.no_stream => {
                log::warn!(
                    target: NOTICE,
                    "no metrics: cannot listen on {listen}: {error}; see --listen"
                );
            }
            Err(error) => {
                let text =
                    format!("cannot serve metrics on {listen}; choose another with --listen");
                return Err(anyhow::Error::new(error).context(text));
            }
        }
    }
    Ok(listeners)
}

/// Logs what the kernel programs say about themselves.
fn forward_probe_log(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let logger = EbpfLogger::init(ebpf).context("cannot read the kernel programs' messages")?;
    // SAFETY: the logger owns the ring buffer's descriptor and keeps it as long as it lives.
    let registered = unsafe { AsyncFd::register(logger) };
    let mut logger = registered.context("cannot watch the kernel programs' messages")?;
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}

/// One line about the whole run, from the exact tallies.
fn summary(counts: &Counts, shown: Option<Shown>) -> anyhow::Result<String> {
    let causes = watch::failures(counts)?;
    let total: u64 = causes.values().sum();
    let by_cause: Vec<String> =
        causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    let failures = match total {
        0 => "no failures".to_owned(),
        1 => format!("1 failure ({})", by_cause.join(", ")),
        _ => format!("{total} failures ({})", by_cause.join(", ")),
    };
    let Some(shown) = shown else { return Ok(failures) };
    let lost = counts.counter(Counter::EventsLost)? + shown.dropped;
    Ok(format!("{failures}; {} events shown, {lost} lost", shown.lines))
}

/// What the kernel kept from the programs, to go after the summary; empty if nothing.
fn missed_calls(counts: &BTreeMap<Hook, u64>) -> String {
    let missed = counts.iter().filter(|(_, count)| **count > 0);
    let hooks: Vec<_> = missed.map(|(hook, count)| format!("{} {count}", hook.id())).collect();
    if hooks.is_empty() {
        return String::new();
    }
    format!("; calls that the kernel kept from socktrace: {}", hooks.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_calls_are_told_by_hook() {
        let counts = BTreeMap::from([(Hook::TcpDone, 0), (Hook::SkStreamError, 4)]);
        assert_eq!(
            missed_calls(&counts),
            "; calls that the kernel kept from socktrace: sk_stream_error 4"
        );
        assert_eq!(missed_calls(&BTreeMap::from([(Hook::TcpDone, 0)])), "");
    }
}
