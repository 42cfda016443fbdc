//! Lines for people about events that were read back, as they looked when the events happened.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use jiff::tz::TimeZone;
use socktrace_diagnosis::Severity;
use socktrace_ebpf::Sigpipe;

use super::{
    columns::Column,
    human::{self, Layout, Tone},
    json::RESET_SENT,
    reason::{call_words, duration, sigpipe_words},
};
use crate::record::{Line, harmless, names::sigpipe_name, without_deception};

/// Writes an event that was read back as a line, and below it whatever does not fit.
pub(super) fn write_human(out: &mut impl Write, line: &Line, layout: Layout<'_>) -> io::Result<()> {
    let Layout { zone, columns, continues } = layout;
    if let Some(count) = line.lost() {
        return human::lost(out, count);
    }
    if !line.is_continuation() {
        return human::write_line(out, tone(line), columns, |column| text(column, line, zone));
    }
    human::write_continuation(out, tone(line), columns, continues, |column| match column {
        Column::Reason if continues => continuation(line).into(),
        column => text(column, line, zone),
    })
}

fn text<'a>(column: Column, line: &'a Line, zone: &TimeZone) -> Cow<'a, str> {
    let shown = |text: &'a Option<String>| text.as_deref().map(without_deception);
    let text = match column {
        Column::Time => line.time.map(|time| human::time(time, zone).into()),
        Column::Errno => shown(&line.errno),
        Column::Cause => shown(&line.cause).or_else(|| Some(without_deception(&line.event))),
        Column::Process => line.comm.as_ref().zip(line.pid).map(|(comm, pid)| {
            let comm = without_deception(comm);
            format!("{comm}[{pid}]").into()
        }),
        Column::Service => line.informative_service().map(without_deception),
        Column::Role => match (shown(&line.role), line.service_port) {
            (Some(role), Some(port)) => Some(format!("{role}:{port}").into()),
            (role, _) => role,
        },
        Column::Local if line.is_unix() => path(line, false),
        Column::Remote if line.is_unix() => path(line, true),
        Column::Local => {
            line.local.map(|address| human::end((address, port(line.local_port)).into()).into())
        }
        Column::Remote if line.is_flood() => line.remote.map(|address| address.to_string().into()),
        Column::Remote => line.remote.map(|address| match shown(&line.remote_name) {
            Some(name) => format!("{name}:{}", port(line.remote_port)).into(),
            None => human::end((address, port(line.remote_port)).into()).into(),
        }),
        Column::Flow => shown(&line.flow),
        Column::Reason => shown(&line.reason),
    };
    text.unwrap_or(Cow::Borrowed("-"))
}

/// Path of a Unix socket, at the end where it is shown.
fn path(line: &Line, is_remote: bool) -> Option<Cow<'_, str>> {
    let is_client = line.role.as_deref() == Some("client");
    let path = line.path.as_deref().filter(|_| is_client == is_remote && !line.is_flood());
    path.map(without_deception)
}

fn port(port: Option<u16>) -> u16 {
    port.unwrap_or(0)
}

/// Later event of the failure in the previous line.
fn continuation(line: &Line) -> String {
    let errno = without_deception(line.errno.as_deref().unwrap_or_default());
    let later = duration(line.since_first_ms.unwrap_or(0));
    match line.event.as_str() {
        "failure" | "delivered" => {
            let process = line.comm.as_deref().map(harmless).zip(line.pid);
            let process = process.as_ref().map(|(comm, pid)| (comm.as_str(), *pid));
            let sigpipe = sigpipe_words(sigpipe(line), process);
            format!("write returned {errno} {later} later{sigpipe}")
        }
        "undelivered" => format!("closed {later} later, before any call had returned {errno}"),
        _ => {
            let call = call_words(line.call.as_deref().unwrap_or_default());
            format!("accepted; its next {call} fails with {errno}")
        }
    }
}

fn sigpipe(line: &Line) -> Sigpipe {
    let all = [
        Sigpipe::None,
        Sigpipe::Ignored,
        Sigpipe::Handled,
        Sigpipe::Blocked,
        Sigpipe::Kills,
        Sigpipe::Discarded,
    ];
    let name = line.sigpipe.as_deref();
    all.into_iter()
        .find(|sigpipe| name.is_some() && sigpipe_name(*sigpipe) == name)
        .unwrap_or(Sigpipe::NotRaised)
}

fn tone(line: &Line) -> Tone {
    let is_failure = line.event == "failure";
    let severity = Severity::ALL.into_iter().find(|it| line.severity.as_deref() == Some(it.id()));
    let severity = severity.filter(|_| line.event != RESET_SENT && line.cause.is_some());
    Tone::of(severity, !is_failure, sigpipe(line))
}
