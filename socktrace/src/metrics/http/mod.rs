//! Serves the metrics over HTTP, within bounds that no client can move.

mod connections;
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
mod unix_socket;

pub(crate) use listen::Listen;
pub(crate) use listener::Listener;
pub(crate) use scrapes::Gather;
pub(crate) use server::Server;
pub(crate) use site::Site;
pub(crate) use systemd::PassedSockets;
