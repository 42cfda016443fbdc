//! Sockets opened and passed by systemd: `sd_listen_fds(3)`.

use std::{env, io, process};

use listenfd::ListenFd;

use super::listener::Listener;

/// The passed sockets.
pub struct PassedSockets(ListenFd);

impl PassedSockets {
    /// Takes over the sockets passed to this process. Call this before starting threads, because it
    /// removes the variables that describe them from the environment.
    #[must_use]
    pub fn from_env() -> Self {
        // The library accepts descriptors even without LISTEN_PID. They could be another process's.
        let meant = env::var("LISTEN_PID").is_ok_and(|pid| pid == process::id().to_string());
        Self(if meant { ListenFd::from_env() } else { ListenFd::empty() })
    }

    /// Whether no sockets are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Takes all sockets.
    ///
    /// # Errors
    /// When there are none, or one is not a listening stream socket.
    pub(super) fn take(&mut self) -> io::Result<Vec<Listener>> {
        if self.is_empty() {
            let text = "systemd has passed no socket; is socktrace.socket enabled?";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let mut passed = std::mem::replace(&mut self.0, ListenFd::empty());
        (0..passed.len()).map(|index| take_one(&mut passed, index)).collect()
    }
}

fn take_one(passed: &mut ListenFd, index: usize) -> io::Result<Listener> {
    // A socket of another type is not consumed.
    let listener = match passed.take_tcp_listener(index) {
        Ok(Some(listener)) => Some(Listener::Tcp(listener)),
        _ => passed.take_unix_listener(index)?.map(|listener| Listener::Unix(listener, None)),
    };
    let unusable = || io::Error::new(io::ErrorKind::InvalidInput, "a socket was passed twice");
    let listener = listener.ok_or_else(unusable)?;
    let listens = match &listener {
        Listener::Tcp(listener) => socket2::SockRef::from(listener).is_listener()?,
        Listener::Unix(listener, _) => socket2::SockRef::from(listener).is_listener()?,
    };
    if !listens {
        let text = "a passed socket does not listen; set Accept=no in the socket unit";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(listener)
}
