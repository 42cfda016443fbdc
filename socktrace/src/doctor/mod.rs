//! Examination of this host: what tracing can use, what is missing, and how to fix it.

mod checks;
mod follow_test;
mod hooks;
mod netns;
mod provoke;
mod report;
mod self_test;
mod table;
mod verdict;

pub(crate) use {report::Report, table::write as write_table};
