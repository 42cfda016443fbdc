//! Keeps JSON lines in a file of bounded size and age, and reads them back.
//!
//! A [`Keeper`] writes on its own thread what a [`Queue`] has taken; a [`Reader`] reads while it does.
//! Independent of what the lines are about, but for the names of fields that differ from line to line.

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
