//! What is kept of records: each as its JSON line.

mod sink;

pub(crate) use sink::HistorySink;
