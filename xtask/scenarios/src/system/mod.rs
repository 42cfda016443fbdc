//! The package in a Debian system: installed by dpkg, run as a service by systemd.
//!
//! Each scenario begins with the package freshly installed, and the service stopped.

mod container;
mod failing;
mod kept;
mod known_programs;
mod package;
mod running;
mod unit;
mod victim;

pub(super) use container::container;
pub(super) use failing::{crash, watchdog, wrong_configuration};
pub(super) use kept::history;
pub(super) use known_programs::{listen_at, nginx_backlog, resolver_down};
pub(super) use package::{install, removal, upgrade};
pub(super) use running::{exposure, reload, socket_activation, start, stream};
pub(super) use unit::evidence;
