//! Tests of the screen with lines of a replay and of a history.

use std::{
    io::Cursor,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
};
use socktrace_history::{Keeper, Limits, Place, Queue, Row};
use socktrace_top::{About, Source};

use super::{screen::Work, *};
use crate::{cli::Filters, explain::Language};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;

/// 12:00 of a day.
const NOON: i64 = 1_764_504_000 * SECOND;

pub(super) fn screen(source: Source, filters: &str) -> Screen {
    let host = "web-1".to_owned();
    Screen {
        about: About { host, source, zone: TimeZone::UTC, is_colored: true },
        clock: Clock::Stands,
        filters: Filters::parse(filters).expect("filters"),
        language: Language::En,
        moments: None,
        feed: Arc::default(),
    }
}

/// A line about a failure at a given time.
fn line(time: i64, cause: &str, remote_port: u16) -> String {
    let time = Timestamp::from_nanosecond(time.into()).expect("a time");
    format!(
        r#"{{"time":"{time}","event":"failure","protocol":"tcp","role":"client","local":"10.0.0.1",
        "local_port":41234,"remote":"192.0.2.7","remote_port":{remote_port},"comm":"nginx","pid":4711,
        "service":"nginx.service","unit":"nginx.service","errno":"ECONNRESET","errno_number":104,
        "cause":"{cause}","severity":"failure","reason":"because"}}"#
    )
    .replace('\n', " ")
}

/// The text on the screen, with runs of spaces collapsed.
pub(super) fn text(work: &mut Work<'_>) -> String {
    let area = Rect { x: 0, y: 0, width: 100, height: 30 };
    let mut buffer = Buffer::empty(area);
    work.app.draw(area, &mut buffer);
    let rows = buffer.content().chunks(100);
    let rows = rows.map(|row| row.iter().map(Cell::symbol).collect::<String>());
    rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn lines_of_a_file_are_shown_and_filtered() {
    let mut input = String::from("what?\n\n");
    for second in 0..50 {
        input += &line(NOON + second * SECOND, "reset_by_peer", 443);
        input += "\n";
        input += &line(NOON + second * SECOND, "keepalive_timeout", 5432);
        input += "\n";
    }
    input += "{\"event\":\"lost\",\"count\":7}\n";
    let feed = Feed::default();
    replay(Cursor::new(input), &feed);
    let mut work = Work::new(screen(Source::Replay("a.json".to_owned()), "port 443"), &feed);
    while work.take() {}
    let shown = text(&mut work);
    for part in [
        "web-1 replay a.json",
        "lost 7 repeated 0",
        "12:00:49",
        "! + nginx.service 5 50 50│",
        "ECONNRESET reset_by_peer",
        "ends 10.0.0.1:41234 -> 192.0.2.7:443, tcp client",
        "advice Treat the connection as gone and repeat only what can be repeated",
        "that is all; 1 lines were not written by socktrace --output json",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert!(!shown.contains("keepalive_timeout"), "{shown}");
    // Filters as on the command line; lines that did not pass before appear.
    work.filter("cause keepalive_timeout unit nginx*");
    // A message stays until the next key.
    work.app.press(socktrace_top::Key::Home);
    let shown = text(&mut work);
    for part in ["--unit 'nginx*'", "--cause keepalive_timeout", "all 5 50 50│"] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert!(!shown.contains("reset_by_peer"), "{shown}");
    work.filter("errno ENOTHING");
    let shown = text(&mut work);
    assert!(shown.contains("/errno ENOTHING"), "{shown}");
    work.filter("");
    let shown = text(&mut work);
    assert!(shown.contains("all 10 100 100│"), "{shown}");
    work.step(1);
    assert!(text(&mut work).contains("only a history has steps"));
}

#[test]
fn a_history_is_gone_through_by_steps() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("history.db");
    let queue = Arc::new(Queue::new(Arc::default()));
    let place = Place { file: file.clone(), group: None };
    let limits = Limits { bytes: 256 << 20, age: Duration::from_hours(1_000_000) };
    let (keeper, control) = Keeper::new(Arc::clone(&queue), place, limits);
    // Three in each minute of half an hour.
    for number in 0..90 {
        let time = NOON + number * 20 * SECOND;
        queue.push(Row { time, line: line(time, "reset_by_peer", 443).into_bytes() });
    }
    let keeper = thread::spawn(|| keeper.run());
    assert_eq!(control.finish().written, 90);
    keeper.join().expect("no panic");

    let kept = History { file, span: 0..NOON + 1_000 * MINUTE };
    let last = NOON + 89 * 20 * SECOND;
    let newest = newest(&kept).expect("readable").expect("there are some");
    assert!((last..=last + SECOND).contains(&newest), "{newest}");
    let feed = Arc::new(Feed::default());
    let (moments, read) = history(kept, 10 * MINUTE);
    let mut screen = screen(Source::History("history.db".to_owned()), "");
    screen.moments = Some((moments, newest));
    let mut work = Work::new(screen, &feed);
    let reading = Arc::clone(&feed);
    let reader = thread::spawn(move || read(&reading));
    let wait_for = |work: &mut Work<'_>, part: &str| {
        for _ in 0..2_000 {
            work.take();
            if text(work).contains(part) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{part:?} is not in\n{}", text(work));
    };
    wait_for(&mut work, "2025-11-30 12:29:4");
    wait_for(&mut work, "! all 1 3 45│");
    work.step(-2);
    wait_for(&mut work, "12:09:4");
    wait_for(&mut work, "! all 1 3 30│");
    work.step(-1);
    wait_for(&mut work, "nothing has failed");
    work.step(2);
    wait_for(&mut work, "! all 1 3 45│");
    work.filter("port 1");
    wait_for(&mut work, "nothing has failed");
    // Steps end at the last moment of the span.
    work.step(1_000_000);
    assert_eq!(work.app.now(), NOON + 1_000 * MINUTE);
    drop(work);
    reader.join().expect("ends with the screen");
}

/// Prints the cost of a flood:
/// `cargo test --release -p socktrace figures -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures, and takes a while"]
fn figures() {
    const LINES: u32 = 1_000_000;
    let feed = Arc::new(Feed::default());
    let writer = Arc::clone(&feed);
    let writing = thread::spawn(move || {
        for number in 0..LINES {
            let port = u16::try_from(number % 60_000).expect("small");
            let line = line(NOON + i64::from(number) * 10_000, "reset_by_peer", port);
            writer.put(line.into_bytes().into(), 0);
        }
    });
    let mut work = Work::new(screen(Source::Replay("flood".to_owned()), ""), &feed);
    let began = Instant::now();
    let (mut lines, mut drawn, mut slowest) = (0, Instant::now(), Duration::ZERO);
    let mut drawings = 0;
    while !writing.is_finished() || work.take() {
        let batch = Instant::now();
        lines += u64::from(work.take());
        slowest = slowest.max(batch.elapsed());
        if drawn.elapsed() > Duration::from_millis(100) {
            let drawing = Instant::now();
            text(&mut work);
            slowest = slowest.max(drawing.elapsed());
            (drawn, drawings) = (Instant::now(), drawings + 1);
        }
    }
    let took = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!(
        "{LINES} lines in {took:.1} s, {:.0} a second, in {lines} batches with {drawings} drawings; \
         a key waits for {slowest:?} at most; {peak}",
        f64::from(LINES) / took
    );
}
