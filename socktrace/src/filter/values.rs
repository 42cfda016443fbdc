//! The values that filters take, as the command line has them.

use std::{fs, ops::RangeInclusive, os::unix::fs::MetadataExt as _, path::Path, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};
use socktrace_ebpf::Protocol;

use crate::record::names::protocol_name;

/// Where `ip netns` keeps the namespaces that it has named.
const NAMED_NETNS: &str = "/run/netns";

/// A number; its documentation says what is wrong with another.
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
    /// A process.
    Pid(u32) in 1..=(1 << 22), "a process id, such as 4711, or !4711 for all others";
    /// A user.
    Uid(u32) in 0..=u32::MAX - 1, "the number of a user, such as 1000 (id -u NAME tells it), or !1000 for all others";
    /// A port of either end.
    Port(u16) in 1..=u16::MAX, "a port from 1 to 65535, or !PORT for all others";
}

/// A command name, padded with NUL as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comm(pub(super) [u8; 16]);

impl FromStr for Comm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LONGEST: usize = 15;
        if text.is_empty() {
            return Err("expected a command name as ps -o comm shows it, or !NAME".to_owned());
        }
        let Some(cut) = text.as_bytes().get(..LONGEST).filter(|_| text.len() > LONGEST) else {
            let mut comm = [0; 16];
            comm[..text.len()].copy_from_slice(text.as_bytes());
            return Ok(Self(comm));
        };
        Err(format!(
            "the kernel keeps {LONGEST} bytes of a command name: use {:?}",
            String::from_utf8_lossy(cut)
        ))
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
#[derive(Clone, Debug)]
pub(crate) struct PathPattern(GlobMatcher);

impl PathPattern {
    /// Whether a path, or an abstract name after `@`, is of this kind.
    pub(super) fn is_of(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "expected a path such as /run/php/*.sock, or an abstract name after @, with \
                             * ? [..] and \\ as in a shell, but for * taking / too; or !PATTERN for all \
                             others";
        if text.is_empty() {
            return Err(FORMS.to_owned());
        }
        let glob = GlobBuilder::new(text).backslash_escape(true).build();
        glob.map(|glob| Self(glob.compile_matcher())).map_err(|error| format!("{FORMS}; {error}"))
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
        // An absolute path replaces the directory.
        let path = Path::new(NAMED_NETNS).join(text);
        let metadata = fs::metadata(&path)
            .map_err(|error| format!("{FORMS}; {} cannot be looked at: {error}", path.display()))?;
        let inode = u32::try_from(metadata.ino()).map_err(|_| FORMS.to_owned())?;
        Ok(Self(inode))
    }
}
