//! Prometheus metrics: made at each scrape from the kernel side's exact tallies.

mod exporter;
mod families;
mod format;
#[cfg(test)]
mod fuzz;
mod hooks;
mod http;
mod openmetrics;
mod progress;
mod pulse;
mod services;
mod snapshot;
mod sockets;
mod tracer;

pub(crate) use exporter::Exporter;
pub(crate) use hooks::Hooks;
pub(crate) use http::{
    Access, Gather, Listen, Listener, PassedSockets, Server, Site, Unusable as UnusableWebConfig,
};
pub(crate) use progress::Progress;
pub(crate) use pulse::Pulse;
pub(crate) use services::Services;
pub(crate) use snapshot::{About, Stream};
