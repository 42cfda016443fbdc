//! The causes: stable names, used as metric label, JSON value and topic, and their properties.

mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{Direction, Errno, Severity};
pub use table::Cause;

/// Properties of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable name.
    pub id: &'static str,
    /// Originator of the failure.
    pub direction: Direction,
    /// Severity if a program holds the socket; otherwise it is expected.
    pub severity: Severity,
    /// Topic of the cause.
    pub group: Group,
    /// Errnos that the cause can have.
    pub errnos: Errnos,
    /// Summary of the failure, in a few words.
    pub summary: &'static str,
    /// Advice on what to look at first.
    pub advice: &'static str,
}

/// Topic of a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Connecting.
    Connect,
    /// Accepting.
    Accept,
    /// Resets and closed connections.
    Reset,
    /// Writing to a closed connection.
    Write,
    /// Timeouts and unreachable peers.
    Timeout,
    /// Datagrams that are refused or dropped.
    Datagram,
    /// Refused and interrupted calls.
    Call,
}

impl Group {
    /// Every group, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Accept,
        Self::Reset,
        Self::Write,
        Self::Timeout,
        Self::Datagram,
        Self::Call,
    ];
}

/// Errnos that a cause can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errnos {
    /// Any errno.
    Any,
    /// None: the program sees an end of file.
    None,
    /// Exactly these.
    Of(&'static [Errno]),
}

impl Errnos {
    /// Whether an errno is listed here.
    #[must_use]
    pub fn contain(self, errno: Errno) -> bool {
        matches!(self, Self::Of(errnos) if errnos.contains(&errno))
    }
}

/// A list of errnos by name.
macro_rules! errnos {
    ($($name:ident),+ $(,)?) => { const { &[$(Errno::of(nix::libc::$name)),+] } };
}
use errnos;

/// Declares the causes and their rows.
macro_rules! causes {
    ($($variant:ident {
        id: $id:expr,
        direction: $direction:expr, severity: $severity:expr, group: $group:expr,
        errnos: $errnos:expr,
        summary: $summary:expr,
        advice: $advice:expr,
    })+) => {
        /// Cause of a socket failure. The ids are a public interface: new ones may be added, but
        /// none changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Cause {
            $(#[doc = concat!("`", $id, "`: ", $summary, ".")] $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Properties of the cause.
            #[must_use]
            pub const fn row(self) -> &'static Row {
                match self {
                    $(Self::$variant => const { &Row {
                        id: $id,
                        direction: $direction,
                        severity: $severity,
                        group: $group,
                        errnos: $errnos,
                        summary: $summary,
                        advice: $advice,
                    } },)+
                }
            }
        }
    };
}
use causes;

impl Cause {
    /// The stable name in JSON and metric labels.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.row().id
    }

    /// Summary of the failure, in a few words.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.row().summary
    }

    /// Advice on what to look at first.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.row().advice
    }

    /// Every cause, by group.
    pub fn by_group() -> impl Iterator<Item = Self> {
        Group::ALL.into_iter().flat_map(Self::in_group)
    }

    /// The causes of a group, in the order of the table.
    pub fn in_group(group: Group) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |cause| cause.row().group == group)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}
