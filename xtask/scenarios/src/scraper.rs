//! A real Prometheus with the configuration and rules shipped to users, and its HTTP API.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

const CONFIGURATION: &str = include_str!("../../../deploy/prometheus/prometheus.yml");
const RULES: &str = include_str!("../../../deploy/prometheus/socktrace.rules.yml");

/// Data directory of Prometheus, created at the start.
const DIRECTORY: &str = "/run/prometheus";

/// The daemon in the shipped configuration, at the default address.
pub(super) const TARGET: &str = "localhost:10054";

/// Longest time until Prometheus answers, in the guest's time.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running Prometheus. Killed when dropped.
pub(super) struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts Prometheus and waits until it is ready. It scrapes [`TARGET`], and `another` daemon if given.
    pub(super) fn start(another: Option<&str>) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 9090));
        fs::create_dir_all(DIRECTORY)?;
        let named = format!("\"{TARGET}\"");
        ensure!(CONFIGURATION.contains(&named), "the example names no {TARGET}");
        let targets =
            another.map_or_else(|| named.clone(), |other| format!("{named}, \"{other}\""));
        let configuration = CONFIGURATION.replace(&named, &targets);
        fs::write(format!("{DIRECTORY}/prometheus.yml"), configuration)?;
        fs::write(format!("{DIRECTORY}/socktrace.rules.yml"), RULES)?;
        let log = fs::File::create(format!("{DIRECTORY}/log"))?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={DIRECTORY}/prometheus.yml"))
            .arg(format!("--storage.tsdb.path={DIRECTORY}/data"))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(DIRECTORY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start prometheus")?;
        let prometheus = Self { child, address };
        until("is not ready", || Ok(prometheus.get("/-/ready").is_ok()))?;
        Ok(prometheus)
    }

    /// Waits until Prometheus has scraped a daemon.
    pub(super) fn until_scraped(&self, target: &str) -> Result<()> {
        let up = format!(r#"up{{job="socktrace",instance="{target}"}} == 1"#);
        until("does not scrape", || Ok(!self.query(&up)?.is_empty()))
    }

    /// Current samples of a query.
    pub(super) fn query(&self, query: &str) -> Result<Vec<Sample>> {
        let data = self.data(&format!("query?query={}", escaped(query)))?;
        let result = data["result"].as_array().with_context(|| format!("{data}"))?;
        let samples = result.iter().map(|series| {
            let value = series["value"][1].as_str()?.parse().ok()?;
            Some(Sample { labels: series["metric"].clone(), value })
        });
        samples.collect::<Option<_>>().with_context(|| format!("{query}: {data}"))
    }

    /// Result of a query at a time, in seconds since 1970.
    pub(super) fn at(&self, query: &str, time: u64) -> Result<Value> {
        self.data(&format!("query?query={}&time={time}", escaped(query)))
    }

    /// Result of a query over a range of times, all in seconds.
    pub(super) fn over(&self, query: &str, from: u64, to: u64, step: u64) -> Result<Value> {
        let query = escaped(query);
        self.data(&format!("query_range?query={query}&start={from}&end={to}&step={step}"))
    }

    /// Data of a response.
    fn data(&self, question: &str) -> Result<Value> {
        let mut answer: Value = serde_json::from_str(&self.get(&format!("/api/v1/{question}"))?)?;
        Ok(answer["data"].take())
    }

    /// Fetches a page by HTTP 1.0, whose responses are not chunked.
    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").context("no HTTP response")?;
        ensure!(head.starts_with("HTTP/1.0 200 "), "{path}: {head}\n{body}");
        Ok(body.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail if Prometheus has already exited.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until a condition of Prometheus holds; `problem` is the message if it never does.
fn until(problem: &str, is_done: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_done()? {
        if started.elapsed() > PATIENCE {
            let said = fs::read_to_string(format!("{DIRECTORY}/log"))?;
            bail!("prometheus {problem}; it said:\n{said}");
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// A sample of a series.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Value,
    pub(super) value: f64,
}

/// Percent-encodes a query.
fn escaped(query: &str) -> String {
    query.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        _ = write!(text, "%{byte:02x}");
        text
    })
}
