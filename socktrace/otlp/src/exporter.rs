//! The exporter: drains the queue, and sends metrics at intervals.

use std::{
    io::Write as _,
    sync::{Arc, mpsc},
    time::Duration,
};

use flate2::{Compression as Level, write::GzEncoder};
use hyper::body::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use tokio::{
    runtime,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    batch::Scope,
    client::{Client, Payload},
    counts::{Dropped, Numbers},
    credentials::{Credentials, Current},
    endpoint::{Endpoint, Signal},
    queue::{Queue, Taken},
    retry::Backoff,
    settings::{Compression, Settings},
    status::Outcome,
    system::{Dial, SystemDial},
};

/// How long the first record of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);

/// How long the daemon's exit waits for the remaining records to be sent.
pub const PATIENCE_AT_END: Duration = Duration::from_secs(3);

/// Minimum interval between log messages about the same failure.
const REMINDER: Duration = Duration::from_mins(10);

/// Gathers the metrics for each request.
pub type GatherMetrics = Box<dyn Fn() -> anyhow::Result<ExportMetricsServiceRequest> + Send + Sync>;

/// The sender. Run it on its own thread: compression and TLS take time.
pub struct Exporter {
    work: Work,
    ended: mpsc::Sender<()>,
}

/// Handle to reload and stop an exporter.
pub struct Control {
    settings: Arc<Settings>,
    queue: Arc<Queue>,
    current: Arc<Current>,
    ended: mpsc::Receiver<()>,
}

/// Settings and queues of the sending tasks.
pub(crate) struct Work {
    pub(crate) settings: Arc<Settings>,
    pub(crate) scope: Scope,
    pub(crate) queue: Arc<Queue>,
    pub(crate) current: Arc<Current>,
    pub(crate) gather: GatherMetrics,
}

impl Exporter {
    /// Prepares an exporter; nothing is sent before it runs.
    #[must_use]
    pub fn new(
        settings: Settings,
        credentials: Credentials,
        scope: Scope,
        queue: Arc<Queue>,
        gather: GatherMetrics,
    ) -> (Self, Control) {
        let settings = Arc::new(settings);
        let current = Arc::new(Current::new(credentials));
        let (ended, is_ended) = mpsc::channel();
        let control = Control {
            settings: Arc::clone(&settings),
            queue: Arc::clone(&queue),
            current: Arc::clone(&current),
            ended: is_ended,
        };
        let work = Work { settings, scope, queue, current, gather };
        (Self { work, ended }, control)
    }

    /// Sends until stopped through the [`Control`].
    pub fn run(self) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(self.work.run(Arc::new(SystemDial)));
                runtime.shutdown_background();
            }
            Err(error) => log::error!("OTLP: nothing is sent: {error}"),
        }
        // The receiver may have gone.
        _ = self.ended.send(());
    }
}

impl Control {
    /// Reloads headers, certificates and keys. If that fails, the previous ones stay in force.
    pub fn reload(&self) {
        match Credentials::load(&self.settings) {
            Ok(credentials) => self.current.set(credentials),
            Err(error) => {
                log::error!("OTLP: {error:#}; the previous headers and certificates stay in force");
            }
        }
    }

    /// Sends the remaining records within a time limit, counts the unsent ones as dropped, and
    /// returns the final counts.
    #[must_use]
    pub fn finish(&self) -> Numbers {
        self.queue.close();
        // An error means that it has ended already.
        _ = self.ended.recv_timeout(PATIENCE_AT_END);
        self.queue.clear();
        self.queue.counts().read()
    }
}

impl Work {
    pub(crate) async fn run<D: Dial>(self, dial: Arc<D>) {
        let client = |signal, endpoint: &Endpoint| Client {
            signal,
            endpoint: endpoint.clone(),
            user_agent: self.scope.user_agent(),
            patience: self.settings.timeout,
            dial: Arc::clone(&dial),
            current: Arc::clone(&self.current),
            connection: None,
        };
        let logs = client(Signal::Logs, &self.settings.logs);
        let metrics = client(Signal::Metrics, &self.settings.metrics);
        // Each signal waits only for its own endpoint.
        tokio::join!(self.send_logs(logs), self.send_metrics(metrics));
    }

    async fn send_logs<D: Dial>(&self, mut client: Client<D>) {
        let queue = &self.queue;
        let mut health = Health::new(&client);
        loop {
            while queue.is_empty() {
                if queue.is_closed() {
                    return;
                }
                queue.news().await;
            }
            let full = async {
                while !queue.has_batch() && !queue.is_closed() {
                    queue.news().await;
                }
            };
            // Send after the timeout, full or not.
            drop(timeout(LINGER, full).await);
            if !self.deliver(queue.take(), &mut client, &mut health).await {
                return;
            }
        }
    }

    /// Sends records until they are accepted or refused; returns whether to continue with others.
    async fn deliver<D: Dial>(
        &self,
        taken: Taken,
        client: &mut Client<D>,
        health: &mut Health,
    ) -> bool {
        let (count, bytes) = (taken.records.len(), taken.bytes());
        let payload = self.payload(self.scope.request(&taken.records));
        // From here on, only the compressed request is kept.
        drop(taken);
        let counts = self.queue.counts();
        let mut backoff = Backoff::default();
        let mut goes_on = true;
        loop {
            match client.send(&payload).await {
                Outcome::Taken { rejected, message } => {
                    let rejected = rejected.min(count as u64);
                    counts.add_sent(count as u64 - rejected);
                    counts.add_dropped(Dropped::Rejected, rejected);
                    if rejected > 0 {
                        health.ill(
                            &format!("the collector rejects records: {message}"),
                            "they are dropped",
                        );
                    } else {
                        health.well();
                    }
                    break;
                }
                Outcome::Refused { why } => {
                    counts.add_failed_request();
                    counts.add_dropped(Dropped::Refused, count as u64);
                    health.ill(&why, "rejected records are dropped");
                    break;
                }
                Outcome::Later { after, why } => {
                    counts.add_failed_request();
                    health.ill(&why, "retrying; records beyond the queue are dropped");
                    if self.queue.is_closed() {
                        counts.add_dropped(Dropped::Ended, count as u64);
                        goes_on = false;
                        break;
                    }
                    let wait = backoff.wait(after);
                    // Closing the queue ends the wait, for one last attempt.
                    drop(timeout(wait, self.queue.closed()).await);
                }
            }
        }
        self.queue.done(count, bytes);
        goes_on
    }

    async fn send_metrics<D: Dial>(&self, mut client: Client<D>) {
        let interval = self.settings.interval;
        let mut health = Health::new(&client);
        let mut backoff = Backoff::default();
        let mut due = Instant::now() + interval;
        loop {
            tokio::select! {
                biased;
                () = self.queue.closed() => {}
                () = sleep_until(due) => {}
            }
            let is_last = self.queue.is_closed();
            due = Instant::now() + interval;
            match (self.gather)() {
                // For example, for lack of descriptors. The next request includes these numbers.
                Err(error) => log::debug!("{error:#}"),
                Ok(request) => match client.send(&self.payload(request.encode_to_vec())).await {
                    Outcome::Taken { rejected: 0, .. } => {
                        backoff.reset();
                        health.well();
                    }
                    Outcome::Taken { message, .. } => {
                        health.ill(
                            &format!("the collector rejects metrics: {message}"),
                            "trying again",
                        );
                    }
                    Outcome::Refused { why } => {
                        self.queue.counts().add_failed_request();
                        health.ill(&why, "trying again");
                    }
                    Outcome::Later { after, why } => {
                        self.queue.counts().add_failed_request();
                        health.ill(&why, "trying again");
                        // The retry sends the numbers of that time.
                        due = Instant::now() + backoff.wait(after).min(interval.max(LINGER));
                    }
                },
            }
            if is_last {
                return;
            }
            // Limits the rate of attempts that fail immediately.
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn payload(&self, request: Vec<u8>) -> Payload {
        let is_gzip = self.settings.compression == Compression::Gzip;
        if is_gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
            if let Ok(body) = encoder.write_all(&request).and_then(|()| encoder.finish()) {
                return Payload { body: Bytes::from(body), is_gzip };
            }
        }
        Payload { body: Bytes::from(request), is_gzip: false }
    }
}

/// State of an endpoint for the log: reports changes, and repeats persistent failures at intervals.
struct Health {
    what: &'static str,
    endpoint: Endpoint,
    /// The last message logged, and its time.
    said: Option<(String, Instant)>,
}

impl Health {
    fn new<D>(client: &Client<D>) -> Self {
        Self { what: client.signal.name(), endpoint: client.endpoint.clone(), said: None }
    }

    fn ill(&mut self, why: &str, consequence: &str) {
        let is_known =
            self.said.as_ref().is_some_and(|(said, at)| said == why && at.elapsed() < REMINDER);
        if !is_known {
            log::warn!("OTLP: {} to {}: {why}; {consequence}", self.what, self.endpoint);
            self.said = Some((why.to_owned(), Instant::now()));
        }
    }

    fn well(&mut self) {
        if self.said.take().is_some() {
            log::warn!("OTLP: {} to {} are accepted again", self.what, self.endpoint);
        }
    }
}
