//! Events on the screen.

use crate::Plain;

/// Severity of an event, ordered from the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing failed.
    #[default]
    None,
    /// Part of ordinary operation.
    Expected,
    /// Worth knowing.
    Notable,
    /// A program has failed.
    Failure,
}

impl Severity {
    /// Severities of failures, worst first.
    pub(crate) const OF_FAILURES: [Self; 3] = [Self::Failure, Self::Notable, Self::Expected];

    /// Severity with this name in lines.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::OF_FAILURES.into_iter().find(|it| it.name() == name).unwrap_or_default()
    }

    /// Name in lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Notable => "notable",
            Self::Expected => "expected",
            Self::None => "none",
        }
    }

    /// Sign that shows the severity without color.
    pub(crate) const fn sign(self) -> char {
        match self {
            Self::Failure => '!',
            Self::Notable => '*',
            Self::Expected => '.',
            Self::None => ' ',
        }
    }
}

/// An event, or several of the same kind.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Time in nanoseconds since 1970.
    pub time: i64,
    /// Number of events it stands for.
    pub count: u64,
    /// Whether it stands for events that were only counted.
    pub is_flood: bool,
    /// Whether it is a failure. Other events are shown but not counted.
    pub is_failure: bool,
    /// Whether it results from an earlier failure of the same socket that was already reported.
    pub follows: bool,
    /// Severity of the event.
    pub severity: Severity,
    /// Name of the errno.
    pub errno: Plain,
    /// The cause, or the kind of event if nothing failed.
    pub cause: Plain,
    /// Service that owns the socket.
    pub service: Plain,
    /// Process of the service.
    pub process: Plain,
    /// The peer, the same for all of a client's connections to a server.
    pub peer: Plain,
    /// The sentence with the reason.
    pub reason: Plain,
    /// The complete line, in JSON.
    pub text: Box<[u8]>,
}

/// Keys to group events by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Field {
    Service,
    Process,
    Peer,
    Cause,
}

impl Field {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Process => "process",
            Self::Peer => "peer",
            Self::Cause => "cause",
        }
    }

    pub(crate) const fn of(self, event: &Event) -> &Plain {
        match self {
            Self::Service => &event.service,
            Self::Process => &event.process,
            Self::Peer => &event.peer,
            Self::Cause => &event.cause,
        }
    }
}
