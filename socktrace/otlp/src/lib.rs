//! Export of log records and metrics to an OpenTelemetry Collector, with OTLP over HTTP.
//!
//! The crate is independent of what is sent: producers put encoded records into a [`Queue`], and an
//! [`Exporter`] drains it. Producers never wait for the network. If the queue is full, records are
//! dropped and counted, see [`Counts`].
//!
//! Without the feature `send`, only settings and counts are available, and nothing is sent.

#![cfg_attr(not(feature = "send"), expect(dead_code, reason = "is for what sends"))]

#[cfg(feature = "send")]
mod batch;
#[cfg(feature = "send")]
mod client;
mod counts;
#[cfg(feature = "send")]
mod credentials;
mod endpoint;
#[cfg(feature = "send")]
mod exporter;
mod headers;
#[cfg(feature = "send")]
mod queue;
#[cfg(feature = "send")]
mod retry;
mod settings;
#[cfg(feature = "send")]
mod status;
#[cfg(feature = "send")]
mod system;
#[cfg(all(test, feature = "send"))]
mod tests;

#[cfg(feature = "send")]
pub use self::{
    batch::{Encoded, Scope},
    credentials::Credentials,
    exporter::{Control, Exporter, GatherMetrics, PATIENCE_AT_END},
    queue::Queue,
};
pub use self::{
    counts::{Counts, Dropped, Numbers},
    endpoint::Endpoint,
    settings::{Asked, Compression, Environment, Place, Settings, Unusable},
};
