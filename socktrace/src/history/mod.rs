//! History of records, stored as JSON lines.

mod lines;
mod sink;

pub(crate) use {lines::Lines, sink::HistorySink};
