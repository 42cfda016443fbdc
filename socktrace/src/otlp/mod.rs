//! Export to an OpenTelemetry Collector: records as log records by workload, numbers as metrics.
//!
//! This module only encodes; queue, network and retries are in `socktrace_otlp`.

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

/// Instrumentation scope of everything sent.
pub(crate) const SCOPE: &str = "socktrace";
