//! Conversion of lines to events on the screen.

use std::net::SocketAddr;

use socktrace_top::{Event, Plain, Severity};

use super::feed::Text;
use crate::record::Line;

/// Placeholder for unknown values.
const UNKNOWN: &str = "-";

/// Converts a line to an event.
pub(super) fn event(line: &Line, text: Text) -> Event {
    let plain = |text: &Option<String>| Plain::new(text.as_deref().unwrap_or(UNKNOWN));
    Event {
        // Times after the year 2262 are capped.
        time: line.time.map_or(0, |time| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)),
        count: line.events(),
        is_flood: line.is_flood(),
        is_failure: line.event == "failure",
        follows: line.is_continuation(),
        severity: line.severity.as_deref().map(Severity::of).unwrap_or_default(),
        errno: Plain::new(line.errno.as_deref().unwrap_or_default()),
        cause: Plain::new(line.cause.as_ref().unwrap_or(&line.event)),
        service: plain(&line.service),
        process: match (&line.comm, line.pid) {
            (Some(comm), Some(pid)) => Plain::new(&format!("{comm}[{pid}]")),
            _ => UNKNOWN.into(),
        },
        peer: Plain::new(&peer(line)),
        reason: Plain::new(line.reason.as_deref().unwrap_or_default()),
        text,
    }
}

/// The peer. A client's port is omitted, because it changes with each connection.
fn peer(line: &Line) -> String {
    if let Some(path) = &line.path {
        return path.clone();
    }
    let Some(address) = line.remote else { return UNKNOWN.to_owned() };
    let is_client = line.role.as_deref() == Some("client");
    let port = line.remote_port.or(line.service_port).filter(|port| is_client && *port != 0);
    match (&line.remote_name, port) {
        (Some(name), Some(port)) => format!("{name}:{port}"),
        (Some(name), None) => name.clone(),
        (None, Some(port)) => SocketAddr::from((address, port)).to_string(),
        (None, None) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::is_deceptive;

    fn of(text: &str) -> Event {
        event(&Line::read(text.as_bytes()).expect("a line"), text.as_bytes().into())
    }

    #[test]
    fn a_line_is_shown_as_what_it_says() {
        let failure = of(
            r#"{"event":"failure","time":"1970-01-01T00:00:02.5Z","errno":"ECONNREFUSED",
            "cause":"connect_refused","severity":"failure","comm":"curl","pid":7,"service":"cron.service",
            "role":"client","remote":"2001:db8::1","remote_port":443,"reason":"nobody listens"}"#,
        );
        assert_eq!(failure.time, 2_500_000_000);
        assert!(failure.is_failure && !failure.follows && !failure.is_flood);
        assert_eq!(failure.severity, Severity::Failure);
        let texts = [failure.errno, failure.cause, failure.service, failure.process, failure.peer];
        let expected =
            ["ECONNREFUSED", "connect_refused", "cron.service", "curl[7]", "[2001:db8::1]:443"];
        assert_eq!(texts, expected.map(Plain::new));
        assert_eq!(failure.reason.as_str(), "nobody listens");
    }

    #[test]
    fn peers_of_a_server_have_no_ports() {
        let peer = |text: &str| of(text).peer.to_string();
        let ends = r#""remote":"192.0.2.7","remote_port":41234"#;
        assert_eq!(peer(&format!(r#"{{"event":"failure","role":"server",{ends}}}"#)), "192.0.2.7");
        assert_eq!(peer(&format!(r#"{{"event":"failure",{ends},"remote_name":"x"}}"#)), "x");
        assert_eq!(peer(r#"{"event":"failure","path":"/run/a","protocol":"unix"}"#), "/run/a");
        assert_eq!(peer(r#"{"event":"failure"}"#), "-");
        let flood = r#"{"event":"failure","repeated":7,"role":"client","remote":"192.0.2.7","service_port":80}"#;
        assert_eq!(peer(flood), "192.0.2.7:80");
        assert_eq!((of(flood).count, of(flood).is_flood), (7, true));
    }

    #[test]
    fn what_is_no_failure_is_not_counted() {
        for (name, follows) in [("delivered", true), ("retransmit", false), ("reset_sent", false)] {
            let event = of(&format!(r#"{{"event":"{name}"}}"#));
            assert_eq!((event.is_failure, event.follows), (false, follows), "{name}");
            assert_eq!(event.cause.as_str(), name);
        }
    }

    #[test]
    fn what_is_deceptive_elsewhere_is_not_plain() {
        for c in ('\0'..=char::MAX).filter(|c| is_deceptive(*c)) {
            assert_eq!(Plain::new(&c.to_string()).as_str(), "?", "{c:?}");
        }
    }
}
