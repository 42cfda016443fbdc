//! Prometheus metrics: made at each scrape from the kernel side's exact tallies.

mod exporter;
mod format;
#[cfg(test)]
mod fuzz;
mod hooks;
mod http;
mod openmetrics;
mod pulse;

pub(crate) use exporter::Exporter;
pub(crate) use hooks::Hooks;
pub(crate) use http::{
    Access, Gather, Listen, Listener, PassedSockets, Server, Site, Unusable as UnusableWebConfig,
};
pub(crate) use pulse::Pulse;
