//! Explanations of causes, errnos, Winsock codes and SIGPIPE, for the person on call.
//!
//! The texts are plain files under `texts/`, one set per language; the tables here link topics to
//! each other. Explanations need no privileges and read nothing from the running kernel.

mod language;
mod layout;
#[cfg(test)]
mod listed;
mod numbers;
mod page;
mod texts;
mod topic;
mod winsock;

pub(crate) use language::Language;
pub(crate) use page::{advice, overview, page, unknown};
pub(crate) use topic::{Topic, Unknown};
