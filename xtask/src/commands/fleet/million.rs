//! Cost of storing and joining many events, and proof that none are joined by chance.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use socktrace_lab::progress;
use xtask_common::http;

use super::{collector::Collector, engine::Engine};

/// Query that generates the events.
const EVENTS: &str = include_str!("../../../fleet/million.sql");

/// Number of failures by how they are joined, and how many of them are joined with an unrelated
/// event.
const JOINED: &str = "
    SELECT joined_by, count(), countIf(other_service != concat('service-', toString(toUInt32OrZero(splitByChar('-', service)[2]) + 50)))
    FROM otel.both_ends GROUP BY joined_by ORDER BY joined_by";

const DISK: &str = "
    SELECT table, sum(rows), formatReadableSize(sum(bytes_on_disk)), round(sum(bytes_on_disk) / sum(rows))
    FROM system.parts WHERE active AND database = 'otel' AND table IN ('otel_logs', 'ends', 'rsts')
    GROUP BY table ORDER BY table";

/// Number of RSTs without a socket for which a second host sends, or receives, the same numbers.
const DOUBTFUL: u32 = 1_000;
const SENT: &str =
    "EventName = 'socktrace.reset.sent' AND NOT mapContains(LogAttributes, 'socktrace.flow')";
/// RSTs other than those.
const RECEIVED: &str = "EventName = 'socktrace.socket.failure' AND toUInt32OrZero(LogAttributes['socktrace.rst.seq']) IN (
    SELECT rst_seq FROM otel.rsts WHERE event = 'socktrace.reset.sent' AND flow = ''
    GROUP BY rst_seq HAVING count() = 1)";

/// Records in a request.
const BATCH: usize = 5_000;

/// Longest time for the Collector to process what it was sent.
const PATIENCE: Duration = Duration::from_mins(3);

/// Generates and joins events, and prints the cost.
///
/// # Errors
///
/// When an event is joined with an unrelated one.
pub(super) fn run(engine: &Engine, events: u32) -> Result<()> {
    let start = Instant::now();
    engine.query(&EVENTS.replace("{EVENTS}", &events.to_string()))?;
    progress::print(format_args!(
        "{events} events written, with both views, in {:.1?}",
        start.elapsed()
    ));
    let (quarter, eighth) = (events / 4, events / 8);
    let start = Instant::now();
    is_joined(engine, [quarter, eighth, quarter])?;
    progress::print(format_args!(
        "{} failures joined in {:.1?}",
        quarter * 2 + eighth,
        start.elapsed()
    ));
    let start = Instant::now();
    engine.query("SELECT * FROM otel.service_map")?;
    progress::print(format_args!("The map of services over them in {:.1?}", start.elapsed()));
    for line in engine.query(DISK)?.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        if let [table, rows, bytes, each] = columns[..] {
            progress::print(format_args!("{table}: {rows} rows, {bytes}, {each} bytes each"));
        }
    }
    let doubtful = DOUBTFUL.min(eighth / 4);
    repeat_elsewhere(engine, SENT, doubtful)?;
    is_joined(engine, [quarter + doubtful, eighth - doubtful, quarter])?;
    repeat_elsewhere(engine, RECEIVED, doubtful)?;
    is_joined(engine, [quarter + doubtful * 3, eighth - doubtful * 2, quarter])?;
    progress::print(format_args!("None of {} failures with two candidates joined", doubtful * 3));
    Ok(())
}

/// Checks how many failures are joined with nothing, by the number of the RST, and by the RST.
fn is_joined(engine: &Engine, [none, number, rst]: [u32; 3]) -> Result<()> {
    let joined = engine.query(JOINED)?;
    let expected =
        [format!("none\t{none}\t{none}"), format!("number\t{number}\t0"), format!("rst\t{rst}\t0")];
    ensure!(
        joined.lines().eq(expected.iter().map(String::as_str)),
        "joined wrongly:\n{joined}and not\n{}",
        expected.join("\n")
    );
    Ok(())
}

/// Inserts copies of records that satisfy `condition`, as reported by another host.
fn repeat_elsewhere(engine: &Engine, condition: &str, count: u32) -> Result<()> {
    engine.query(&format!(
        "INSERT INTO otel.otel_logs
         SELECT * REPLACE (
            mapUpdate(ResourceAttributes, map('host.name', 'elsewhere')) AS ResourceAttributes,
            mapUpdate(LogAttributes, map('socktrace.flow', '')) AS LogAttributes)
         FROM (SELECT * FROM otel.otel_logs WHERE {condition} LIMIT {count})"
    ))?;
    Ok(())
}

/// Sends events to the Collector, and prints how long they take to reach the tables.
///
/// # Errors
///
/// When some do not arrive.
pub(super) fn collect(engine: &Engine, collector: &Collector, events: u32) -> Result<()> {
    let rows = engine.query_as(
        &format!(
            "SELECT toString(toUnixTimestamp64Nano(Timestamp)) AS time, SeverityNumber AS severity,
                Body AS body, EventName AS name, ResourceAttributes AS resource, LogAttributes AS log
             FROM otel.otel_logs LIMIT {events}"
        ),
        "JSONEachRow",
    )?;
    let rows: Vec<_> = rows.lines().collect();
    let requests: Vec<_> = rows.chunks(BATCH).map(request).collect::<Result<_>>()?;
    engine.forget()?;
    let start = Instant::now();
    for request in &requests {
        http::post(
            ([127, 0, 0, 1], collector.port).into(),
            "/v1/logs",
            "application/json",
            request.as_bytes(),
        )?;
    }
    let wanted = rows.len().to_string();
    while engine.query("SELECT count() FROM otel.otel_logs")?.trim() != wanted {
        ensure!(start.elapsed() < PATIENCE, "not all of {wanted} events arrive");
        thread::sleep(Duration::from_millis(100));
    }
    progress::print(format_args!(
        "{wanted} events through the Collector in {:.1?}, which took {} MiB at most",
        start.elapsed(),
        collector.peak_memory()? / 1024
    ));
    Ok(())
}

/// Converts rows to a request, as OTLP in JSON.
fn request(rows: &[&str]) -> Result<String> {
    let attributes = |map: &Value| {
        let each = map.as_object().into_iter().flatten();
        each.map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
            .collect::<Vec<_>>()
    };
    let resource = |row: &&str| {
        let row: Value = serde_json::from_str(row).context("a row is no JSON")?;
        Ok(json!({
            "resource": { "attributes": attributes(&row["resource"]) },
            "scopeLogs": [{
                "scope": { "name": "socktrace", "version": "0.1.0" },
                "logRecords": [{
                    "timeUnixNano": row["time"],
                    "severityNumber": row["severity"],
                    "eventName": row["name"],
                    "body": { "stringValue": row["body"] },
                    "attributes": attributes(&row["log"]),
                }],
            }],
        }))
    };
    let resources = rows.iter().map(resource).collect::<Result<Vec<_>>>()?;
    Ok(json!({ "resourceLogs": resources }).to_string())
}
