//! Options for sending to an OpenTelemetry Collector.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use socktrace_otlp::{Asked, Place};

use super::number;

/// Heading of these options in the help.
const HEADING: &str = "OpenTelemetry";

/// Default size of the memory for waiting records, in MiB.
const DEFAULT_QUEUE: u32 = 16;
const MOST_QUEUE: u32 = 1_024;

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Gzip
    Gzip,
    /// No compression
    None,
}

/// Options of OpenTelemetry.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Otlp {
    /// Send failures, as log records, and metrics to an OpenTelemetry Collector by OTLP over HTTP, such as
    /// http://localhost:4318; env stands for the value of OTEL_EXPORTER_OTLP_ENDPOINT. Filters apply to what is
    /// sent; events of ordinary operation (see --all) are sent too. With --no-stream nothing is printed
    #[arg(long = "otlp", value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<Place>,

    /// File with headers for the collector, such as credentials, one per line as Name: value. Read again on
    /// SIGHUP
    #[arg(long = "otlp-headers-file", value_name = "FILE")]
    headers_file: Option<PathBuf>,

    /// File with the CA certificates to trust, in PEM [default: the system's]
    #[arg(long = "otlp-certificate", value_name = "FILE")]
    certificate: Option<PathBuf>,

    /// File with the client certificate for the collector, in PEM
    #[arg(long = "otlp-client-certificate", value_name = "FILE")]
    client_certificate: Option<PathBuf>,

    /// File with the key of the client certificate, in PEM
    #[arg(long = "otlp-client-key", value_name = "FILE")]
    client_key: Option<PathBuf>,

    /// How to compress requests [default: gzip]
    #[arg(long = "otlp-compression", value_enum, value_name = "HOW")]
    compression: Option<Compression>,

    /// Timeout of a request [default: 10]
    #[arg(long = "otlp-timeout", value_name = "SECONDS", value_parser = |text: &str| number(text, 1..=600))]
    timeout: Option<u32>,

    /// Interval between two requests with metrics [default: 60]
    #[arg(long = "otlp-metrics-interval", value_name = "SECONDS", value_parser = |text: &str| number(text, 1..=86_400))]
    metrics_interval: Option<u32>,

    /// Memory for records that wait for the collector; records beyond it are dropped and counted
    #[arg(long = "otlp-queue", value_name = "MIB", default_value_t = DEFAULT_QUEUE, value_parser = |text: &str| number(text, 1..=MOST_QUEUE))]
    queue: u32,

    /// Do not send IP addresses and paths of Unix sockets; ports are still sent
    #[arg(long = "otlp-redact")]
    pub(crate) redact: bool,
}

impl Otlp {
    /// Settings for sending; `None` if nothing is sent.
    pub(crate) fn asked(&self) -> Option<Asked> {
        let seconds = |number: u32| Duration::from_secs(u64::from(number));
        Some(Asked {
            place: self.endpoint.clone()?,
            headers_file: self.headers_file.clone(),
            certificate: self.certificate.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            compression: self.compression.map(|compression| match compression {
                Compression::Gzip => socktrace_otlp::Compression::Gzip,
                Compression::None => socktrace_otlp::Compression::None,
            }),
            timeout: self.timeout.map(seconds),
            metrics_interval: self.metrics_interval.map(seconds),
        })
    }

    /// Whether anything is sent.
    pub(crate) const fn is_on(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Maximum size of the waiting records, in bytes.
    pub(crate) const fn queue_bytes(&self) -> usize {
        (self.queue as usize) << 20
    }
}
