//! Metrics about socktrace itself.

use prometheus::process_collector::ProcessCollector;
use socktrace_ebpf::Counter;
use socktrace_otlp::Dropped;

use super::{
    families::Families,
    snapshot::{About, Snapshot},
};

pub(super) fn add(
    families: &Families,
    about: &About,
    snapshot: &Snapshot,
) -> prometheus::Result<()> {
    events(families, snapshot)?;
    otlp(families, snapshot)?;
    history(families, snapshot)?;
    overflows(families, snapshot)?;
    hooks(families, about, snapshot)?;
    maps(families, snapshot)?;
    programs(families, snapshot)?;
    families.duration(
        "socktrace_scrape_duration_seconds",
        "How long it took to read the numbers of this page.",
        snapshot.duration,
    )?;
    let build = families.gauge(
        "socktrace_build_info",
        "Always 1; the build, and the kernel it runs on.",
        &["version", "commit", "kernel"],
    )?;
    build.with_label_values(&[about.version, about.commit, &about.kernel]).set(1);
    Ok(())
}

/// Adds the metrics of the process, as other exporters have them.
pub(super) fn add_process(families: &Families) -> prometheus::Result<()> {
    families.collect(ProcessCollector::for_self())
}

fn events(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    // If nobody wants events, none can be lost.
    if snapshot.stream.is_none() && snapshot.otlp.is_none() && snapshot.history.is_none() {
        return Ok(());
    }
    let lost = families.counter(
        "socktrace_events_lost_total",
        "Events missing in the stream; they are in all other counters.",
        &["reason"],
    )?;
    let in_kernel = snapshot.counter(Counter::EventsLost);
    lost.with_label_values(&["ring_buffer_full"]).inc_by(in_kernel);
    let Some(stream) = snapshot.stream else { return Ok(()) };
    lost.with_label_values(&["reader_slow"]).inc_by(stream.dropped);
    let shown = families.counter(
        "socktrace_events_shown_total",
        "Events that the stream has shown one by one.",
        &[],
    )?;
    shown.with_label_values::<&str>(&[]).inc_by(stream.shown);
    let repeated = families.counter(
        "socktrace_events_repeated_total",
        "Events that the stream has shown by the number of them, as they came in a flood.",
        &[],
    )?;
    repeated.with_label_values::<&str>(&[]).inc_by(stream.repeated);
    Ok(())
}

fn otlp(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    let Some(numbers) = snapshot.otlp else { return Ok(()) };
    for (name, help, count) in [
        (
            "socktrace_otlp_sent_total",
            "Log records that the OpenTelemetry Collector has taken.",
            numbers.sent,
        ),
        (
            "socktrace_otlp_own_total",
            "Events of socktrace's own sockets, which are not sent.",
            numbers.own,
        ),
        (
            "socktrace_otlp_unjoined_total",
            "Events that were sent by their number, as they came in a flood: without their connections.",
            numbers.unjoined,
        ),
        (
            "socktrace_otlp_request_errors_total",
            "Requests to the OpenTelemetry Collector that failed; most are tried again.",
            numbers.failed_requests,
        ),
    ] {
        families.counter(name, help, &[])?.with_label_values::<&str>(&[]).inc_by(count);
    }
    let dropped = families.counter(
        "socktrace_otlp_dropped_total",
        "Log records that never reached the OpenTelemetry Collector, or that it did not take.",
        &["reason"],
    )?;
    for why in Dropped::ALL {
        dropped.with_label_values(&[why.id()]).inc_by(numbers.dropped(why));
    }
    for (name, help, number) in [
        (
            "socktrace_otlp_queue_records",
            "Log records that wait for the OpenTelemetry Collector.",
            numbers.queued_records,
        ),
        ("socktrace_otlp_queue_bytes", "Memory that these take.", numbers.queued_bytes),
    ] {
        let gauge = families.gauge(name, help, &[])?;
        gauge.with_label_values::<&str>(&[]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn history(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    let Some(numbers) = snapshot.history else { return Ok(()) };
    let written = families.counter(
        "socktrace_history_written_total",
        "Lines that were written to the history's file.",
        &[],
    )?;
    written.with_label_values::<&str>(&[]).inc_by(numbers.written);
    let dropped = families.counter(
        "socktrace_history_dropped_total",
        "Lines that are missing in the history.",
        &["reason"],
    )?;
    for why in socktrace_history::Dropped::ALL {
        dropped.with_label_values(&[why.id()]).inc_by(numbers.dropped(why));
    }
    for (name, help, number) in [
        (
            "socktrace_history_file_bytes",
            "Size of the history's file, and of the log beside it.",
            numbers.file_bytes,
        ),
        (
            "socktrace_history_queue_bytes",
            "Memory of lines that wait to be written to the history.",
            numbers.queued_bytes,
        ),
    ] {
        let gauge = families.gauge(name, help, &[])?;
        gauge.with_label_values::<&str>(&[]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn overflows(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    for (counter, name, help) in [
        (
            Counter::TallyOverflow,
            "socktrace_tally_overflow_total",
            "Failures counted here alone, because the map of signatures was full.",
        ),
        (
            Counter::NotesLost,
            "socktrace_stash_full_total",
            "Failures whose origin was not remembered, because the table of sockets had no room.",
        ),
        (
            Counter::ListenersFull,
            "socktrace_listeners_full_total",
            "Listeners that were not remembered, because their table had no room.",
        ),
        (
            Counter::OwnersFull,
            "socktrace_owners_full_total",
            "Sockets whose process was not remembered, because the table of sockets had no room.",
        ),
    ] {
        let metric = families.counter(name, help, &[])?;
        metric.with_label_values::<&str>(&[]).inc_by(snapshot.counter(counter));
    }
    Ok(())
}

fn hooks(families: &Families, about: &About, snapshot: &Snapshot) -> prometheus::Result<()> {
    let missed = families.counter(
        "socktrace_hook_missed_total",
        "Calls of a hooked function that the kernel kept from socktrace; no other counter has them.",
        &["hook"],
    )?;
    for (hook, count) in &snapshot.missed {
        missed.with_label_values(&[hook.id()]).inc_by(*count);
    }
    let hooks = families.gauge(
        "socktrace_hook_attached",
        "Whether the kernel function is hooked: 1, or 0 with the state telling why not.",
        &["hook", "state"],
    )?;
    for (hook, state) in about.health.iter() {
        let attached = i64::from(about.health.is_attached(hook));
        hooks.with_label_values(&[hook.id(), state.id()]).set(attached);
    }
    Ok(())
}

fn maps(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    let entries = families.gauge(
        "socktrace_map_entries",
        "Entries in use of a map that socktrace keeps in the kernel.",
        &["map"],
    )?;
    let limits = families.gauge(
        "socktrace_map_max_entries",
        "Entries that the map has room for.",
        &["map"],
    )?;
    for fill in &snapshot.maps {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        entries.with_label_values(&[fill.map]).set(number(fill.entries));
        limits.with_label_values(&[fill.map]).set(number(fill.max_entries));
    }
    if let Some(bytes) = snapshot.bpf_memory {
        let memory = families.gauge(
            "socktrace_bpf_memory_bytes",
            "Memory of the kernel that socktrace's maps and programs take.",
            &[],
        )?;
        memory.with_label_values::<&str>(&[]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn programs(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    // Not measured is not the same as zero.
    let Some(programs) = &snapshot.runs else { return Ok(()) };
    let runs = families.counter(
        "socktrace_bpf_runs_total",
        "Runs of a kernel program while kernel.bpf_stats_enabled was set.",
        &["program"],
    )?;
    let seconds = families.seconds(
        "socktrace_bpf_run_seconds_total",
        "Time that these runs took.",
        &["program"],
    )?;
    for (program, measured) in programs {
        runs.with_label_values(&[program]).inc_by(measured.count);
        seconds.with_label_values(&[program]).inc_by(measured.time.as_secs_f64());
    }
    Ok(())
}
