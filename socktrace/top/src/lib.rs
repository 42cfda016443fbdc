//! Terminal screen of a host's failures: who fails, why, and how often.
//!
//! The crate has no side effects: an [`App`] takes events and keys and draws itself into a buffer
//! of any size. The caller provides the terminal and the events. Everything that an `App` stores is
//! bounded.

mod app;
mod counts;
mod detail;
mod draw;
mod event;
mod help;
mod keys;
mod model;
mod plain;
mod prompt;
mod svg;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    app::{About, App, Explained, Source, Texts},
    event::{Event, Severity},
    keys::{Action, Key},
    plain::Plain,
    svg::svg,
};
