//! What the host of several guests and their agents say to each other: JSON lines by TCP.

use serde::{Deserialize, Serialize};

/// Where guests find the host.
pub const HOST: &str = "10.0.2.2";

/// The client, as its own network knows it.
pub const CLIENT: &str = "10.1.0.2";
/// The router, as the client knows it: what it gets for ports of the server, it passes on.
pub const ROUTER: &str = "10.1.0.1";
/// The server, as its own network knows it.
pub const SERVER: &str = "10.2.0.2";
/// The router there.
pub const ROUTER_AT_SERVER: &str = "10.2.0.1";

/// In a network of its own behind the client, and in one behind the server.
pub const TWIN: &str = "192.168.7.2";
/// The port that both of them use.
pub const TWIN_PORT: u16 = 40_000;

/// The ports that the router passes on.
pub const PORTS: (u16, u16) = (7_000, 7_999);

/// Reported instead of the output of a process that has ended.
pub const ENDED: &str = "ended";

/// What a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Connects.
    Client,
    /// Stands between, translates addresses, and has no socktrace.
    Router,
    /// Listens.
    Server,
}

impl Role {
    /// Its name, and its guest's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Router => "router",
            Self::Server => "server",
        }
    }
}

/// What a process does at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Connects, sends a request and reads until it is over.
    Ask,
    /// Connects, and reads until it is over.
    Wait,
    /// Connects, sends a request, reads to the end, and writes again.
    AskTooLate,
    /// Connects, sends a request, and reads with keepalive.
    Keepalive,
    /// Connects, sends a request, reads the answer, and sends another when it is said to.
    AskAgain,
    /// Closes with a request unread.
    CloseUnread,
    /// Reads a request and closes with `SO_LINGER` 0.
    Abort,
    /// Leaves a request unread until it is killed.
    Hold,
    /// Listens, does not accept, and stops listening when it is said to.
    StopListening,
    /// Reads a request and closes.
    Close,
    /// Reads a request, and then until it is over.
    Serve,
    /// Answers a request, and sends more when it is said to.
    Push,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The name of its program: no two have the same.
    pub name: String,
    /// What it does.
    pub part: Part,
    /// Where it listens, or connects to.
    pub address: String,
    /// Whether it is in the network behind this host.
    pub is_twin: bool,
}

/// Orders of the host to a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Run this command by the shell.
    Shell(String),
    /// Start a process.
    Start(End),
    /// Let the process of this name continue.
    GoOn(String),
    /// Kill it.
    Kill(String),
    /// Stop socktrace, and end.
    End,
}

/// Answers of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It is ready, as the first thing.
    Ready(Role),
    /// An order is carried out.
    Done,
    /// An order failed.
    Failed(String),
    /// A process said this.
    Said(String, String),
    /// What socktrace said until its end.
    Ended(String),
}
