//! Traces this host: streams failures and serves metrics until told to stop.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use aya::Ebpf;
use aya_log::EbpfLogger;
use socktrace_ebpf::Counter;
use socktrace_exporter::{Access, PassedSockets};
use tokio::{io::unix::AsyncFd, runtime};

use super::{
    serve,
    watch::{self, Service, Shower, Shown, Source},
};
use crate::{
    config::Resolved,
    filter::{Counts, Filter, Gate},
    kernel::{
        clock::Clock,
        filter::{Scope, Verdicts},
        hooks::Hook,
        host::running_kernel,
        load::{self, Attached, Loaded},
        programs::Programs,
        stream::Events,
        tally::Tallies,
    },
    metrics::{Hooks, Progress},
    output::{Decoder, stream::Printer},
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
    let mut services = serve::Services::new(cli);
    let options = load::Options {
        method: cli.attach.into(),
        retransmits: cli.retransmits,
        max_sockets: cli.max_sockets,
        owned: services.extent(),
        ring_bytes: cli.ring_bytes(),
        jiffy_us: clock.jiffy_us(),
        probe_log: cli.probe_log,
        idle_jiffies: clock.seconds_to_jiffies(cli.idle_threshold),
        retransmit_threshold: cli.retransmit_threshold,
    };
    let Loaded { mut ebpf, links, health, losses, rst_reasons, measurable } =
        undisturbed(|| load::load(options, &program))??;
    let counted = scope.counts.then(|| Arc::clone(&filter));
    let tallies = Tallies::new(&mut ebpf)?;
    let counts = Arc::new(Counts::new(tallies, services.tallies(&mut ebpf)?, counted));
    let programs = Arc::new(Programs::new(&ebpf).context("cannot watch the kernel programs")?);
    // Learnt before it says that it is ready, so that those are known that go soon after.
    let owners = services.look_around(program.needs_events());
    let listeners = serve::listeners(cli, passed)?;
    if !cli.no_sandbox {
        privileges::drop_all(|| counts.counter(Counter::EventsLost).map(drop))?;
    }

    let hooks = Hooks::from(&health);
    log::info!(
        target: NOTICE,
        socktrace_hooks = hooks.attached.len(), socktrace_hooks_missing = hooks.problems.len();
        "socktrace {} on {}; hooks: {}",
        env!("CARGO_PKG_VERSION"),
        running_kernel(),
        hooks.attached.join(", ")
    );
    for line in health.fallbacks() {
        log::warn!(target: NOTICE, "{line}");
    }
    let missing = health.iter().map(|(hook, _)| hook).filter(|hook| !health.is_attached(*hook));
    for (hook, problem) in missing.zip(&hooks.problems) {
        log::warn!(target: NOTICE, socktrace_hook = hook.id(); "not attached: {problem}");
    }
    for loss in losses {
        log::warn!(target: NOTICE, "not told: {loss}");
    }
    if cli.probe_log {
        forward_probe_log(&mut ebpf)?;
    }
    let attached = hooks.attached.len();
    let progress = scope.stream.then(Arc::<Progress>::default);
    let about = serve::about(cli, health, measurable, rst_reasons.clone());
    let sources = serve::Sources {
        counts: Arc::clone(&counts),
        programs: Arc::clone(&programs),
        progress: progress.clone(),
    };
    let _server =
        serve::metrics(&mut ebpf, (listeners, access), services, (about, &hooks), sources)?;

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
    let shown = match (source, progress) {
        (Some(source), Some(progress)) => {
            let printer = Printer::new(cli.output, cli.color);
            let shower = Shower { names, printer, progress };
            Some(watch::stream(source, shower, service, resolved, &mut stop).await?)
        }
        (Some(source), None) => {
            watch::judge(source, service, resolved, &mut stop).await?;
            None
        }
        (None, _) => {
            watch::count(service, resolved, &mut stop).await?;
            None
        }
    };
    let summary = summary(&counts, shown)?;
    log::info!(target: NOTICE, "socktrace: {summary}{}", missed_calls(&programs.look().missed));
    Ok(())
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
