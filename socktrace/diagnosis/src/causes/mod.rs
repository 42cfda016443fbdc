//! The causes: stable names, used as metric label, JSON value and topic, and what is known of each.

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
    /// Who caused it.
    pub direction: Direction,
    /// How much it matters where a program holds the socket; else it is expected.
    pub severity: Severity,
    /// Its topic.
    pub group: Group,
    /// The errnos that it can give.
    pub errnos: Errnos,
    /// What happened, in a few words.
    pub summary: &'static str,
    /// What to look at first.
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

/// The errnos that a cause can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errnos {
    /// Any at all.
    Any,
    /// None: the program sees an end of file.
    None,
    /// These.
    Of(&'static [Errno]),
}

impl Errnos {
    /// Whether an errno is named here.
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

/// Declares the causes, each with its row.
macro_rules! causes {
    ($($variant:ident {
        id: $id:expr,
        direction: $direction:expr, severity: $severity:expr, group: $group:expr,
        errnos: $errnos:expr,
        summary: $summary:expr,
        advice: $advice:expr,
    })+) => {
        /// Why a socket failed. The ids are a public interface: they are only ever added to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Cause {
            $(#[doc = concat!("`", $id, "`: ", $summary, ".")] $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its properties.
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
    /// The stable name, as in JSON and metric labels.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.row().id
    }

    /// What happened, in a few words.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        self.row().summary
    }

    /// What to look at first.
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
