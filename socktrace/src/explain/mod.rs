//! Explanations of causes, errnos, Winsock codes and SIGPIPE, for a person on call.
//!
//! The texts are plain files under `texts/`, one set a language; the tables here say what belongs
//! together. Needs no privileges and nothing of the running kernel.

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
