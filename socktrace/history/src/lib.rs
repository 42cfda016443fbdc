//! History: JSON lines in a file of bounded size and age.
//!
//! A [`Keeper`] writes queued lines on its own thread; a [`Reader`] can read at the same time. The
//! crate is independent of the lines' content, except for the names of fields that vary from line
//! to line.

mod aside;
mod codec;
mod counts;
mod keeper;
mod kept;
mod place;
mod queue;
mod reader;
mod schema;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    counts::{Counts, Dropped, Numbers},
    keeper::{Control, Keeper},
    kept::Kept,
    place::Place,
    queue::{Queue, Row},
    reader::{ReadError, Reader},
    store::{Limits, OpenError},
};
