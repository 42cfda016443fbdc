//! Tests against an in-process collector: HTTP by hyper over memory, with simulated time.

mod credentials;

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
        metrics::v1::ExportMetricsServiceRequest,
    },
    common::v1::{AnyValue, any_value::Value},
    logs::v1::LogRecord,
    resource::v1::Resource,
};
use prost::Message as _;
use rustls::ServerConfig;
use tokio::{
    io::duplex,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    batch::{Encoded, Scope},
    counts::{Counts, Dropped, Numbers},
    credentials::{Credentials, Current},
    endpoint::Endpoint,
    exporter::Work,
    queue::Queue,
    settings::{Asked, Environment, Settings, tests::asked},
    system::{ByteStream, Dial},
};

/// A record with a body and padding.
pub(crate) fn record(body: &str, padding: usize) -> Encoded {
    let body = format!("{body}{}", " ".repeat(padding));
    let body = Some(AnyValue { value: Some(Value::StringValue(body)) });
    let resource = Encoded::resource(Resource::default());
    Encoded::new(&resource, LogRecord { body, ..LogRecord::default() })
}

/// The collector's reaction to a request.
#[derive(Clone, Debug)]
enum Answer {
    /// Answers with this status, and a `Retry-After` header if given.
    Status(u16, Option<&'static str>),
    /// Accepts the request, but rejects this many records.
    Partial(i64),
    /// Accepts the request after a time.
    Slow(Duration),
    /// Closes the connection.
    Closes,
}

/// A request received.
#[derive(Debug)]
struct Seen {
    at: Instant,
    path: String,
    headers: HeaderMap,
    /// Bodies of the log records, in order.
    bodies: Vec<String>,
    /// Names of the metrics.
    metrics: Vec<String>,
}

/// A collector, and the way to connect to it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_down: bool,
    /// Reactions to the next requests; later ones are accepted.
    answers: VecDeque<Answer>,
    tls: Option<Arc<ServerConfig>>,
    seen: Vec<Seen>,
    connections: usize,
}

impl Dial for Collector {
    async fn dial(&self, _: &Endpoint) -> io::Result<Box<dyn ByteStream>> {
        let (is_down, tls) = self.with(|state| (state.is_down, state.tls.clone()));
        if is_down {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.with(|state| state.connections += 1);
        let (client, server) = duplex(64 << 10);
        let collector = self.clone();
        tokio::spawn(async move {
            let stream: Box<dyn ByteStream> = match tls {
                None => Box::new(server),
                Some(tls) => match TlsAcceptor::from(tls).accept(server).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => return,
                },
            };
            let answer = service_fn(|request| collector.answer(request));
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
        Ok(Box::new(client))
    }
}

impl Collector {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().expect("no panic"))
    }

    /// A collector with these reactions, which then accepts everything.
    fn answering(answers: &[Answer]) -> Self {
        let collector = Self::default();
        collector.with(|state| state.answers = answers.iter().cloned().collect());
        collector
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut bytes = Vec::new();
        if head.headers.get("content-encoding").is_some() {
            GzDecoder::new(&*body).read_to_end(&mut bytes)?;
        } else {
            bytes = body.to_vec();
        }
        let path = head.uri.path().to_owned();
        let (mut bodies, mut metrics) = (Vec::new(), Vec::new());
        if path.ends_with("/v1/logs") {
            let request = ExportLogsServiceRequest::decode(&*bytes).expect("protobuf");
            let logs = request.resource_logs.into_iter().flat_map(|logs| logs.scope_logs);
            for record in logs.flat_map(|logs| logs.log_records) {
                let Some(Value::StringValue(text)) = record.body.and_then(|body| body.value) else {
                    panic!("a body of text");
                };
                bodies.push(text.trim().to_owned());
            }
        } else {
            let request = ExportMetricsServiceRequest::decode(&*bytes).expect("protobuf");
            let found = request.resource_metrics.into_iter().flat_map(|all| all.scope_metrics);
            metrics.extend(found.flat_map(|all| all.metrics).map(|metric| metric.name));
        }
        let seen = Seen { at: Instant::now(), path, headers: head.headers, bodies, metrics };
        let answer = self.with(|state| {
            let is_logs = !seen.bodies.is_empty();
            state.seen.push(seen);
            if is_logs { state.answers.pop_front() } else { None }
        });
        let status = |status: u16| Response::builder().status(status);
        let empty = Full::new(Bytes::new());
        let response = match answer {
            None => status(200).body(empty),
            Some(Answer::Status(code, None)) => status(code).body(empty),
            Some(Answer::Status(code, Some(after))) => {
                status(code).header("retry-after", after).body(empty)
            }
            Some(Answer::Partial(rejected_log_records)) => {
                let error_message = "too old".to_owned();
                let partial = ExportLogsPartialSuccess { rejected_log_records, error_message };
                let answer = ExportLogsServiceResponse { partial_success: Some(partial) };
                status(200).body(Full::new(answer.encode_to_vec().into()))
            }
            Some(Answer::Slow(time)) => {
                sleep(time).await;
                status(200).body(empty)
            }
            Some(Answer::Closes) => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        response.map_err(io::Error::other)
    }

    /// Bodies of the log records of each request, in order.
    fn bodies(&self) -> Vec<Vec<String>> {
        let logs = |seen: &&Seen| seen.path.ends_with("/v1/logs");
        self.with(|state| state.seen.iter().filter(logs).map(|seen| seen.bodies.clone()).collect())
    }

    /// Times between requests with log records.
    fn gaps(&self) -> Vec<Duration> {
        self.with(|state| {
            let logs = state.seen.iter().filter(|seen| seen.path.ends_with("/v1/logs"));
            let times: Vec<_> = logs.map(|seen| seen.at).collect();
            times.windows(2).map(|pair| pair[1] - pair[0]).collect()
        })
    }
}

/// A running exporter.
struct Running {
    queue: Arc<Queue>,
    current: Arc<Current>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(collector: &Collector, endpoint: &str, change: impl FnOnce(&mut Asked)) -> Self {
        let metrics_interval = Some(Duration::from_hours(24));
        let mut asked = Asked { metrics_interval, ..asked(endpoint) };
        change(&mut asked);
        let settings = Settings::new(asked, &Environment::default()).expect("sound");
        let credentials = Credentials::load(&settings).expect("readable");
        let queue = Arc::new(Queue::new(1 << 20, Arc::<Counts>::default()));
        let current = Arc::new(Current::new(credentials));
        let gather = || Ok(ExportMetricsServiceRequest::default());
        let work = Work {
            settings: Arc::new(settings),
            scope: Scope::new("socktrace", "1.2.3"),
            queue: Arc::clone(&queue),
            current: Arc::clone(&current),
            gather: Box::new(gather),
        };
        let task = tokio::spawn(work.run(Arc::new(collector.clone())));
        Self { queue, current, task }
    }

    fn plain(collector: &Collector) -> Self {
        Self::start(collector, "http://collector:4318", |_| {})
    }

    fn push(&self, body: &str) -> bool {
        self.queue.push(record(body, 0))
    }

    fn numbers(&self) -> Numbers {
        self.queue.counts().read()
    }

    /// Stops it like the daemon does.
    async fn end(self) -> Numbers {
        self.queue.close();
        self.task.await.expect("no panic");
        self.queue.clear();
        self.queue.counts().read()
    }
}

#[tokio::test(start_paused = true)]
async fn records_arrive_in_batches_compressed() {
    let collector = Collector::default();
    let running = Running::plain(&collector);
    for body in ["a", "b", "c"] {
        assert!(running.push(body));
    }
    sleep(Duration::from_millis(1_100)).await;
    assert!(running.push("d"));
    let numbers = running.end().await;
    assert_eq!(collector.bodies(), [vec!["a", "b", "c"], vec!["d"]]);
    assert_eq!((numbers.sent, numbers.queued_records, numbers.queued_bytes), (4, 0, 0));
    collector.with(|state| {
        let first = &state.seen[0];
        assert_eq!(first.path, "/v1/logs");
        for (name, value) in [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "gzip"),
            ("host", "collector:4318"),
            ("user-agent", "socktrace/1.2.3"),
        ] {
            assert_eq!(first.headers[name], value, "{name}");
        }
        // One for each signal: connections are reused.
        assert_eq!(state.connections, 2);
    });
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let collector = Collector::default();
    let running = Running::plain(&collector);
    let began = Instant::now();
    for _ in 0..crate::queue::BATCH_RECORDS {
        running.push("a");
    }
    while running.numbers().sent == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(began.elapsed() < Duration::from_millis(500));
    assert_eq!(collector.bodies()[0].len(), crate::queue::BATCH_RECORDS);
}

#[tokio::test(start_paused = true)]
async fn a_collector_may_be_away_for_an_hour() {
    let collector = Collector::default();
    collector.with(|state| state.is_down = true);
    let running = Running::plain(&collector);
    let mut pushed = 0_u64;
    let mut kept = 0_u64;
    for second in 0..3_600 {
        for _ in 0..5 {
            pushed += 1;
            kept += u64::from(running.push(&format!("{second}")));
        }
        sleep(Duration::from_secs(1)).await;
    }
    let numbers = running.numbers();
    assert!(numbers.queued_bytes <= 1 << 20, "{numbers:?}");
    assert_eq!(numbers.queued_records, kept);
    assert_eq!(numbers.dropped(Dropped::QueueFull), pushed - kept);
    assert!(kept < pushed, "the queue is larger than an hour of this");
    // One attempt in about half a minute.
    assert!((100..400).contains(&numbers.failed_requests), "{numbers:?}");
    collector.with(|state| state.is_down = false);
    sleep(Duration::from_mins(1)).await;
    let numbers = running.end().await;
    assert_eq!((numbers.sent, numbers.queued_records), (kept, 0));
    let bodies: Vec<_> = collector.bodies().concat();
    assert_eq!(bodies.len() as u64, kept);
    // The first records were kept.
    assert_eq!((bodies[0].as_str(), bodies[5].as_str()), ("0", "1"));
}

#[tokio::test(start_paused = true)]
async fn what_was_slow_or_unavailable_is_sent_again() {
    for (answer, least, most) in [
        (Answer::Status(503, None), 500, 1_100),
        (Answer::Status(502, None), 500, 1_100),
        (Answer::Status(504, Some("x")), 500, 1_100),
        (Answer::Status(429, Some("7")), 7_000, 8_100),
        (Answer::Status(503, Some("120")), 120_000, 121_100),
        // No answer within ten seconds.
        (Answer::Slow(Duration::from_mins(1)), 10_500, 11_100),
        (Answer::Closes, 500, 1_100),
    ] {
        let collector = Collector::answering(std::slice::from_ref(&answer));
        let running = Running::plain(&collector);
        running.push("a");
        sleep(Duration::from_mins(5)).await;
        let numbers = running.end().await;
        assert_eq!(collector.bodies(), [["a"], ["a"]], "{answer:?}");
        assert_eq!((numbers.sent, numbers.failed_requests), (1, 1), "{answer:?}");
        let gap = collector.gaps()[0].as_millis();
        assert!((least..=most).contains(&gap), "{answer:?}: {gap} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_be_closed() {
    let collector = Collector::answering(&[Answer::Status(200, None), Answer::Closes]);
    let running = Running::plain(&collector);
    for body in ["a", "b"] {
        running.push(body);
        sleep(Duration::from_secs(5)).await;
    }
    let numbers = running.end().await;
    // Resent at once, over a new connection.
    assert_eq!(collector.bodies(), [["a"], ["b"], ["b"]]);
    assert_eq!((numbers.sent, numbers.failed_requests), (2, 0));
    assert_eq!(collector.gaps()[1], Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_dropped_and_counted() {
    let collector = Collector::answering(&[Answer::Status(401, None), Answer::Partial(2)]);
    let running = Running::plain(&collector);
    for batch in [&["a", "b"][..], &["c", "d", "e"], &["f"]] {
        assert!(batch.iter().all(|body| running.push(body)));
        sleep(Duration::from_secs(5)).await;
    }
    let numbers = running.end().await;
    assert_eq!(collector.bodies().len(), 3);
    assert_eq!(numbers.dropped(Dropped::Refused), 2);
    assert_eq!(numbers.dropped(Dropped::Rejected), 2);
    assert_eq!(numbers.sent, 2);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_no_collector() {
    let collector = Collector::default();
    collector.with(|state| state.is_down = true);
    let running = Running::plain(&collector);
    running.push("a");
    sleep(Duration::from_mins(10)).await;
    running.push("b");
    let began = Instant::now();
    let numbers = running.end().await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!((numbers.sent, numbers.dropped(Dropped::Ended)), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn metrics_come_at_intervals_and_at_the_end() {
    let collector = Collector::default();
    let minute = Duration::from_mins(1);
    let running = Running::start(&collector, "http://collector:4318/otlp", |asked| {
        asked.metrics_interval = Some(minute);
    });
    sleep(minute * 3 + minute / 2).await;
    running.end().await;
    collector.with(|state| {
        assert_eq!(state.seen.len(), 4);
        assert!(state.seen.iter().all(|seen| seen.path == "/otlp/v1/metrics"));
        assert!(state.seen.iter().all(|seen| seen.metrics.is_empty()));
        let gap = state.seen[1].at - state.seen[0].at;
        assert!((minute..minute + Duration::from_secs(1)).contains(&gap), "{gap:?}");
    });
}
