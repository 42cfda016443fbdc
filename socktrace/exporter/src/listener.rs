//! A socket that clients connect to.

use std::{
    fmt::{self, Display, Formatter},
    io,
    net::TcpListener,
    os::unix::net::UnixListener,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{access::Access, listen::Listen, systemd::PassedSockets, unix_socket::SocketFile};

/// A bound socket, not yet served.
#[derive(Debug)]
pub enum Listener {
    /// At an IP address and a port.
    Tcp(TcpListener),
    /// At a path, with its file where that was made here.
    Unix(UnixListener, Option<SocketFile>),
}

impl Listener {
    /// Binds what was asked for: one socket, or all that systemd has passed.
    ///
    /// # Errors
    /// When it is in use, or nothing can be bound there.
    pub fn bind(listen: &Listen, passed: &mut PassedSockets) -> io::Result<Vec<Self>> {
        Ok(match listen {
            Listen::Address(address) => vec![Self::Tcp(TcpListener::bind(address)?)],
            Listen::Unix { path, mode } => {
                let (listener, file) = SocketFile::bind(path, *mode)?;
                vec![Self::Unix(listener, Some(file))]
            }
            Listen::Systemd => passed.take()?,
        })
    }

    /// Where the metrics are found, for people.
    #[must_use]
    pub fn metrics_url(&self, access: &Access) -> String {
        let scheme = if access.is_tls() { "https" } else { "http" };
        match self {
            Self::Tcp(_) => format!("{scheme}://{self}/metrics"),
            Self::Unix(..) => format!("{scheme} on {self}"),
        }
    }
}

/// Where it listens, with the real port where 0 was asked for.
impl Display for Listener {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(error) => write!(f, "unknown ({error})"),
            },
            Self::Unix(listener, _) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                match path {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix:"),
                }
            }
        }
    }
}

/// A connection: bytes in both directions.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A socket that is being served.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// Registers the socket with the event loop that calls this; its file, to be kept, comes back.
    pub(super) fn new(listener: Listener) -> io::Result<(Self, Option<SocketFile>)> {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok((Self::Tcp(tokio::net::TcpListener::from_std(listener)?), None))
            }
            Listener::Unix(listener, file) => {
                listener.set_nonblocking(true)?;
                Ok((Self::Unix(tokio::net::UnixListener::from_std(listener)?), file))
            }
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn ByteStream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}
