//! A screen of what fails on a host: who, why, and how often.
//!
//! Pure: an [`App`] takes events and keys and draws itself into a buffer of any size. Whoever has a
//! terminal and events feeds it. Everything that it keeps is bounded.

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
