//! Filter values as given on the command line.

use std::{fs, ops::RangeInclusive, os::unix::fs::MetadataExt as _, path::Path, str::FromStr};

use socktrace_ebpf::Protocol;

use super::{Choice, pattern::Pattern, users};
use crate::record::{command_name, names::protocol_name};

/// Directory in which `ip netns` keeps named namespaces.
const NAMED_NETNS: &str = "/run/netns";

/// Defines a number type; `$expected` is the message for anything else.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($ty:ty) in $range:expr, $expected:literal;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub(crate) struct $name(pub(super) $ty);

            impl FromStr for $name {
                type Err = String;

                fn from_str(text: &str) -> Result<Self, String> {
                    let range: RangeInclusive<$ty> = $range;
                    let number = text.parse().ok().filter(|number| range.contains(number));
                    number.map(Self).ok_or_else(|| format!("expected {}", $expected))
                }
            }
        )+
    };
}

numbers! {
    /// A process id.
    Pid(u32) in 1..=(1 << 22), "a process id, such as 4711, or !4711 for all others";
    /// The port of either end.
    Port(u16) in 1..=u16::MAX, "a port from 1 to 65535, or !PORT for all others";
}

/// A user by number, or by name in this host's `/etc/passwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uid(pub(super) u32);

impl FromStr for Uid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // The kernel reserves the last number for "no user".
        let number = text.parse().ok().filter(|number| *number != u32::MAX);
        match number {
            Some(number) if is_number => Ok(Self(number)),
            _ => users::find(text).map(Self),
        }
    }
}

/// A command name, or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comm {
    pattern: Pattern,
    /// The name padded with NUL as in the kernel, unless this is a pattern.
    exact: Option<[u8; 16]>,
}

impl Comm {
    /// Whether the kernel's NUL-padded name matches.
    pub(super) fn is_of(&self, comm: &[u8; 16]) -> bool {
        match &self.exact {
            Some(exact) => exact == comm,
            None => self.pattern.is_of(&command_name(comm)),
        }
    }

    /// Whether a name matches as displayed.
    pub(super) fn is_of_shown(&self, name: &str) -> bool {
        match &self.exact {
            Some(exact) => command_name(exact) == name,
            None => self.pattern.is_of(name),
        }
    }

    /// Whether every name matched by the other one provably matches this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || other.exact.is_some_and(|exact| self.is_of(&exact))
    }
}

impl FromStr for Comm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LONGEST: usize = 15;
        const FORMS: &str = "expected a command name as shown by ps -o comm, optionally with wildcards * \
                             ? [..], or !NAME";
        if text.is_empty() {
            return Err(FORMS.to_owned());
        }
        let pattern = Pattern::new(text).map_err(|problem| format!("{FORMS}; {problem}"))?;
        let Some(name) = pattern.exact() else {
            if pattern.shortest() > LONGEST {
                return Err(format!(
                    "the kernel keeps only {LONGEST} bytes of a command name, so this can never match"
                ));
            }
            return Ok(Self { pattern, exact: None });
        };
        let Some(cut) = name.as_bytes().get(..LONGEST).filter(|_| name.len() > LONGEST) else {
            let mut comm = [0; 16];
            comm[..name.len()].copy_from_slice(name.as_bytes());
            return Ok(Self { pattern, exact: Some(comm) });
        };
        Err(format!(
            "the kernel keeps only {LONGEST} bytes of a command name: use {:?}",
            String::from_utf8_lossy(cut)
        ))
    }
}

impl Choice<Comm> {
    /// The part that the kernel side can check: it compares whole names.
    pub(super) fn exact_part(&self) -> Self {
        let is_exact = |comm: &&Comm| comm.exact.is_some();
        let exact = |comms: &[Comm]| comms.iter().filter(is_exact).cloned().collect::<Vec<_>>();
        let has_all = self.wanted.iter().all(|comm| is_exact(&comm));
        Self {
            wanted: if has_all { self.wanted.clone() } else { Vec::new() },
            unwanted: exact(&self.unwanted),
        }
    }

    /// The exact part as the kernel side stores it.
    pub(super) fn in_kernel(&self) -> Choice<[u8; 16]> {
        let part = self.exact_part();
        let names = |comms: &[Comm]| comms.iter().filter_map(|comm| comm.exact).collect();
        Choice { wanted: names(&part.wanted), unwanted: names(&part.unwanted) }
    }

    /// Whether there are patterns, which the kernel side cannot check.
    pub(super) fn has_patterns(&self) -> bool {
        self.wanted.iter().chain(&self.unwanted).any(|comm| comm.exact.is_none())
    }
}

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolName(pub(super) Protocol);

impl FromStr for ProtocolName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |protocol: Protocol| protocol_name(Some(protocol));
        let found = Protocol::ALL.iter().find(|protocol| text == name(**protocol));
        found.copied().map(Self).ok_or_else(|| {
            let names: Vec<_> = Protocol::ALL.iter().map(|protocol| name(*protocol)).collect();
            format!("expected one of {}, or !PROTOCOL for all others", names.join(", "))
        })
    }
}

/// A pattern for paths of Unix sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern(Pattern);

impl PathPattern {
    /// Whether a path, or an abstract name after `@`, matches.
    pub(super) fn is_of(&self, path: &str) -> bool {
        self.0.is_of(path)
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "expected a path such as /run/php/*.sock, or an abstract name after @, with \
                             wildcards * ? [..] and \\ as in a shell, except that * matches / too; or !PATTERN for all \
                             others";
        if text.is_empty() {
            return Err(FORMS.to_owned());
        }
        Pattern::new(text).map(Self).map_err(|problem| format!("{FORMS}; {problem}"))
    }
}

/// The inode of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Netns(pub(super) u32);

impl FromStr for Netns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "expected an inode as in net:[4026531840] of ls -l /proc/PID/ns/net, \
                             a path such as /proc/PID/ns/net, or a name of ip netns";
        let inode = text.strip_prefix("net:[").and_then(|rest| rest.strip_suffix(']'));
        if let Ok(inode) = inode.unwrap_or(text).parse() {
            return Ok(Self(inode));
        }
        if text.is_empty() || inode.is_some() {
            return Err(FORMS.to_owned());
        }
        // `join` with an absolute path replaces the directory.
        let path = Path::new(NAMED_NETNS).join(text);
        let metadata = fs::metadata(&path)
            .map_err(|error| format!("{FORMS}; cannot read {}: {error}", path.display()))?;
        let inode = u32::try_from(metadata.ino()).map_err(|_| FORMS.to_owned())?;
        Ok(Self(inode))
    }
}
