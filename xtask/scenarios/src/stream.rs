//! Events that the stream shows only on request, and the options for them.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    event_schema,
    network::{Family, Line, Silence},
    socket::{self, Ends, Pair},
    tracer::Tracer,
};

/// `--retransmits`: a line for each timeout that the connection survives, with the RTO doubling.
pub(super) fn retransmits() -> Result<()> {
    const WANTED: u64 = 4;
    let tracer = Tracer::must_start(&["--no-metrics", "--output", "json", "--retransmits"])?;
    let line = Line::new(Family::Ipv4)?;
    let cut = line.network.cut(Silence::Drop)?;
    let written = socket::write(&line.pair.client)?;
    while u64::from(socket::retransmits(&line.pair.client)?) < WANTED {
        thread::sleep(Duration::from_millis(10));
    }
    drop(cut);

    let mut last_rto = 0;
    let lines = json(&tracer, 1)?;
    for (number, shown) in (1..=WANTED).zip(&lines) {
        let rto = shown["rto_ms"].as_u64().context("no rto_ms")?;
        ensure!(
            shown["event"] == "retransmit"
                && shown["state"] == "ESTABLISHED"
                && shown["retransmits"] == number
                && shown["unacked_bytes"] == written
                && shown["local_port"] == line.ends.local.port()
                && shown["pid"] == std::process::id(),
            "retransmission {number}: {shown}"
        );
        ensure!(rto > last_rto, "the RTO does not grow: {rto} after {last_rto}");
        last_rto = rto;
    }
    ensure!(lines.len() as u64 >= WANTED, "{} of {WANTED} are shown", lines.len());
    Ok(())
}

/// Without `--retransmits` and `--all`, neither retransmissions nor resets that concern no program
/// are shown. Both are counted.
pub(super) fn noise_is_counted_only() -> Result<()> {
    let tracer = Tracer::must_start(&["--listen", "127.0.0.1:0", "--output", "json"])?;
    let Pair { client, server } = Pair::new(Family::Ipv4.loopback())?;
    socket::fill(&client)?;
    drop(client);
    drop(server);

    let line = Line::new(Family::Ipv4)?;
    let cut = line.network.cut(Silence::Drop)?;
    socket::write(&line.pair.client)?;
    while socket::retransmits(&line.pair.client)? < 2 {
        thread::sleep(Duration::from_millis(10));
    }
    drop(cut);

    let shown = json(&tracer, 0)?;
    ensure!(shown.is_empty(), "shown: {shown:?}");
    let metrics = tracer.scrape()?;
    for series in [
        r#"socktrace_socket_errors_total{cause="reset_while_closing",direction="peer",errno="ECONNRESET",family="ipv4",protocol="tcp"}"#,
        r#"socktrace_retransmission_timeouts_total{family="ipv4",state="ESTABLISHED"}"#,
    ] {
        ensure!(metrics.get(series).is_some_and(|count| *count >= 1.0), "{series} is not counted");
    }
    Ok(())
}

/// The thresholds that distinguish resets are configurable.
pub(super) fn thresholds() -> Result<()> {
    let args = ["--no-metrics", "--output", "json", "--idle-threshold", "600"];
    let tracer = Tracer::must_start(&args)?;
    let Line { pair: Pair { client, server }, ends, .. } = Line::new(Family::Ipv4)?;
    let Ends { local, .. } = ends;
    socket::exchange(&client, &server)?;
    // Beyond the default threshold, within the configured one.
    thread::sleep(Duration::from_mins(1));
    socket::forget(server)?;
    socket::write(&client)?;
    socket::read_errno(&client)?;
    let lines = json(&tracer, 1)?;
    let reset = lines.first().context("no line")?;
    ensure!(reset["local_port"] == local.port(), "another socket: {reset}");
    ensure!(reset["cause"] == "reset_by_peer", "after 60 of 600 s: {reset}");
    Ok(())
}

fn json(tracer: &Tracer, count: usize) -> Result<Vec<Value>> {
    tracer.collect(count).iter().map(|line| event_schema::read(line)).collect()
}
