//! Sends events and metrics to an OpenTelemetry Collector.

use std::sync::Arc;

use anyhow::Context as _;
use socktrace_exporter::vital;
use socktrace_otlp::{Control, Counts, Credentials, Exporter, Queue, Scope, Settings, Unusable};

use crate::{
    config::Resolved,
    metrics,
    otlp::{self, Host, OtlpSink, Resources, Since},
    service::log::NOTICE,
    sinks::Sink,
};

/// An exporter that has not started yet.
pub(super) struct Otlp {
    settings: Settings,
    credentials: Credentials,
    counts: Arc<Counts>,
    queue: Arc<Queue>,
    host: Host,
    scope: Scope,
    is_redacted: bool,
}

impl Otlp {
    /// Prepares what the configuration requests, if anything. Reads files with the current
    /// privileges.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(super) fn new(resolved: &Resolved) -> anyhow::Result<Option<Self>> {
        let Some(settings) = resolved.otlp.clone() else { return Ok(None) };
        let credentials = Credentials::load(&settings).context(Unusable)?;
        let counts = Arc::<Counts>::default();
        let asked = &resolved.cli.otlp;
        let queue = Arc::new(Queue::new(asked.queue_bytes(), Arc::clone(&counts)));
        let host = Host::new(settings.resource.clone(), settings.service_name.clone());
        let scope = Scope::new(otlp::SCOPE, env!("CARGO_PKG_VERSION"));
        let is_redacted = asked.redact;
        Ok(Some(Self { settings, credentials, counts, queue, host, scope, is_redacted }))
    }

    /// Counts of what became of records.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// The sink for records.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        let resources = Resources::new(self.host.clone());
        Box::new(OtlpSink::new(Arc::clone(&self.queue), resources, self.is_redacted))
    }

    /// Starts sending, these numbers included.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(self, numbers: Arc<metrics::Exporter>) -> anyhow::Result<Control> {
        log::info!(
            target: NOTICE, socktrace_url = self.settings.logs().to_string();
            "OpenTelemetry: {}", self.settings.logs()
        );
        let since = Since::now(self.scope.clone(), self.host);
        let gather = Box::new(move || Ok(otlp::request(&since, &numbers.gather()?)));
        let (exporter, control) =
            Exporter::new(self.settings, self.credentials, self.scope, self.queue, gather);
        vital::spawn("otlp", || exporter.run()).context("cannot start to send by OTLP")?;
        Ok(control)
    }
}
