//! A screen of what fails, on a terminal: fed by this host's kernel, by a history, or by lines of a file.
//!
//! Whatever the source, events come as lines in JSON, by a [`Feed`] of bounded size.

mod events;
mod feed;
#[cfg(test)]
mod picture;
mod screen;
mod sink;
mod sources;
mod terminal;
#[cfg(test)]
mod tests;

use self::sink::TopSink;
pub(crate) use self::{
    feed::Feed,
    screen::{Clock, Running, Screen},
    sources::{History, Moments, history, newest, replay},
};
