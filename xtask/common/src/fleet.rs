//! Protocol between the host of several guests and the agents in them: JSON lines over TCP.

use serde::{Deserialize, Serialize};

/// Address at which guests reach the host.
pub const HOST: &str = "10.0.2.2";

/// The client's address in its own network.
pub const CLIENT: &str = "10.1.0.2";
/// The router's address in the client's network. The router forwards the server's ports.
pub const ROUTER: &str = "10.1.0.1";
/// The server's address in its own network.
pub const SERVER: &str = "10.2.0.2";
/// The router's address in the server's network.
pub const ROUTER_AT_SERVER: &str = "10.2.0.1";

/// Address used twice: in a network behind the client, and in another one behind the server.
pub const TWIN: &str = "192.168.7.2";
/// The port that both of them use.
pub const TWIN_PORT: u16 = 40_000;

/// First and last of the ports that the router forwards.
pub const PORTS: (u16, u16) = (7_000, 7_999);

/// Reported for a process that has ended, in place of output.
pub const ENDED: &str = "ended";

/// Role of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Connects.
    Client,
    /// Stands between the two, translates addresses, and does not run socktrace.
    Router,
    /// Listens.
    Server,
}

impl Role {
    /// Name of the role, and of its guest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Router => "router",
            Self::Server => "server",
        }
    }
}

/// Behavior of a process at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Connects, sends a request, and reads until the connection ends.
    Ask,
    /// Connects, and reads until the connection ends.
    Wait,
    /// Connects, sends a request, reads to the end, and writes again.
    AskTooLate,
    /// Connects, sends a request, and reads with keepalive.
    Keepalive,
    /// Connects, sends a request, reads the answer, and sends another request when told to.
    AskAgain,
    /// Closes with a request unread.
    CloseUnread,
    /// Reads a request and closes with `SO_LINGER` 0.
    Abort,
    /// Leaves a request unread until it is killed.
    Hold,
    /// Listens without accepting, and stops listening when told to.
    StopListening,
    /// Reads a request and closes.
    Close,
    /// Reads a request, and then reads until the connection ends.
    Serve,
    /// Answers a request, and sends more when told to.
    Push,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Name of its program, which is unique.
    pub name: String,
    /// Its behavior.
    pub part: Part,
    /// Address that it listens on or connects to.
    pub address: String,
    /// Whether it runs in the network behind this host.
    pub is_twin: bool,
}

/// Orders from the host to a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Run this command in the shell.
    Shell(String),
    /// Start a process.
    Start(End),
    /// Let the process of this name continue.
    GoOn(String),
    /// Kill the process of this name.
    Kill(String),
    /// Stop socktrace, and exit.
    End,
}

/// Answers of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The guest is ready. Always the first answer.
    Ready(Role),
    /// An order was carried out.
    Done,
    /// An order failed.
    Failed(String),
    /// Name of a process, and a line of its output.
    Said(String, String),
    /// Output of socktrace up to its end.
    Ended(String),
}
