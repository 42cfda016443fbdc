//! Fuzz test: events of any bytes become valid lines.

use std::{cell::RefCell, panic::AssertUnwindSafe, sync::Arc};

use anstream::adapter::strip_str;
use jiff::tz::TimeZone;
use serde_json::Value;
use socktrace_diagnosis::diagnose;
use socktrace_ebpf::{Event, NamedEvent};

use super::{
    columns::{Column, Columns},
    human::{self, Layout},
    json,
};
use crate::{
    owner::{Service, is_deceptive},
    record::{Record, tests::decoder},
};

/// Widths of terminals.
const WIDTHS: [usize; 4] = [1, 40, 80, 200];

/// An event, and the path of its process's cgroup.
#[test]
fn events() {
    let decoder = AssertUnwindSafe(RefCell::new(decoder()));
    bolero::check!(name = "events").for_each(move |bytes: &[u8]| {
        let Some((named, path)) = split(bytes) else {
            return;
        };
        let mut record = decoder.borrow_mut().decode(&named, diagnose(named.event.signature));
        record.service = Arc::new(Service::from_cgroup_path(&String::from_utf8_lossy(path)));
        for_programs(&record);
        for_people(&record);
    });
}

/// Splits off an event, with names other than its thread's if there are bytes for them.
fn split(bytes: &[u8]) -> Option<(NamedEvent, &[u8])> {
    let sizes = [size_of::<NamedEvent>(), size_of::<Event>()];
    let size = sizes.into_iter().find(|size| *size <= bytes.len());
    let Some(size) = size else {
        assert_eq!(NamedEvent::from_bytes(bytes), None);
        return None;
    };
    let (named, rest) = bytes.split_at(size);
    Some((NamedEvent::from_bytes(named).expect("as long as an event"), rest))
}

/// Checks for one line with an object whose field names are the same as those of any other.
fn for_programs(record: &Record) {
    let mut line = Vec::new();
    json::write(&mut line, record, &mut json::LastLine::default()).expect("memory");
    let text = line.strip_suffix(b"\n").expect("a line");
    assert!(text.iter().all(|byte| !byte.is_ascii_control()), "{}", text.escape_ascii());
    let Value::Object(line) = serde_json::from_slice(text).expect("JSON") else {
        panic!("no object: {}", text.escape_ascii());
    };
    assert_eq!(line["netns"], record.event.netns);
    assert_eq!(line["local_port"], record.local.port());
    assert_eq!(line["pid"].as_u64(), record.process.as_ref().map(|one| u64::from(one.pid)));
}

/// Checks for one line in which only its own styles set colors, and no text can move or hide.
fn for_people(record: &Record) {
    for column in Column::IN_LINE {
        let cell = human::text(column, record, &TimeZone::UTC);
        assert!(!cell.contains(is_deceptive), "{column:?}: {cell:?}");
    }
    let widths = WIDTHS.map(Columns::within).into_iter().chain([Columns::all()]);
    for (columns, continues) in
        widths.flat_map(|columns| [(columns.clone(), false), (columns, true)])
    {
        let mut line = Vec::new();
        let layout = Layout { zone: &TimeZone::UTC, columns: &columns, continues };
        human::write(&mut line, record, layout).expect("memory");
        let line = String::from_utf8(line).expect("text");
        let line = strip_str(&line).to_string();
        let text = line.strip_suffix('\n').expect("a line");
        // A reason may take lines of its own.
        for text in text.split('\n') {
            assert!(!text.contains(is_deceptive), "{text:?}");
        }
    }
}
