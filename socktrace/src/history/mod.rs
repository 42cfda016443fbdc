//! What is kept of records: each as its JSON line.

mod lines;
mod sink;

pub(crate) use {lines::Lines, sink::HistorySink};
