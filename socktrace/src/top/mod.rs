//! A terminal screen of failures, fed by this host's kernel, by a history, or by the lines of a
//! file.
//!
//! Whatever the source, events arrive as JSON lines through a [`Feed`] of bounded size.

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
