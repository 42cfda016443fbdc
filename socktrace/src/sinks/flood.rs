//! Lines about floods: events that were counted instead of having a line each.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use jiff::tz::TimeZone;
use socktrace_diagnosis::Finding;
use socktrace_ebpf::{EventKind, Flags, Protocol};

use super::{
    columns::{Column, Columns},
    human,
    json::{LastService, event_name},
    object::add_fields,
    reason::duration,
};
use crate::record::{
    Flood, Peers,
    names::{family_name, protocol_name, role_name, sigpipe_name, state_name},
};

/// Writes a flood as a line for people, and how many they were under it where the line has no room.
pub(crate) fn write_human(
    out: &mut impl Write,
    flood: &Flood,
    zone: &TimeZone,
    columns: &Columns,
) -> io::Result<()> {
    human::write_cells(out, flood.finding, columns, |column| text(column, flood, zone))
}

/// What stands in a column, `-` where there is nothing to say, or not the same of all.
pub(super) fn text<'a>(column: Column, flood: &'a Flood, zone: &TimeZone) -> Cow<'a, str> {
    let found = match flood.finding {
        Finding::Failure(found) | Finding::Delivery(found) => Some(found),
        Finding::Retransmission => None,
    };
    let text = match column {
        Column::Time => Some(human::time(flood.time, zone)),
        Column::Errno => return found.map_or("-".into(), |found| found.errno.text()),
        Column::Cause => return found.map_or("retransmit", |found| found.cause.id()).into(),
        Column::Process => {
            flood.process.as_ref().map(|process| format!("{}[{}]", process.comm, process.pid))
        }
        Column::Service => return flood.service.telling_label().unwrap_or("-".into()),
        Column::Role => flood.role.map(|role| match flood.service_port {
            Some(port) => format!("{}:{port}", role_name(role)),
            None => role_name(role).to_owned(),
        }),
        Column::Local => None,
        Column::Remote => flood.remote.map(|address| address.to_string()),
        Column::Reason => Some(reason(flood)),
    };
    text.map_or("-".into(), Cow::Owned)
}

/// Writes a flood as a JSON line. Its fields mean what they mean in other lines; those are missing that
/// may differ from event to event.
pub(crate) fn write_json(
    out: &mut Vec<u8>,
    flood: &Flood,
    last: &mut LastService,
) -> io::Result<()> {
    let process = flood.process.as_ref();
    // Of the last event.
    write!(out, "{{\"time\":\"{}\"", flood.time)?;
    add_fields!(out, {
        "event": event_name(flood.finding, flood.signature.kind),
        // For how many events this line stands: a line without it stands for one.
        "repeated": flood.count,
        // Time from the first of them to the last.
        "repeated_ms": flood.span_ms,
        // From how many remote addresses, since the flood began; null where there are none.
        "peers": flood.peers.number(),
        // Whether that is exact. Else it is an estimate, at most 3,194: that stands for any number
        // beyond, too.
        "peers_exact": matches!(flood.peers, Peers::None | Peers::Exactly(_)),
        "protocol": protocol_name(Protocol::try_from(flood.signature.protocol).ok()),
        "family": family_name(flood.family),
        "state": flood.state.map_or("unknown", state_name),
        // The remote address, if it is the same in all.
        "remote": flood.remote,
        "role": flood.role.map(role_name),
        "service_port": flood.service_port,
        // The process, if it is the same in all, and so is the command name of the threads.
        "pid": process.map(|process| process.pid),
        "comm": process.map(|process| process.comm.as_str()),
        "exe": process.and_then(|process| process.exe.as_deref()),
        "uid": process.map(|process| process.uid),
        "service": flood.service.label(),
    });
    out.extend_from_slice(last.fields(&flood.service)?);
    add_fields!(out, { "reason": reason(flood), });
    if let Finding::Failure(found) | Finding::Delivery(found) = flood.finding {
        let flags = Flags(flood.signature.flags);
        let flags = Flags::NAMES.iter().filter(|(flag, _)| flags.has(*flag));
        add_fields!(out, {
            "errno": found.errno,
            "errno_number": found.errno.number(),
            "cause": found.cause.id(),
            "direction": found.direction.id(),
            "call": found.call.id(),
            "severity": found.severity.id(),
            "sigpipe": sigpipe_name(found.sigpipe),
            "flags": flags.map(|(_, name)| *name).collect::<Vec<_>>(),
            "advice": found.cause.advice(),
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

/// How many, in which time, from how many peers, and why.
fn reason(flood: &Flood) -> String {
    let peers = match flood.peers {
        Peers::None => String::new(),
        Peers::Exactly(1) => ", from 1 peer".to_owned(),
        Peers::Exactly(count) => format!(", from {} peers", grouped(count)),
        Peers::About(count) => format!(", from about {} peers", grouped(count)),
        Peers::AtLeast(count) => format!(", from {} peers or more", grouped(count)),
    };
    let why = match flood.finding {
        Finding::Failure(found) => format!(": {}", found.cause.summary()),
        Finding::Delivery(_) if flood.signature.kind == EventKind::Accept as u8 => {
            ": accepted when already reset".to_owned()
        }
        Finding::Delivery(found) => {
            format!(": writes returned {} after {}", found.errno, found.cause.summary())
        }
        Finding::Retransmission => ": retransmissions".to_owned(),
    };
    format!("×{} in {}{peers}{why}", grouped(flood.count), duration(flood.span_ms))
}

/// A number with its thousands set apart.
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
