//! What people and programs read: aligned lines for a terminal, JSON lines for everything else.

mod columns;
#[cfg(test)]
mod fuzz;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod names;
mod object;
pub(crate) mod reason;
mod record;
pub(crate) mod stream;
pub(crate) mod writer;

pub(crate) use record::{Decoder, Record};

#[cfg(test)]
pub(crate) use record::tests;
