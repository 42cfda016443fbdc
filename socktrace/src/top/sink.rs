//! The sink: encodes records and offers them to the screen. It never blocks.

use std::{io, sync::Arc};

use super::Feed;
use crate::{
    record::{Flood, Record},
    sinks::{LastLine, Sink, flood_to_json, record_to_json},
};

/// Sink that passes lines to a feed.
pub(crate) struct TopSink {
    feed: Arc<Feed>,
    last: LastLine,
}

impl TopSink {
    pub(crate) fn new(feed: Arc<Feed>) -> Self {
        Self { feed, last: LastLine::default() }
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut LastLine) -> io::Result<()>) {
        let mut line = Vec::new();
        match write(&mut line, &mut self.last) {
            Ok(()) => self.feed.offer(line.trim_ascii_end().into()),
            Err(error) => log::error!("a line could not be formatted: {error}"),
        }
    }
}

impl Sink for TopSink {
    fn takes_records(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Record) {
        self.add(|out, last| record_to_json(out, record, last));
    }

    fn flood(&mut self, flood: &Flood) {
        self.add(|out, last| flood_to_json(out, flood, last));
    }

    fn lost(&mut self, total: u64) {
        self.feed.set_lost(total);
    }
}
