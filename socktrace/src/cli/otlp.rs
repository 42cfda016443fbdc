//! The options that say what is sent to an OpenTelemetry Collector.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use socktrace_otlp::{Asked, Place};

use super::number;

/// What stands before these options in the help.
const HEADING: &str = "OpenTelemetry";

/// Memory for what waits, in MiB.
const DEFAULT_QUEUE: u32 = 16;
const MOST_QUEUE: u32 = 1_024;

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// By gzip
    Gzip,
    /// Not at all
    None,
}

/// Where to send, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub(crate) struct Otlp {
    /// Send failures, as log records, and metrics to an OpenTelemetry Collector, by OTLP over HTTP, such
    /// as http://localhost:4318; env is what OTEL_EXPORTER_OTLP_ENDPOINT says. Filters narrow what is sent;
    /// ordinary operation (see --all) is sent too. With --no-stream nothing is printed
    #[arg(long = "otlp", value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<Place>,

    /// File with headers for the collector, such as credentials: a line for each, Name: value. Read again
    /// on SIGHUP
    #[arg(long = "otlp-headers-file", value_name = "FILE")]
    headers_file: Option<PathBuf>,

    /// File with the certificates of authorities to trust, in PEM [default: those of the system]
    #[arg(long = "otlp-certificate", value_name = "FILE")]
    certificate: Option<PathBuf>,

    /// File with the certificate to show to the collector, in PEM
    #[arg(long = "otlp-client-certificate", value_name = "FILE")]
    client_certificate: Option<PathBuf>,

    /// File with the key of that certificate, in PEM
    #[arg(long = "otlp-client-key", value_name = "FILE")]
    client_key: Option<PathBuf>,

    /// How requests are compressed [default: gzip]
    #[arg(long = "otlp-compression", value_enum, value_name = "HOW")]
    compression: Option<Compression>,

    /// How long a request may take [default: 10]
    #[arg(long = "otlp-timeout", value_name = "SECONDS", value_parser = |text: &str| number(text, 1..=600))]
    timeout: Option<u32>,

    /// Time between two requests with metrics [default: 60]
    #[arg(long = "otlp-metrics-interval", value_name = "SECONDS", value_parser = |text: &str| number(text, 1..=86_400))]
    metrics_interval: Option<u32>,

    /// Memory for records that wait for the collector. What finds no room is dropped and counted
    #[arg(long = "otlp-queue", value_name = "MIB", default_value_t = DEFAULT_QUEUE, value_parser = |text: &str| number(text, 1..=MOST_QUEUE))]
    queue: u32,

    /// Leave IP addresses and paths of Unix sockets out of what is sent; ports stay
    #[arg(long = "otlp-redact")]
    pub(crate) redact: bool,
}

impl Otlp {
    /// What is asked; `None` where nothing is to be sent.
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

    /// Bytes of what waits, at most.
    pub(crate) const fn queue_bytes(&self) -> usize {
        (self.queue as usize) << 20
    }
}
