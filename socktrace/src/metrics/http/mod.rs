//! Serves the metrics over HTTP, within bounds that no client can move.

mod access;
#[cfg(test)]
mod access_tests;
mod client_certificates;
mod connections;
mod credentials;
mod delivery;
mod index;
mod limits;
mod listen;
mod listener;
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
mod web_config;

pub(crate) use access::{Access, Unusable};
pub(crate) use listen::Listen;
pub(crate) use listener::Listener;
pub(crate) use scrapes::Gather;
pub(crate) use server::Server;
pub(crate) use site::Site;
pub(crate) use systemd::PassedSockets;
