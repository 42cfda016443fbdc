//! Lines about floods: events that were counted instead of getting a line each.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use jiff::tz::TimeZone;
use socktrace_diagnosis::{Finding, why_sent};
use socktrace_ebpf::{EventKind, Flags, Protocol};

use super::{
    columns::Column,
    facts,
    human::{self, Layout},
    json::{LastLine, event_name, write_meaning},
    object::{Word, Words, add_fields},
    reason::{duration, fate},
    unix,
};
use crate::record::{
    Flood, Peers,
    names::{protocol_name, role_name, signature_family_name, sigpipe_name, state_name},
};

/// Writes a flood as a line for people, and below it the number of events if the line has no room
/// for that.
pub(crate) fn write_human(
    out: &mut impl Write,
    flood: &Flood,
    Layout { zone, columns, .. }: Layout<'_>,
) -> io::Result<()> {
    human::write_line(out, flood.finding.into(), columns, |column| text(column, flood, zone))
}

/// Text of a column; `-` if there is none, or the events differ.
pub(super) fn text<'a>(column: Column, flood: &'a Flood, zone: &TimeZone) -> Cow<'a, str> {
    let found = flood.finding.diagnosis();
    let text = match column {
        Column::Time => Some(human::time(flood.time, zone)),
        Column::Errno => return found.map_or("-".into(), |found| found.errno.text()),
        Column::Cause => {
            return found
                .map_or_else(|| human::event(flood.finding), |found| found.cause.id())
                .into();
        }
        Column::Process => {
            flood.process.as_ref().map(|process| format!("{}[{}]", process.comm, process.pid))
        }
        Column::Service => return flood.service.informative_label().unwrap_or("-".into()),
        Column::Role => flood.role.map(|role| match flood.service_port {
            Some(port) => format!("{}:{port}", role_name(role)),
            None => role_name(role).to_owned(),
        }),
        Column::Local | Column::Flow => None,
        Column::Remote => flood.remote.map(|address| address.to_string()),
        Column::Reason => Some(reason(flood)),
    };
    text.map_or("-".into(), Cow::Owned)
}

/// Writes a flood as a JSON line. Its fields have the same meaning as in other lines; fields that
/// may differ between events are missing.
pub(crate) fn write_json(out: &mut Vec<u8>, flood: &Flood, last: &mut LastLine) -> io::Result<()> {
    let process = flood.process.as_ref();
    // Time of the last event.
    out.extend_from_slice(b"{\"time\":\"");
    last.write_time(out, flood.time)?;
    out.push(b'"');
    add_fields!(out, {
        "event": Word(event_name(flood.finding, flood.signature.kind)),
        // Number of events that this line stands for; a line without it stands for one.
        "repeated": flood.count,
        // Time from the first event to the last.
        "repeated_ms": flood.span_ms,
        // Number of remote addresses since the flood began; null if there are none.
        "peers": flood.peers.number(),
        // Whether that is exact. Otherwise it is an estimate of at most 3,194, which also stands
        // for any larger number.
        "peers_exact": matches!(flood.peers, Peers::None | Peers::Exactly(_)),
        "protocol": Word(protocol_name(Protocol::try_from(flood.signature.protocol).ok())),
        "family": Word(signature_family_name(flood.signature)),
        "state": Word(flood.state.map_or("unknown", state_name)),
        // The remote address, if all events have the same.
        "remote": flood.remote,
        "role": flood.role.map(|role| Word(role_name(role))),
        "service_port": flood.service_port,
        // The process and the command name of the threads, if all events have the same.
        "pid": process.map(|process| process.pid),
        "comm": process.map(|process| process.comm.as_str()),
        "exe": process.and_then(|process| process.exe.as_deref()),
        "uid": process.map(|process| process.uid),
        "service": flood.service.label(),
    });
    out.extend_from_slice(last.service(&flood.service)?);
    add_fields!(out, { "reason": reason(flood), });
    if let Some(found) = flood.finding.diagnosis() {
        let flags = Flags(flood.signature.flags);
        let flags = Flags::NAMES.iter().filter(|(flag, _)| flags.has(*flag));
        write_meaning(out, found, flood.signature)?;
        add_fields!(out, {
            "sigpipe": sigpipe_name(found.sigpipe).map(Word),
            "flags": Words(flags.map(|(_, name)| *name)),
            "advice": facts::advice_on(flood.finding, found, &facts::of_flood(flood)),
        });
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

impl Peers {
    fn number(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Exactly(count) | Self::About(count) | Self::AtLeast(count) => Some(count),
        }
    }
}

/// Number of events, their time span, number of peers, and reason.
pub(crate) fn reason(flood: &Flood) -> String {
    let peers = match flood.peers {
        Peers::None => String::new(),
        Peers::Exactly(1) => ", from 1 peer".to_owned(),
        Peers::Exactly(count) => format!(", from {} peers", grouped(count)),
        Peers::About(count) => format!(", from about {} peers", grouped(count)),
        Peers::AtLeast(count) => format!(", from {} peers or more", grouped(count)),
    };
    let why = match flood.finding {
        Finding::Failure(found) => {
            format!(": {}", unix::summary(found.cause, flood.signature.protocol))
        }
        Finding::Delivery(found) if flood.signature.kind == EventKind::Accept as u8 => {
            format!(": accepted connections {}", fate(found.cause))
        }
        Finding::Delivery(found) => {
            format!(": writes returned {} after {}", found.errno, found.cause.summary())
        }
        Finding::Undelivered(found) => {
            format!(
                ": closed before any call had returned {}: {}",
                found.errno,
                found.cause.summary()
            )
        }
        Finding::Retransmission => ": retransmissions".to_owned(),
        Finding::ResetSent(reset) => format!(": RSTs sent: {}", why_sent(reset).summary),
    };
    format!("×{} in {}{peers}{why}", grouped(flood.count), duration(flood.span_ms))
}

/// A number with its thousands separated.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use anstream::adapter::strip_str;
    use serde_json::{Value, json};
    use socktrace_diagnosis::diagnose;
    use socktrace_ebpf::{Role, TcpState};

    use super::*;
    use crate::{
        owner::Service,
        record::{FloodProcess, tests::reset_event},
        sinks::columns::Columns,
    };

    /// Resets of a server's connections.
    pub(in crate::sinks) fn flood() -> Flood {
        let signature = reset_event().signature;
        Flood {
            time: "2026-03-01T08:05:09.123Z".parse().expect("a time"),
            count: 12_408,
            span_ms: 3_200,
            peers: Peers::About(340),
            signature,
            finding: diagnose(signature),
            state: Some(TcpState::Established),
            role: Some(Role::Server),
            service_port: Some(443),
            service: Arc::new(Service::from_cgroup_path("/system.slice/web.service")),
            process: None,
            remote: None,
        }
    }

    fn human(flood: &Flood, columns: &Columns) -> String {
        let mut out = Vec::new();
        let layout = Layout { zone: &TimeZone::UTC, columns, continues: false };
        write_human(&mut out, flood, layout).expect("memory");
        strip_str(&String::from_utf8(out).expect("text")).to_string()
    }

    fn object(flood: &Flood) -> Value {
        let mut out = Vec::new();
        write_json(&mut out, flood, &mut LastLine::default()).expect("memory");
        let line = out.strip_suffix(b"\n").expect("a line");
        assert!(!line.contains(&b'\n'));
        serde_json::from_slice(line).expect("JSON")
    }

    #[test]
    fn people_read_how_many() {
        let mut flood = flood();
        assert_eq!(
            human(&flood, &Columns::all()),
            "08:05:09.123 ECONNRESET   reset_by_peer          -                  web.service        \
             server:443   -                     -                     ×12,408 in 3.2 s, from about \
             340 peers: the peer sent RST on a live connection\n"
        );
        flood.peers = Peers::Exactly(1);
        flood.remote = Some([10, 0, 0, 9].into());
        let (pid, comm) = (81, "nginx".to_owned());
        flood.process = Some(FloodProcess { pid, uid: 33, comm, exe: None });
        assert_eq!(
            human(&flood, &Columns::within(80)),
            "08:05:09.123 ECONNRESET   nginx[81]          10.0.0.9\n    \
             reset_by_peer: ×12,408 in 3.2 s, from 1 peer: the peer sent RST on a live\n    \
             connection\n"
        );
    }

    #[test]
    fn programs_read_for_how_many_events_a_line_stands() {
        let line = object(&flood());
        for (name, value) in [
            ("time", json!("2026-03-01T08:05:09.123000000Z")),
            ("event", json!("failure")),
            ("repeated", json!(12_408)),
            ("repeated_ms", json!(3_200)),
            ("peers", json!(340)),
            ("peers_exact", json!(false)),
            ("errno", json!("ECONNRESET")),
            ("cause", json!("reset_by_peer")),
            ("service", json!("web.service")),
            ("unit", json!("web.service")),
            ("service_port", json!(443)),
            ("pid", json!(null)),
            ("remote", json!(null)),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        // These differ between events.
        for name in ["local", "local_port", "remote_port", "tid", "netns", "fd", "retransmits"] {
            assert_eq!(line.get(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_have_their_thousands_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
