//! The sink: encodes records and puts them into the queue. It never blocks.

use std::{io, sync::Arc};

use jiff::Timestamp;
use socktrace_history::{Queue, Row};

use crate::{
    record::{Flood, Record},
    sinks::{LastLine, Sink, flood_to_json, record_to_json},
};

/// Sink that passes lines to a keeper.
pub(crate) struct HistorySink {
    queue: Arc<Queue>,
    last: LastLine,
    /// Length of the last line, a good guess for the next one.
    length: usize,
}

impl HistorySink {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, last: LastLine::default(), length: 0 }
    }

    fn add(
        &mut self,
        time: Timestamp,
        write: impl FnOnce(&mut Vec<u8>, &mut LastLine) -> io::Result<()>,
    ) {
        let mut line = Vec::with_capacity(self.length);
        if let Err(error) = write(&mut line, &mut self.last) {
            log::error!("history: a line could not be formatted: {error}");
            return;
        }
        // Remove the newline.
        line.pop();
        self.length = line.len();
        // Times after the year 2262 are capped.
        let time = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX - 1);
        self.queue.push(Row { time, line });
    }
}

impl Sink for HistorySink {
    fn takes_records(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Record) {
        self.add(record.time, |out, last| record_to_json(out, record, last));
    }

    fn flood(&mut self, flood: &Flood) {
        self.add(flood.time, |out, last| flood_to_json(out, flood, last));
    }

    /// Ignored: the metrics count losses.
    fn lost(&mut self, _total: u64) {}
}

#[cfg(test)]
mod tests {
    use std::{ops::ControlFlow, time::Duration};

    use jiff::ToSpan as _;
    use socktrace_history::{Keeper, Limits, Place, Reader};

    use super::*;
    use crate::{
        history::Lines,
        owner::Service,
        record::{Line, Process, tests},
    };

    /// Failures of several services, as on a typical host, each on its own connection.
    fn record(number: u16) -> Record {
        let mut event = tests::reset_event();
        event.retransmits = u8::try_from(number % 7).expect("small");
        event.elapsed_ms = u32::from(number) * 31;
        event.unacked_bytes = u32::from(number) * 7;
        let mut record = tests::record(event);
        record.time = Timestamp::now() + i64::from(number).milliseconds();
        record.remote = ([192, 0, 2, u8::try_from(number % 256).expect("small")], number).into();
        let service = number % 30;
        let path = format!("/system.slice/a-service-with-a-name-{service}.service");
        record.service = Arc::new(Service::from_cgroup_path(&path));
        let process = record.process.as_deref().expect("known").clone();
        let exe = Some(format!("/usr/lib/a-service/bin/service-{service}").into());
        record.process = Some(Arc::new(Process { pid: number.into(), exe, ..process }));
        record
    }

    /// Every field that lines are read for has a setter.
    #[test]
    fn every_field_has_what_sets_it() {
        let mut text = Vec::new();
        record_to_json(&mut text, &record(7), &mut LastLine::default()).expect("memory");
        let line: serde_json::Map<_, _> = serde_json::from_slice(&text).expect("an object");
        let more = ["repeated", "count", "pod", "container", "outer_container"];
        let names = line.keys().map(String::as_str).chain(more);
        let values = [
            "7",
            r#""127.0.0.1""#,
            r#""2026-03-01T08:05:09.123000000Z""#,
            r#"{"id":"web","name":null,"runtime":"docker","claimed":false}"#,
            r#"{"uid":"1","name":"a","namespace":null,"qos":"Guaranteed","claimed":false}"#,
        ];
        let mut count = 0;
        for name in names.filter(|name| *name != "event") {
            for value in values {
                let read = Line::read(format!("{{\"event\":\"x\",\"{name}\":{value}}}").as_bytes());
                let Ok(read) = read else { continue };
                let mut line = Line::read(br#"{"event":"x"}"#).expect("a line");
                if let Some(set) = Line::setter(name) {
                    assert_eq!(set(&mut line, value.as_bytes()), Some(()), "{name} {value}");
                    count += usize::from(line == read);
                }
                assert_eq!(line, read, "{name} {value}");
            }
        }
        assert!(count > 30, "{count}");
    }

    #[test]
    fn what_is_kept_is_what_is_shown_and_takes_little_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("history.db");
        let queue = Arc::new(Queue::new(Arc::default()));
        let place = Place { file: file.clone(), group: None };
        let limits = Limits { bytes: 256 << 20, age: Duration::from_hours(1) };
        let (keeper, control) = Keeper::new(Arc::clone(&queue), place, limits);
        let records: Vec<_> = (0..4_000).map(record).collect();
        let mut sink = HistorySink::new(queue);
        for record in &records {
            sink.record(record);
        }
        let written = std::thread::spawn(|| keeper.run());
        assert_eq!(control.finish().written, 4_000);
        written.join().expect("no panic");
        let bytes = file.metadata().expect("there").len() / 4_000;
        assert!(bytes < 350, "{bytes} bytes a line");

        let mut expected = Vec::new();
        let mut last = LastLine::default();
        for record in &records {
            record_to_json(&mut expected, record, &mut last).expect("memory");
        }
        let mut kept = Vec::new();
        let mut reader = Reader::open(&file).expect("opened");
        let read = reader.read(0..i64::MAX, |line| {
            kept.extend_from_slice(line);
            kept.push(b'\n');
            ControlFlow::Continue(())
        });
        read.expect("read");
        assert!(kept == expected, "other lines are kept than were shown");

        let mut lines = Lines::default();
        let mut texts = kept.split(|byte| *byte == b'\n');
        let read = reader.rows(0..i64::MAX, |kept| {
            let text = texts.next().expect("as many");
            assert_eq!(lines.read(kept), Some(&Line::read(text).expect("a line")));
            ControlFlow::Continue(())
        });
        read.expect("read");
    }
}
