//! The sink: encodes records and puts them into the queue. It never blocks.

use std::{process, sync::Arc};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use socktrace_otlp::{Dropped, Encoded, Queue};

use super::{record, resource::Resources};
use crate::{
    record::{Flood, Record},
    sinks::Sink,
};

/// Sink that passes records to an exporter.
pub(crate) struct OtlpSink {
    queue: Arc<Queue>,
    resources: Resources,
    is_redacted: bool,
    /// This process. Exporting its own failures to reach the collector would cause even more of
    /// them.
    own: u32,
    /// Events lost in the kernel because a buffer was full.
    lost_in_kernel: Missing,
    /// Records dropped here because the queue was full.
    lost_here: Missing,
}

/// Lost events: the total, and how many of them have been reported.
#[derive(Default)]
struct Missing {
    total: u64,
    said: u64,
}

impl OtlpSink {
    pub(crate) fn new(queue: Arc<Queue>, resources: Resources, is_redacted: bool) -> Self {
        Self {
            queue,
            resources,
            is_redacted,
            own: process::id(),
            lost_in_kernel: Missing::default(),
            lost_here: Missing::default(),
        }
    }

    fn push(&self, resource: &Arc<[u8]>, log: LogRecord) -> bool {
        self.queue.push(Encoded::new(resource, log))
    }
}

impl Sink for OtlpSink {
    fn takes_records(&self) -> bool {
        true
    }

    fn wants_all(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Record) {
        let process = record.process.as_ref();
        if process.is_some_and(|process| process.pid == self.own) {
            self.queue.counts().add_own(1);
            return;
        }
        let Some(log) = record::of_record(record, self.is_redacted) else { return };
        let program = process.map(|process| {
            let leader = process.leader_comm.as_deref();
            leader.unwrap_or(&process.comm)
        });
        let resource = self.resources.of(&record.service, program);
        self.push(&resource, log);
    }

    fn flood(&mut self, flood: &Flood) {
        let process = flood.process.as_ref();
        if process.is_some_and(|process| process.pid == self.own) {
            self.queue.counts().add_own(flood.count);
            return;
        }
        let Some(log) = record::of_flood(flood, self.is_redacted) else { return };
        self.queue.counts().add_unjoined(flood.count);
        let program = process.map(|process| process.comm.as_str());
        let resource = self.resources.of(&flood.service, program);
        self.push(&resource, log);
    }

    fn lost(&mut self, total: u64) {
        self.lost_in_kernel.total = total;
    }

    fn flush(&mut self) {
        self.lost_here.total = self.queue.counts().read().dropped(Dropped::QueueFull);
        let own = self.resources.own();
        for (missing, why) in
            [(&mut self.lost_in_kernel, "ring_buffer_full"), (&mut self.lost_here, "queue_full")]
        {
            let count = missing.total.saturating_sub(missing.said);
            // Retry later if the queue has no room for this record either.
            if count > 0 && self.queue.has_room() {
                self.queue.push(Encoded::new(&own, record::of_lost(count, why)));
                missing.said = missing.total;
            }
        }
    }
}
