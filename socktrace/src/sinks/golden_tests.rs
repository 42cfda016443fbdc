//! Output for people on terminals of common widths.

use std::{net::SocketAddr, sync::Arc};

use anstream::adapter::strip_str;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use nix::libc;
use socktrace_ebpf::{Event, EventKind, Flags, Origin, Role, Sigpipe, TcpState};

use super::{
    columns::{ColumnList, Columns},
    flood,
    human::{self, Layout},
    json, read_back,
};
use crate::{
    owner::Service,
    record::{Line, Process, Record, Sender, tests},
};

const BEGIN: &str = "2026-03-01T08:05:09.123Z";

/// Some failures, and the later events of one of them.
pub(super) fn records() -> Vec<Record> {
    let reset = tests::reset_event();
    let mut records = Vec::new();
    let mut add = |after_ms: i64, event: Event, complete: &dyn Fn(&mut Record)| {
        let mut record = tests::record(event);
        let begin: Timestamp = BEGIN.parse().expect("a time");
        record.time = begin + after_ms.milliseconds();
        record.role = Some(Role::Server);
        record.service = Arc::new(Service::from_cgroup_path("/system.slice/web.service"));
        complete(&mut record);
        records.push(record);
    };
    add(0, reset, &|record| {
        let (comm, reason) = ("envoy".into(), Some("tcp_abort_on_close".into()));
        record.sender = Some(Sender { pid: 97, comm, reason, by_listener: false });
    });
    let write = |flags: Flags, errno, since_ms: u64| {
        let mut event = reset;
        event.signature.kind = EventKind::Write as u8;
        event.signature.flags = flags.0;
        event.signature.errno = u16::try_from(errno).expect("small");
        event.first_errno = u16::try_from(libc::ECONNRESET).expect("small");
        event.since_first_ns = since_ms * 1_000_000;
        event
    };
    add(4, write(Flags::DELIVERY, libc::ECONNRESET, 4), &|_| {});
    let mut killed = write(Flags::REPORTED, libc::EPIPE, 18);
    killed.signature.sigpipe = Sigpipe::Kills as u8;
    add(18, killed, &|_| {});
    let mut unread = reset;
    unread.signature.kind = EventKind::ClosedUnread as u8;
    (unread.first_errno, unread.since_first_ns) = (unread.signature.errno, 31 * 1_000_000);
    add(31, unread, &|_| {});
    let mut timeout = reset;
    timeout.signature.origin = Origin::RetransmitTimer as u8;
    timeout.signature.state = TcpState::Established as u8;
    timeout.signature.flags = Flags::RETRANSMITTED.0;
    timeout.signature.errno = u16::try_from(libc::ETIMEDOUT).expect("small");
    (timeout.retransmits, timeout.elapsed_ms, timeout.unacked_bytes) = (15, 939_000, 2_048);
    add(2_000, timeout, &|record| {
        record.remote = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:50412".parse().expect("an address");
        record.local = "[2001:db8::7]:443".parse().expect("an address");
    });
    add(3_456, reset, &|record| {
        named(record, "支付网关服务", 4_194_304);
        record.service = Arc::new(Service::from_cgroup_path("/system.slice/支付网关.service"));
        record.remote_name = Some("a-backend-with-a-long-name.prod.example.com".into());
        record.remote = SocketAddr::from(([10, 0, 0, 9], 8_443));
    });
    // No longer directly below the line that it follows from.
    add(4_000, write(Flags::REPORTED, libc::EPIPE, 4_000), &|_| {});
    records
}

fn named(record: &mut Record, comm: &str, pid: u32) {
    let process = record.process.as_deref().expect("known").clone();
    record.process = Some(Arc::new(Process { pid, comm: comm.to_owned(), ..process }));
}

/// The same lines, read back from JSON.
fn replayed(columns: &Columns) -> String {
    let mut json = Vec::new();
    let mut last_line = json::LastLine::default();
    for record in &records() {
        json::write(&mut json, record, &mut last_line).expect("memory");
    }
    flood::write_json(&mut json, &flood::tests::flood(), &mut last_line).expect("memory");
    json::lost(&mut json, 3).expect("memory");
    let mut out = Vec::new();
    human::heading(&mut out, columns).expect("memory");
    let mut last = None;
    for text in json.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        let line = Line::read(text).expect("a line");
        let path = Some(line.connection()).filter(|_| !line.is_flood());
        let continues = columns.are_limited() && path.is_some() && last == path;
        let layout = Layout { zone: &TimeZone::UTC, columns, continues };
        read_back::write_human(&mut out, &line, layout).expect("memory");
        last = path;
    }
    String::from_utf8(out).expect("text")
}

/// The stream without styles.
fn shown(columns: &Columns) -> String {
    let text = styled(columns);
    // Lines read back look the same, styles and all.
    assert_eq!(replayed(columns), text);
    strip_str(&text).to_string()
}

fn styled(columns: &Columns) -> String {
    let mut out = Vec::new();
    let zone = TimeZone::UTC;
    let layout = |continues| Layout { zone: &zone, columns, continues };
    human::heading(&mut out, columns).expect("memory");
    let mut last = None;
    for record in &records() {
        let continues = columns.are_limited() && last == Some(record.connection());
        human::write(&mut out, record, layout(continues)).expect("memory");
        last = Some(record.connection());
    }
    flood::write_human(&mut out, &flood::tests::flood(), layout(false)).expect("memory");
    human::lost(&mut out, 3).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn narrower() {
    insta::assert_snapshot!(shown(&Columns::within(50)));
}

#[test]
fn narrow() {
    insta::assert_snapshot!(shown(&Columns::within(80)));
}

#[test]
fn usual() {
    insta::assert_snapshot!(shown(&Columns::within(120)));
}

#[test]
fn wide() {
    insta::assert_snapshot!(shown(&Columns::within(160)));
}

#[test]
fn widest() {
    insta::assert_snapshot!(shown(&Columns::within(200)));
}

#[test]
fn no_terminal() {
    insta::assert_snapshot!(shown(&Columns::all()));
}

#[test]
fn chosen() {
    let list: ColumnList = "errno,remote,reason".parse().expect("columns");
    insta::assert_snapshot!(shown(&Columns::of(&list, Some(100))));
}
