//! Sends log records and metrics to an OpenTelemetry Collector, by OTLP over HTTP.
//!
//! Independent of what is sent: whoever has records puts them into a [`Queue`], encoded, and an
//! [`Exporter`] empties it. Records never wait for the network. What the queue has no room for is dropped
//! and counted, see [`Counts`].

mod batch;
mod client;
mod counts;
mod credentials;
mod endpoint;
mod exporter;
mod headers;
mod queue;
mod retry;
mod settings;
mod status;
mod system;
#[cfg(test)]
mod tests;

pub use batch::{Encoded, Scope};
pub use counts::{Counts, Dropped, Numbers};
pub use credentials::{Credentials, Unusable};
pub use endpoint::Endpoint;
pub use exporter::{Control, Exporter, GatherMetrics, PATIENCE_AT_END};
pub use queue::Queue;
pub use settings::{Asked, Compression, Environment, Place, Settings};
