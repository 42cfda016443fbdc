//! Tests with files.

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::{aside::log_of, store::Store, *};

const LARGE: Limits = Limits { bytes: 256 << 20, age: Duration::from_hours(14 * 24) };
const SECOND: i64 = 1_000_000_000;

/// The time of the first line.
static BEGIN: LazyLock<i64> = LazyLock::new(|| now() - 100_000 * SECOND);

struct Home {
    _directory: TempDir,
    file: PathBuf,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("deeper/history.db");
        Self { _directory: directory, file }
    }

    fn place(&self) -> Place {
        Place { file: self.file.clone(), group: None }
    }

    fn open(&self) -> Store {
        Store::open(&self.place()).expect("opened")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut reader = Reader::open(&self.file).expect("opened");
        let read = reader.read(0..i64::MAX, |line| {
            lines.push(String::from_utf8(line.to_vec()).expect("text"));
            ControlFlow::Continue(())
        });
        read.expect("read");
        lines
    }

    /// Names of the files set aside.
    fn aside(&self) -> Vec<String> {
        let directory = fs::read_dir(self.file.parent().expect("one")).expect("read");
        let names = directory.map(|entry| entry.expect("read").file_name());
        let names = names.map(|name| name.into_string().expect("text"));
        names.filter(|name| name.starts_with("history.db.") && !name.ends_with("lock")).collect()
    }
}

/// A line of typical length for a failure.
fn row(number: i64) -> Row {
    let time = *BEGIN + number * SECOND;
    let stamp = format!("{:.9}", jiff::Timestamp::from_nanosecond(time.into()).expect("a time"));
    let port = number % 60_000;
    let service = number % 20;
    let zeros: Vec<_> = (0..25).map(|field| format!(",\"number_{field}\":0")).collect();
    let nulls: Vec<_> = (0..20).map(|field| format!(",\"missing_{field}\":null")).collect();
    let (zeros, nulls) = (zeros.concat(), nulls.concat());
    let line = format!(
        "{{\"time\":\"{stamp}\",\"event\":\"failure\",\"local\":\"10.0.0.7\",\"local_port\":443,\
         \"remote\":\"2001:db8:85a3:8d3::{port:x}\",\"remote_port\":{port},\"pid\":{number},\
         \"service\":\"web-{service}.service\"{zeros}{nulls},\"flow\":\"{number:016x}\",\
         \"reason\":\"{port} bytes unacknowledged after 15 retransmissions in 15 min 39 s\",\
         \"advice\":\"ss -tinp dst [2001:db8:85a3:8d3::{port:x}]:{port} shows them\"}}"
    );
    Row { time, line: line.into_bytes() }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262") / SECOND * SECOND
}

fn text(row: &Row) -> String {
    String::from_utf8(row.line.clone()).expect("text")
}

fn rows(numbers: std::ops::Range<i64>) -> Vec<Row> {
    numbers.map(row).collect()
}

#[test]
fn lines_come_back_in_the_order_of_their_times() {
    let home = Home::new();
    let mut store = home.open();
    let all = rows(0..5_000);
    store.add(&all[2_500..]).expect("added");
    store.add(&all[..2_500]).expect("added");
    // While the store is open, and afterwards.
    let lines: Vec<_> = all.iter().map(text).collect();
    assert_eq!(home.lines(), lines);
    drop(store);
    assert_eq!(home.lines(), lines);
    let mut some = 0;
    let mut reader = Reader::open(&home.file).expect("opened");
    let span = all[10].time..all[20].time;
    let count = |line: &[u8]| {
        assert_eq!(line, all[10 + some].line);
        some += 1;
        if some == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    reader.read(span, count).expect("read");
    assert_eq!(some, 7);
}

#[test]
fn a_line_takes_little_room() {
    let home = Home::new();
    let mut store = home.open();
    let count = 20_000;
    let all = rows(0..count);
    all.chunks(1_000).for_each(|rows| store.add(rows).expect("added"));
    drop(store);
    let bytes = i64::try_from(fs::metadata(&home.file).expect("there").size()).expect("small");
    assert!(all[0].line.len() > 1_000);
    assert!(bytes / count < 300, "{} bytes a line", bytes / count);
}

#[test]
fn who_may_read_is_said_by_mode() {
    let home = Home::new();
    let mut store = home.open();
    store.add(&rows(0..1)).expect("added");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&home.file), 0o640);
    assert_eq!(mode(&log_of(&home.file)), 0o640);
    assert_eq!(mode(home.file.parent().expect("one")), 0o750);
}

#[test]
fn size_is_bounded_and_the_oldest_go() {
    let home = Home::new();
    let mut store = home.open();
    let limits = Limits { bytes: 9 << 20, ..LARGE };
    let (count, mut first) = (60_000, 0);
    let all = rows(0..count);
    for rows in all.chunks(1_000) {
        store.add(rows).expect("added");
        if store.is_larger_than(limits) {
            store.prune(limits, now()).expect("pruned");
            first += 1;
        }
        assert!(store.bytes() < limits.bytes + (2 << 20), "{}", store.bytes());
    }
    assert!(first > 1);
    let lines = home.lines();
    assert!(lines.len() > 10_000 && lines.len() < all.len(), "{}", lines.len());
    assert_eq!(lines, all[all.len() - lines.len()..].iter().map(text).collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_goes_with_its_shapes() {
    let home = Home::new();
    let mut store = home.open();
    let all = rows(0..100);
    store.add(&all).expect("added");
    let limits = Limits { age: Duration::from_secs(10), ..LARGE };
    store.prune(limits, all[99].time).expect("pruned");
    assert_eq!(home.lines().len(), 11);
    // A line of another shape, two days later.
    let late = Row { time: all[99].time + 2 * 86_400 * SECOND, line: b"{\"a\":1}".to_vec() };
    store.add(std::slice::from_ref(&late)).expect("added");
    store.prune(limits, late.time).expect("pruned");
    assert_eq!(home.lines(), [text(&late)]);
    // Cached shapes that were removed must not be used.
    store.add(&all[99..]).expect("added");
    assert_eq!(home.lines(), [text(&all[99]), text(&late)]);
}

#[test]
fn a_second_writer_is_refused() {
    let home = Home::new();
    let first = home.open();
    let second = Store::open(&home.place());
    assert!(matches!(second, Err(OpenError::Taken(_))), "{second:?}");
    drop(first);
    home.open();
}

#[test]
fn a_damaged_file_is_set_aside() {
    let home = Home::new();
    fs::create_dir(home.file.parent().expect("one")).expect("made");
    fs::write(&home.file, "no database, however long it may be ".repeat(1_000)).expect("written");
    let mut store = home.open();
    store.add(&rows(0..1)).expect("added");
    let aside = home.aside();
    assert!(aside.len() == 1 && aside[0].contains(".damaged-"), "{aside:?}");
    assert_eq!(home.lines().len(), 1);
}

#[test]
fn a_file_that_is_damaged_while_it_is_written_is_replaced() {
    let home = Home::new();
    let mut store = home.open();
    store.add(&rows(0..3_000)).expect("added");
    drop(store);
    let length = fs::metadata(&home.file).expect("there").len();
    let queue = Arc::new(Queue::new(Arc::default()));
    let (keeper, control) = Keeper::new(Arc::clone(&queue), home.place(), LARGE);
    // Everything but the header.
    let mut bytes = fs::read(&home.file).expect("read");
    bytes[4_096..].fill(0xa5);
    fs::write(&home.file, &bytes).expect("written");
    assert_eq!(bytes.len() as u64, length);
    thread::spawn(|| keeper.run());
    queue.push(row(7_000));
    let numbers = control.finish();
    assert_eq!((numbers.written, numbers.dropped), (1, [0; 3]));
    assert_eq!(home.aside().len(), 1);
    assert_eq!(home.lines(), [text(&row(7_000))]);
}

#[test]
fn another_version_is_set_aside_and_never_read() {
    for (sql, why) in [
        ("PRAGMA user_version = 0", "other-version"),
        ("PRAGMA user_version = 77", "other-version"),
        ("PRAGMA application_id = 5", "foreign"),
    ] {
        let home = Home::new();
        drop(home.open());
        let connection = rusqlite::Connection::open(&home.file).expect("opened");
        connection.execute_batch(sql).expect("changed");
        drop(connection);
        let read = Reader::open(&home.file);
        assert!(matches!(read, Err(ReadError::Foreign(_))), "{read:?}");
        drop(home.open());
        let aside = home.aside();
        assert!(aside.len() == 1 && aside[0].contains(why), "{aside:?}");
        assert_eq!(home.lines().len(), 0);
    }
}

#[test]
fn what_is_missing_is_said() {
    let home = Home::new();
    let read = Reader::open(&home.file);
    assert!(matches!(read, Err(ReadError::Missing(_))), "{read:?}");
}

#[test]
fn a_full_disk_costs_lines_and_no_more() {
    let home = Home::new();
    let mut store = home.open();
    store.add(&rows(0..100)).expect("added");
    store.limit_pages(Some(16));
    let many = rows(100..3_000);
    let error = store.add(&many).expect_err("no room");
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    assert_eq!(home.lines().len(), 100);
    store.limit_pages(None);
    store.add(&many).expect("added");
    assert_eq!(home.lines().len(), 3_000);
}

#[test]
fn a_reader_that_stays_does_not_keep_the_writer() {
    let home = Home::new();
    let mut store = home.open();
    store.add(&rows(0..10_000)).expect("added");
    let mut reader = Reader::open(&home.file).expect("opened");
    let mut next = 10_000;
    let mut seen = 0;
    let read = reader.read(0..i64::MAX, |_| {
        if seen % 100 == 0 && seen < 10_000 {
            store.add(&rows(next..next + 100)).expect("added");
            next += 100;
        }
        seen += 1;
        ControlFlow::Continue(())
    });
    read.expect("read");
    // Including the lines that arrived meanwhile.
    assert_eq!(seen, 20_000);
    assert!(fs::metadata(log_of(&home.file)).expect("there").len() < 6 << 20);
}

/// A reader in another program that never finishes.
#[test]
fn a_reader_that_never_ends_does_not_have_the_log_grow() {
    const MOST: u64 = 34 << 20;

    let home = Home::new();
    let mut store = home.open();
    store.add(&rows(0..10)).expect("added");
    let reader = rusqlite::Connection::open(&home.file).expect("opened");
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").expect("read");
    let log_bytes = || fs::metadata(log_of(&home.file)).expect("there").len();
    let mut next = 10;
    let refused = loop {
        if let Err(error) = store.add(&rows(next..next + 1_000)) {
            break error;
        }
        next += 1_000;
        assert!(log_bytes() < MOST, "{}", log_bytes());
    };
    assert_eq!(refused.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    store.prune(Limits { bytes: 16 << 20, ..LARGE }, now()).expect("pruned");
    assert!(log_bytes() < MOST, "{}", log_bytes());
    reader.execute_batch("COMMIT").expect("ended");
    store.add(&rows(next..next + 10)).expect("added");
    assert!(log_bytes() < MOST / 4, "{}", log_bytes());
    let lines = home.lines();
    assert_eq!(lines.len(), usize::try_from(next + 10).expect("small"));
}

#[test]
fn a_file_that_was_deleted_is_begun_again() {
    let home = Home::new();
    let queue = Arc::new(Queue::new(Arc::default()));
    let (mut keeper, _control) = Keeper::new(queue, home.place(), LARGE);
    keeper.keep(&rows(0..5));
    fs::remove_dir_all(home.file.parent().expect("one")).expect("removed");
    keeper.keep(&rows(5..7));
    assert_eq!(home.lines(), rows(5..7).iter().map(text).collect::<Vec<_>>());
}

#[test]
fn limits_change_while_it_writes() {
    let home = Home::new();
    let queue = Arc::new(Queue::new(Arc::default()));
    let (mut keeper, control) = Keeper::new(queue, home.place(), LARGE);
    keeper.keep(&rows(0..100));
    keeper.prune();
    assert_eq!(home.lines().len(), 100);
    // All lines are older than an hour.
    control.change(Limits { age: Duration::from_hours(1), ..LARGE });
    keeper.prune();
    assert_eq!(home.lines().len(), 0);
}

#[test]
fn a_purge_leaves_nothing_and_the_writer_goes_on() {
    let home = Home::new();
    let mut store = home.open();
    let all = rows(0..100);
    store.add(&all).expect("added");
    let count = Reader::purge(&home.file, all[10].time..i64::MAX).expect("purged");
    assert_eq!((count, home.lines().len()), (90, 10));
    assert_eq!(Reader::purge(&home.file, 0..i64::MAX).expect("purged"), 10);
    let has = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(8).any(|bytes| bytes == b"2001:db8")
    };
    assert!(!has(&home.file) && !has(&log_of(&home.file)), "something is left");
    store.add(&all[..5]).expect("added");
    assert_eq!(home.lines(), all[..5].iter().map(text).collect::<Vec<_>>());
}

#[test]
fn a_keeper_goes_on_without_a_place() {
    let home = Home::new();
    // A file in place of the directory.
    fs::write(home.file.parent().expect("one"), "").expect("written");
    let queue = Arc::new(Queue::new(Arc::default()));
    let (keeper, control) = Keeper::new(Arc::clone(&queue), home.place(), LARGE);
    thread::spawn(|| keeper.run());
    queue.push(row(1));
    let numbers = control.finish();
    assert_eq!((numbers.written, numbers.dropped), (0, [0, 1, 0]));
}

#[test]
fn what_waits_is_written_in_the_end_and_within_a_second() {
    let home = Home::new();
    let queue = Arc::new(Queue::new(Arc::default()));
    let (keeper, control) = Keeper::new(Arc::clone(&queue), home.place(), LARGE);
    thread::spawn(|| keeper.run());
    queue.push(row(1));
    let began = std::time::Instant::now();
    while home.lines().is_empty() && began.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(home.lines(), [text(&row(1))]);
    (2..2_500).for_each(|number| queue.push(row(number)));
    assert_eq!(control.finish().written, 2_499);
    assert!(!log_of(&home.file).exists(), "it was closed");
    assert_eq!(home.lines().len(), 2_499);
}
