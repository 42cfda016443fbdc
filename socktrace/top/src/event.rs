//! An event as the screen knows it.

use crate::Plain;

/// How bad an event is, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing failed.
    #[default]
    None,
    /// Part of ordinary operation.
    Expected,
    /// Worth to know.
    Notable,
    /// A program has failed.
    Failure,
}

impl Severity {
    /// Those of failures, the worst first.
    pub(crate) const OF_FAILURES: [Self; 3] = [Self::Failure, Self::Notable, Self::Expected];

    /// The severity by its name in lines.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::OF_FAILURES.into_iter().find(|it| it.name() == name).unwrap_or_default()
    }

    /// Its name in lines.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Notable => "notable",
            Self::Expected => "expected",
            Self::None => "none",
        }
    }

    /// Its sign, so that it can be seen without color.
    pub(crate) const fn sign(self) -> char {
        match self {
            Self::Failure => '!',
            Self::Notable => '*',
            Self::Expected => '.',
            Self::None => ' ',
        }
    }
}

/// An event, or many of a kind.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub time: i64,
    /// For how many events it stands.
    pub count: u64,
    /// Whether it stands for events that were counted instead of shown.
    pub is_flood: bool,
    /// Whether it is a failure; others are shown, not counted.
    pub is_failure: bool,
    /// Whether it follows from a failure of the same socket that was reported before.
    pub follows: bool,
    /// How bad it is.
    pub severity: Severity,
    /// The name of the errno.
    pub errno: Plain,
    /// Why; what happened where nothing failed.
    pub cause: Plain,
    /// The socket's owner.
    pub service: Plain,
    /// Which process of it.
    pub process: Plain,
    /// The other end, the same for all connections of a client to a server.
    pub peer: Plain,
    /// The sentence that says why.
    pub reason: Plain,
    /// Everything, in JSON.
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
