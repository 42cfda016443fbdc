//! Prometheus exporter over HTTP with strict limits on what clients can use: listeners, TLS,
//! authentication as in the exporter toolkit's web configuration file, and limits.
//!
//! It is independent of what is exported: a [`Site`] provides a closure that gathers the metric
//! families, and the contents of the other pages. The server runs on its own thread.

mod access;
#[cfg(test)]
mod access_tests;
mod client_certificates;
mod connections;
mod credentials;
mod delivery;
mod format;
#[cfg(test)]
mod fuzz;
mod limits;
mod listen;
mod listener;
mod openmetrics;
mod page;
mod quality;
mod scrapes;
mod server;
#[cfg(test)]
mod server_tests;
mod site;
mod systemd;
mod tls;
mod unix_socket;
pub mod vital;
mod watchdog;
mod web_config;

pub use access::{Access, UnusableWebConfig};
pub use format::Format;
pub use listen::Listen;
pub use listener::Listener;
pub use scrapes::Gather;
pub use server::{Listeners, Server};
pub use site::{Readiness, Site};
pub use systemd::PassedSockets;
pub use watchdog::{Liveness, Watchdog};
