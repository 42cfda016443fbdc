//! What goes to an OpenTelemetry Collector: records as log records by workload, numbers as metrics.
//!
//! Encoding alone; queue, network and retries are in `socktrace_otlp`.

mod attributes;
mod host;
mod numbers;
mod record;
mod redact;
mod resource;
mod sink;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    host::Host,
    numbers::{Since, request},
    resource::Resources,
    sink::OtlpSink,
};

/// The scope of everything that is sent.
pub(crate) const SCOPE: &str = "socktrace";
