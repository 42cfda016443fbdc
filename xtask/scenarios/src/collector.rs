//! A small OpenTelemetry Collector that receives OTLP over HTTP and keeps everything.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    metrics::v1::{metric::Data, number_data_point},
};
use prost::Message as _;
use serde_json::{Value, json};

/// Longest time to wait for data that is due.
const PATIENCE: Duration = Duration::from_mins(1);

/// Attributes by name.
type Attributes = BTreeMap<String, Value>;

/// A received log record.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) event: String,
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    pub(super) severity: i32,
    pub(super) body: String,
    pub(super) attributes: Attributes,
    pub(super) resource: Attributes,
}

/// Received records and metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) logs: Vec<Log>,
    /// Last value of each sum by name, over all attributes.
    pub(super) sums: BTreeMap<String, i64>,
    /// Headers of the last request, with names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) requests: usize,
}

/// A collector at an address, which runs until the guest ends.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Received>>,
    status: Arc<AtomicU16>,
}

impl Collector {
    /// Starts a collector at any free port of this host.
    pub(super) fn start() -> Result<Self> {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    /// Starts a collector at this address.
    pub(super) fn at(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let received = Arc::<Mutex<Received>>::default();
        let status = Arc::new(AtomicU16::new(200));
        let shared = (Arc::clone(&received), Arc::clone(&status));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (received, status) = shared.clone();
                thread::spawn(move || {
                    if let Err(error) = serve(&stream, &received, &status) {
                        eprintln!("collector: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, received, status })
    }

    /// Answers with this status from now on; requests that do not succeed are not kept.
    pub(super) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// URL to send to.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything received so far.
    pub(super) fn received(&self) -> Received {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something has been received.
    pub(super) fn until(
        &self,
        what: &str,
        has_come: impl Fn(&Received) -> bool,
    ) -> Result<Received> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let received = self.received();
            if has_come(&received) {
                return Ok(received);
            }
            if Instant::now() > deadline {
                bail!("no {what} has come; but {received:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Answers requests until the connection ends.
fn serve(stream: &TcpStream, received: &Mutex<Received>, status: &AtomicU16) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).context("no path")?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length: usize = headers.get("content-length").context("no length")?.parse()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let status = status.load(Ordering::Relaxed);
        {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            received.requests += 1;
            if status == 200 {
                take(&mut received, &path, &headers, &body)?;
            }
            received.headers = headers;
        }
        write!(
            &mut (&*stream),
            "HTTP/1.1 {status} \r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
        )?;
    }
}

fn take(
    received: &mut Received,
    path: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Result<()> {
    ensure!(
        headers.get("content-type").is_some_and(|kind| kind == "application/x-protobuf"),
        "{headers:?}"
    );
    let mut bytes = Vec::new();
    match headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => drop(GzDecoder::new(body).read_to_end(&mut bytes)?),
        None => bytes.extend_from_slice(body),
        Some(other) => bail!("encoded by {other}"),
    }
    match path {
        "/v1/logs" => take_logs(received, &ExportLogsServiceRequest::decode(&*bytes)?),
        "/v1/metrics" => take_metrics(received, ExportMetricsServiceRequest::decode(&*bytes)?),
        other => bail!("a request to {other}"),
    }
    Ok(())
}

fn take_logs(received: &mut Received, request: &ExportLogsServiceRequest) {
    for logs in &request.resource_logs {
        let resource = logs.resource.as_ref().map(|resource| attributes(&resource.attributes));
        let resource = resource.unwrap_or_default();
        for record in logs.scope_logs.iter().flat_map(|logs| &logs.log_records) {
            received.logs.push(Log {
                event: record.event_name.clone(),
                time: record.time_unix_nano,
                severity: record.severity_number,
                body: value(record.body.as_ref()).as_str().unwrap_or_default().to_owned(),
                attributes: attributes(&record.attributes),
                resource: resource.clone(),
            });
        }
    }
}

fn take_metrics(received: &mut Received, request: ExportMetricsServiceRequest) {
    let scopes = request.resource_metrics.into_iter().flat_map(|all| all.scope_metrics);
    for metric in scopes.flat_map(|all| all.metrics) {
        let Some(Data::Sum(sum)) = metric.data else { continue };
        let values = sum.data_points.iter().map(|point| match point.value {
            Some(number_data_point::Value::AsInt(number)) => number,
            _ => 0,
        });
        received.sums.insert(metric.name, values.sum());
    }
}

fn attributes(attributes: &[KeyValue]) -> Attributes {
    let pairs = attributes.iter().map(|one| (one.key.clone(), value(one.value.as_ref())));
    pairs.collect()
}

fn value(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::BoolValue(is)) => json!(is),
        _ => Value::Null,
    }
}
