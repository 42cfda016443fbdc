//! Serves the metrics of a trace.

use std::sync::Arc;

use anyhow::Context as _;
use socktrace_ebpf::OWNED_PER_SERIES;
use socktrace_exporter::{
    Access, Listen, Listener, Listeners, Liveness, PassedSockets, Server, Site,
};
use socktrace_history::Counts as HistoryCounts;
use socktrace_otlp::Counts as OtlpCounts;

use crate::{
    cli::{Cli, DEFAULT_LISTEN},
    counts::{Counts, SharedProgress},
    kernel::{
        health::Health,
        host::kernel_release,
        listeners::ListenerTable,
        load::Measurable,
        measures::Measures,
        new_cgroups::NewCgroups,
        object::Object,
        owned::{Extent, OwnedTallies},
        programs::Programs,
    },
    metrics::{self, About, Exporter, Hooks, Netstat, Zeros},
    owner::Owners,
    service::log::NOTICE,
};

/// Counts of failures by service, before anything is loaded.
#[derive(Default)]
pub(super) struct ServiceCounts {
    /// Extent of the counts, and maximum number of series; `None` if failures are not counted.
    asked: Option<(Extent, usize)>,
    /// Finds the owners.
    owners: Option<Owners>,
}

impl ServiceCounts {
    /// Prepares what the command line requests, if this host has cgroups to identify services by.
    pub(super) fn new(cli: &Cli) -> Self {
        if cli.no_metrics || cli.max_series == 0 {
            return Self::default();
        }
        if !Owners::have_ids() {
            log::warn!(
                target: NOTICE,
                "hidden: failures by service in the metrics, as this host has no cgroup2"
            );
            return Self::default();
        }
        let series = cli.max_series as usize;
        #[expect(clippy::cast_possible_truncation, reason = "a small factor")]
        let entries = cli.max_series * OWNED_PER_SERIES as u32;
        let extent = Extent { entries, ports: cli.series_by_port };
        Self { asked: Some((extent, series)), owners: None }
    }

    /// Extent of the counts in the kernel.
    pub(super) fn extent(&self) -> Option<Extent> {
        self.asked.map(|(extent, _)| extent)
    }

    /// Finds the services of existing cgroups. If `for_events`, returns owners for the services of
    /// events.
    pub(super) fn look_around(&mut self, for_events: bool) -> Option<Owners> {
        let owners = for_events.then(Owners::new);
        if self.asked.is_some() {
            self.owners = Some(owners.as_ref().map_or_else(Owners::new, Owners::beside));
        }
        owners
    }

    /// Takes the maps of the counts, if failures are counted by service.
    pub(super) fn tallies(
        &self,
        object: &mut Object,
    ) -> anyhow::Result<Option<(OwnedTallies, Extent)>> {
        self.extent().map(|extent| Ok((OwnedTallies::new(object)?, extent))).transpose()
    }

    /// Creates the series. Names of services that fail for the first time are looked up from now
    /// on.
    fn start(
        self,
        object: &mut Object,
        counts: &Arc<Counts>,
    ) -> anyhow::Result<Option<Arc<metrics::Services>>> {
        let (Some((extent, limit)), Some(owners)) = (self.asked, self.owners) else {
            return Ok(None);
        };
        let services = Arc::new(metrics::Services::new(owners, limit, extent.entries as usize));
        let (met, counts) = (Arc::clone(&services), Arc::clone(counts));
        NewCgroups::new(object)?.watch(move |cgroup| met.meet(cgroup, &counts))?;
        Ok(Some(services))
    }
}

/// Sources of numbers that others use, too.
pub(super) struct Sources {
    pub(super) counts: Arc<Counts>,
    pub(super) programs: Arc<Programs>,
    pub(super) progress: Option<Arc<SharedProgress>>,
    pub(super) listeners: Option<Arc<ListenerTable>>,
    pub(super) netstat: Option<Netstat>,
    pub(super) otlp: Option<Arc<OtlpCounts>>,
    pub(super) history: Option<Arc<HistoryCounts>>,
}

/// Facts that stay the same.
pub(super) fn about(
    cli: &Cli,
    health: Health,
    measurable: Measurable,
    rst_reasons: Vec<(u32, String)>,
) -> About {
    About {
        health,
        measurable,
        rst_reasons,
        service_ports: cli.series_by_port,
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("SOCKTRACE_COMMIT"),
        kernel: kernel_release(),
        max_sockets: cli.max_sockets(),
    }
}

/// Gathers the numbers if they are served or sent, and serves them on these sockets, if any.
pub(super) fn metrics(
    object: &mut Object,
    (listeners, access): (Listeners, Access),
    services: ServiceCounts,
    (about, hooks): (About, &Hooks),
    sources: Sources,
) -> anyhow::Result<(Option<Arc<Exporter>>, Option<Server>)> {
    let is_served = !(listeners.pages.is_empty() && listeners.health.is_empty());
    if !is_served && sources.otlp.is_none() {
        return Ok((None, None));
    }
    let measures = Measures::new(object)?;
    let max_owned = services.extent().map_or(0, |extent| extent.entries);
    let Sources { counts, programs, progress, listeners: looks, netstat, otlp, history } = sources;
    let services = services.start(object, &counts)?;
    let zeros = Zeros::new(&about, &counts);
    let exporter = Arc::new(Exporter {
        about,
        counts,
        measures,
        programs,
        services,
        listeners: looks,
        netstat,
        zeros,
        max_owned,
        progress,
        otlp,
        history,
    });
    let serve = || serve((listeners, access), Arc::clone(&exporter), hooks);
    let server = is_served.then(serve).transpose()?;
    Ok((Some(exporter), server))
}

/// Serves the metrics.
fn serve(
    (listeners, access): (Listeners, Access),
    exporter: Arc<Exporter>,
    hooks: &Hooks,
) -> anyhow::Result<Server> {
    let urls: Vec<_> =
        listeners.pages.iter().map(|listener| listener.metrics_url(&access)).collect();
    let (liveness, watchdog) = Liveness::new();
    tokio::spawn(watchdog.run());
    let (readiness, index) = (hooks.readiness(), hooks.index());
    let site = Site { gather: Arc::new(move || exporter.gather()), liveness, readiness, index };
    let server = Server::start(listeners, access, site)?;
    for url in urls {
        log::info!(target: NOTICE, socktrace_url = url; "metrics: {url}");
    }
    Ok(server)
}

/// Sockets for metrics. There are none if metrics are off, or if only the default address, which
/// nobody requested, cannot be bound.
pub(super) fn listeners(cli: &Cli, mut passed: PassedSockets) -> anyhow::Result<Listeners> {
    let mut health = Vec::new();
    for listen in &cli.health_listen {
        let bound = Listener::bind(listen, &mut passed).with_context(|| {
            format!("cannot listen on {listen}; choose another with --health-listen")
        })?;
        health.extend(bound);
    }
    let pages = pages(cli, passed)?;
    Ok(Listeners { pages, health })
}

fn pages(cli: &Cli, mut passed: PassedSockets) -> anyhow::Result<Vec<Listener>> {
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
            // A person at a terminal wants the stream; a service has nothing else to offer.
            Err(error) if *asked == [DEFAULT_LISTEN] && cli.listen.is_empty() && !cli.no_stream => {
                log::warn!(
                    target: NOTICE,
                    "no metrics: cannot listen on {listen}: {error}; choose another address with --listen, or use --no-metrics"
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
