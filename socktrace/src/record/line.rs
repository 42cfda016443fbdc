//! A JSON line of the stream, read back from a history or a file.

use std::{borrow::Cow, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::owner::{Container, Pod, Service, is_deceptive};

/// Fields of a line that are shown to people or used by filters. Each means the same as the field
/// of that name in written lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    pub(crate) event: String,
    #[serde(deserialize_with = "time")]
    pub(crate) time: Option<Timestamp>,
    /// Number of events that the line stands for; `None` if it is about one.
    pub(crate) repeated: Option<u64>,
    /// Number of events lost, in a notice of lost events.
    pub(crate) count: Option<u64>,
    pub(crate) protocol: Option<String>,
    pub(crate) local: Option<IpAddr>,
    pub(crate) local_port: Option<u16>,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) remote_port: Option<u16>,
    pub(crate) remote_name: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) service_port: Option<u16>,
    pub(crate) flow: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) comm: Option<String>,
    pub(crate) exe: Option<String>,
    pub(crate) uid: Option<u32>,
    pub(crate) service: Option<String>,
    cgroup: Option<String>,
    pub(crate) unit: Option<String>,
    user: Option<u32>,
    user_unit: Option<String>,
    container: Option<Container>,
    outer_container: Option<Container>,
    pod: Option<Pod>,
    pub(crate) netns: Option<u32>,
    pub(crate) errno: Option<String>,
    pub(crate) errno_number: Option<u16>,
    pub(crate) cause: Option<String>,
    pub(crate) severity: Option<String>,
    pub(crate) call: Option<String>,
    pub(crate) sigpipe: Option<String>,
    pub(crate) since_first_ms: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// Network namespace, and addresses and ports of both ends; unknown ones are `None`.
pub(crate) type Path = (Option<u32>, [(Option<IpAddr>, Option<u16>); 2]);

/// Sets a field to a JSON value; `None` if the value does not fit the field.
pub(crate) type Setter = fn(&mut Line, &[u8]) -> Option<()>;

/// Finds the setter of the field with this name, among the fields given.
macro_rules! setter {
    ($key:expr; $($name:ident)*) => {
        match $key {
            $(stringify!($name) => Some(|line: &mut Line, value: &[u8]| {
                line.$name = serde_json::from_slice(value).ok()?;
                Some(())
            }),)*
            _ => None,
        }
    };
}

impl Line {
    /// Finds the setter of a field by its name; `None` if lines have no such field.
    pub(crate) fn setter(key: &str) -> Option<Setter> {
        if key == "time" {
            return Some(|line: &mut Self, value: &[u8]| {
                line.time = time(&mut serde_json::Deserializer::from_slice(value)).ok()?;
                Some(())
            });
        }
        setter!(key;
            event repeated count protocol local local_port remote remote_port remote_name path role
            service_port flow pid comm exe uid service cgroup unit user user_unit container
            outer_container pod netns errno errno_number cause severity call sigpipe since_first_ms
            reason)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// When the line was not written by socktrace.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if line.event.is_empty() {
            return Err("it has no event".to_owned());
        }
        Ok(line)
    }

    /// Whether the line stands for events that were only counted.
    pub(crate) const fn is_flood(&self) -> bool {
        self.repeated.is_some()
    }

    /// Number of lost events, if the line is a notice of them.
    pub(crate) fn lost(&self) -> Option<u64> {
        self.count.filter(|_| self.event == "lost")
    }

    /// Whether the line has counts of events instead of an event.
    pub(crate) fn is_summary(&self) -> bool {
        self.event == "summary"
    }

    /// Number of events that the line stands for.
    pub(crate) fn events(&self) -> u64 {
        self.repeated.unwrap_or(1)
    }

    /// Whether the line is about a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.protocol.as_deref() == Some("unix")
    }

    /// Whether the event follows from a failure of the same socket that was reported before.
    pub(crate) fn is_continuation(&self) -> bool {
        let follows = match self.event.as_str() {
            "delivered" | "accepted_reset" | "accepted_failed" | "undelivered" => true,
            "failure" => matches!(
                self.cause.as_deref(),
                Some("write_after_reset" | "write_after_timeout" | "write_after_unreachable")
            ),
            _ => false,
        };
        follows && !self.is_flood()
    }

    /// The connection: network namespace and both ends.
    pub(crate) fn connection(&self) -> Path {
        let ends = [(self.local, self.local_port), (self.remote, self.remote_port)];
        (self.netns, ends)
    }

    /// The service that the event belongs to.
    pub(crate) fn full_service(&self) -> Service {
        Service {
            cgroup: self.cgroup.clone(),
            unit: self.unit.clone(),
            user: self.user,
            user_unit: self.user_unit.clone(),
            container: self.container.clone(),
            outer_container: self.outer_container.clone(),
            pod: self.pod.clone(),
            unknown: None,
        }
    }

    /// Short name of the service, unless it shows only that a user has logged in.
    pub(crate) fn informative_service(&self) -> Option<&str> {
        let is_login = self.user.is_some() && self.user_unit.is_none();
        self.service.as_deref().filter(|_| !is_login)
    }
}

/// Parses a time; an invalid one becomes `None`.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Text from a file that anybody may have written, with characters replaced that could deceive on a
/// terminal.
pub(crate) fn harmless(text: &str) -> String {
    without_deception(text).into_owned()
}

/// The same, borrowed if there is nothing to replace, as in nearly all texts.
pub(crate) fn without_deception(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain { text.into() } else { text.replace(is_deceptive, "?").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_socktrace_are_read() {
        for text in ["", "{", "[]", "{}", "{\"event\":7}", "{\"event\":\"failure\",\"pid\":\"x\"}"]
        {
            assert!(Line::read(text.as_bytes()).is_err(), "{text}");
        }
        let line = Line::read(br#"{"event":"failure","new_field":[1],"pid":7,"time":"?"}"#);
        let line = line.expect("fields may be added");
        assert_eq!((line.pid, line.time, line.events()), (Some(7), None, 1));
        let lost = Line::read(br#"{"event":"lost","count":5}"#).expect("a line");
        assert_eq!(lost.lost(), Some(5));
    }
}
