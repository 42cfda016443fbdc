//! Notifications to the service manager: ready, alive, reloading, stopping.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    future, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::{NotifyState, watchdog_enabled};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Interval between messages to the manager, unless its watchdog needs them more often.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The service manager that set `NOTIFY_SOCKET`. Without one, nothing is sent.
pub(crate) struct Manager(Option<Listener>);

struct Listener {
    socket: UnixDatagram,
    due: Interval,
}

impl Manager {
    /// Connects to the manager's socket. This happens only once: not every manager lets the user
    /// that this process switches to later write to it.
    pub(crate) fn new() -> Self {
        Self(env::var_os("NOTIFY_SOCKET").and_then(|address| {
            connect(&address)
                .inspect_err(|error| {
                    log::warn!(
                        "cannot notify the service manager at {}: {error}",
                        address.display()
                    );
                })
                .map(|socket| Listener { socket, due: signs_of_life() })
                .ok()
        }))
    }

    /// Whether there is a manager.
    pub(crate) fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the next sign of life is due; forever without a manager. Cancel safe.
    ///
    /// The loop that does the work must await this, so that no other part of the process can report
    /// it alive.
    pub(crate) async fn due(&mut self) {
        match &mut self.0 {
            Some(listener) => {
                listener.due.tick().await;
            }
            None => future::pending().await,
        }
    }

    /// Reports that everything is attached and served.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that work continues.
    pub(crate) fn alive(&self, status: &str) {
        self.send(&[NotifyState::Watchdog, NotifyState::Status(status)]);
    }

    /// Reports a reload, which [`Self::ready`] ends.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => log::warn!("the service manager does not learn of the reload: {error}"),
        }
    }

    /// Reports that shutdown has begun.
    pub(crate) fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(listener) = &self.0 else { return };
        let mut message = String::new();
        for state in states {
            let _ = writeln!(message, "{state}");
        }
        if let Err(error) = listener.socket.send(message.as_bytes()) {
            log::warn!("cannot notify the service manager: {error}");
        }
    }
}

/// Connects to a path, or to an abstract socket, written with a leading `@`: `sd_notify(3)`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// Interval of half the manager's watchdog timeout, but at most [`STATUS_INTERVAL`].
fn signs_of_life() -> Interval {
    let watchdog = watchdog_enabled().map(|limit| limit / 2);
    let period = watchdog.unwrap_or(STATUS_INTERVAL).min(STATUS_INTERVAL);
    let mut due = interval(period.max(Duration::from_millis(1)));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due
}
