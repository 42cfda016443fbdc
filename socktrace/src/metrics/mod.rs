//! Prometheus metrics: made at each scrape from the kernel side's exact tallies.

mod exporter;
mod server;

pub(crate) use exporter::Exporter;
pub(crate) use server::{Listener, serve};
