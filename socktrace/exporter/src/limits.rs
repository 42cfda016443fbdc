//! What a client may take of the daemon.

use std::time::Duration;

/// Bounds of the server; all hold together over all listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time. Each takes some tens of kilobytes at most, with TLS.
    pub(super) connections: usize,
    /// Bytes of a request's line and headers.
    pub(super) head_bytes: usize,
    /// Headers of a request.
    pub(super) headers: usize,
    /// From a connection's begin, or its last answer, to the end of the next request's headers. So
    /// it bounds the TLS handshake, headers that come slowly, and idle connections.
    pub(super) request: Duration,
    /// From the end of the headers to the answer's begin.
    pub(super) answer: Duration,
    /// For the client to take the whole answer, from when it first did not keep up.
    pub(super) delivery: Duration,
}

impl Limits {
    /// Generous for a client that means well: Prometheus scrapes with two connections at most, and
    /// gives a scrape 10 seconds by default.
    pub(super) const DEFAULT: Self = Self {
        connections: 64,
        head_bytes: 16 * 1024,
        headers: 64,
        request: Duration::from_secs(30),
        answer: Duration::from_secs(30),
        delivery: Duration::from_secs(30),
    };
}
