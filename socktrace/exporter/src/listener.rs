//! Listening sockets.

use std::{
    fmt::{self, Display, Formatter},
    io,
    net::TcpListener,
    os::unix::net::UnixListener,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{access::Access, listen::Listen, systemd::PassedSockets, unix_socket::SocketFile};

/// A bound socket that is not served yet.
#[derive(Debug)]
pub enum Listener {
    /// A socket at an IP address and port.
    Tcp(TcpListener),
    /// A socket at a path, with its file if it was created here.
    Unix(UnixListener, Option<SocketFile>),
}

impl Listener {
    /// Binds a listening address: one socket, or all that systemd has passed.
    ///
    /// # Errors
    /// When the address is in use or cannot be bound.
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

    /// URL of the metrics, for display.
    #[must_use]
    pub fn metrics_url(&self, access: &Access) -> String {
        let scheme = if access.is_tls() { "https" } else { "http" };
        match self {
            Self::Tcp(_) => format!("{scheme}://{self}/metrics"),
            Self::Unix(..) => format!("{scheme} on {self}"),
        }
    }
}

/// The listening address, with the real port if port 0 was requested.
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

/// A connection: a bidirectional byte stream.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A socket being served.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    /// Registers the socket with the calling event loop. Returns its file, which must be kept.
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

    /// Accepts the next connection.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn ByteStream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}
