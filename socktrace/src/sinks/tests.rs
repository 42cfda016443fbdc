//! Tests of several sinks at once, and of what the stream accepts.

use std::{cell::RefCell, rc::Rc, task::Waker};

use super::*;
use crate::record::tests::{record, reset_event};

const JSON: Options = Options {
    format: Format::Json,
    color: ColorChoice::Never,
    clock: Clock::Utc,
    columns: None,
    drops: true,
};

/// Calls that a sink has received.
#[derive(Default)]
struct Log {
    wants_all: bool,
    records: usize,
    flooded: u64,
    lost: u64,
    flushes: usize,
    is_busy: bool,
    ends: Option<Ending>,
}

/// A sink that only logs its calls.
struct Noting(Rc<RefCell<Log>>);

impl Sink for Noting {
    fn takes_records(&self) -> bool {
        !self.is_busy()
    }

    fn wants_all(&self) -> bool {
        self.0.borrow().wants_all
    }

    fn record(&mut self, _record: &Record) {
        self.0.borrow_mut().records += 1;
    }

    fn flood(&mut self, flood: &Flood) {
        self.0.borrow_mut().flooded += flood.count;
    }

    fn lost(&mut self, total: u64) {
        self.0.borrow_mut().lost = total;
    }

    fn flush(&mut self) {
        self.0.borrow_mut().flushes += 1;
    }

    fn is_busy(&self) -> bool {
        self.0.borrow().is_busy
    }

    fn poll_written(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        self.0.borrow_mut().ends.take().map_or(Poll::Pending, |ending| Poll::Ready(Ok(ending)))
    }

    fn give_up(&mut self) {}

    fn progress(&self) -> StreamProgress {
        StreamProgress { shown: self.0.borrow().records as u64, repeated: 0, dropped: 1 }
    }

    fn change(&mut self, _options: &Options) {}
}

/// Two sinks, and their logs.
fn two() -> (Sinks, [Rc<RefCell<Log>>; 2]) {
    let logs = [Rc::<RefCell<Log>>::default(), Rc::default()];
    let sinks = logs.iter().map(|log| Box::new(Noting(Rc::clone(log))) as Box<dyn Sink>);
    (Sinks::new(sinks.collect()), logs)
}

#[test]
fn each_sink_gets_everything() {
    let (mut sinks, logs) = two();
    sinks.record(&record(reset_event()), Audience::Everybody);
    sinks.lost(7);
    for log in &logs {
        assert_eq!((log.borrow().records, log.borrow().lost), (1, 7));
    }
    let progress = sinks.progress();
    assert_eq!((progress.shown, progress.dropped), (2, 2));
}

#[test]
fn what_is_expected_goes_to_whoever_wants_all() {
    let (mut sinks, [first, second]) = two();
    assert!(!sinks.want_all());
    second.borrow_mut().wants_all = true;
    assert!(sinks.want_all());
    for audience in [Audience::Everybody, Audience::WhoeverWantsAll] {
        sinks.record(&record(reset_event()), audience);
        sinks.flood(&flood::tests::flood(), audience);
    }
    assert_eq!((first.borrow().records, first.borrow().flooded), (1, 12_408));
    assert_eq!((second.borrow().records, second.borrow().flooded), (2, 24_816));
}

#[test]
fn a_busy_sink_holds_events_back_but_not_the_writes_of_others() {
    let (mut sinks, [first, second]) = two();
    assert!(sinks.take_records() && !sinks.is_any_busy());
    first.borrow_mut().is_busy = true;
    assert!(!sinks.take_records() && sinks.is_any_busy() && !sinks.are_all_busy());
    sinks.flush();
    assert_eq!((first.borrow().flushes, second.borrow().flushes), (0, 1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(sinks.poll_written(&mut context).is_pending());
    second.borrow_mut().ends = Some(Ending::ReaderGone);
    let ended = sinks.poll_written(&mut context);
    assert!(matches!(ended, Poll::Ready(Ok(Ending::ReaderGone))), "{ended:?}");
}

#[test]
fn a_slow_reader_costs_lines_beyond_a_megabyte() {
    let mut stream = StreamSink::new(JSON, None);
    let record = record(reset_event());
    let mut line = Vec::new();
    json::write(&mut line, &record, &mut LastLine::default()).expect("memory");
    let room = (1_usize << 20).div_ceil(line.len());
    for _ in 0..room + 3 {
        stream.record(&record);
    }
    let so_far = |stream: &StreamSink| (stream.progress().shown, stream.progress().dropped);
    assert_eq!(so_far(&stream), (0, 3), "nothing is written yet");
    // Events that are never written were not shown.
    stream.give_up();
    stream.record(&record);
    assert_eq!(so_far(&stream), (0, room as u64 + 4));
}

#[test]
fn a_flood_counts_for_all_it_stands_for() {
    let mut stream = StreamSink::new(JSON, None);
    stream.record(&record(reset_event()));
    stream.flood(&flood::tests::flood());
    let so_far = |stream: &StreamSink| {
        let StreamProgress { shown, repeated, dropped } = stream.progress();
        (shown, repeated, dropped)
    };
    assert_eq!(so_far(&stream), (0, 0, 0), "nothing is written yet");
    stream.give_up();
    assert_eq!(so_far(&stream), (0, 0, 12_409));
    stream.flood(&flood::tests::flood());
    assert_eq!(so_far(&stream), (0, 0, 24_817));
}
