//! Prometheus metrics, built at each scrape from the kernel's exact counts.

mod exporter;
mod families;
mod hooks;
mod index;
mod netstat;
mod services;
mod snapshot;
mod sockets;
mod tracer;
mod zeros;

pub(crate) use exporter::Exporter;
pub(crate) use hooks::Hooks;
pub(crate) use netstat::Netstat;
pub(crate) use services::Services;
pub(crate) use snapshot::About;
pub(crate) use zeros::Zeros;
