//! Sends log records and metrics to an OpenTelemetry Collector, by OTLP over HTTP.
//!
//! Independent of what is sent: whoever has records puts them into a [`Queue`], encoded, and an
//! [`Exporter`] empties it. Records never wait for the network. What the queue has no room for is dropped
//! and counted, see [`Counts`].
//!
//! Without the feature `send` there are settings and numbers alone, and nothing is sent.

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
