//! Limits on clients' use of the daemon.

use std::time::Duration;

/// Limits of the server, each shared by all its listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Simultaneous connections. Each uses some tens of kilobytes at most, with TLS.
    pub(super) connections: usize,
    /// Bytes of a request's first line and headers.
    pub(super) head_bytes: usize,
    /// Number of headers of a request.
    pub(super) headers: usize,
    /// Time from the start of a connection, or from its last answer, to the end of the next
    /// request's headers. It limits the TLS handshake, slow headers and idle connections.
    pub(super) request: Duration,
    /// Time from the end of the headers to the start of the answer.
    pub(super) answer: Duration,
    /// Time for the client to receive the whole answer, from when it first fell behind.
    pub(super) delivery: Duration,
}

impl Limits {
    /// Generous for a well-behaved client: Prometheus scrapes with two connections at most, and a
    /// scrape times out after 10 seconds by default.
    pub(super) const DEFAULT: Self = Self {
        connections: 64,
        head_bytes: 16 * 1024,
        headers: 64,
        request: Duration::from_secs(30),
        answer: Duration::from_secs(30),
        delivery: Duration::from_secs(30),
    };
}
