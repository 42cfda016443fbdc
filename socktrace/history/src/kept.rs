//! Stored lines. Reassembling and parsing a line takes far longer than finding it, and most of it
//! is the same for all lines of a shape.

use std::ops::Range;

use super::codec::{differing, fill, unpack};

/// The shape shared by lines.
#[derive(Debug)]
pub(crate) struct Shape {
    text: Vec<u8>,
    /// Fields that vary.
    keys: Vec<Box<str>>,
    /// Ranges of their values in the text.
    values: Vec<Range<usize>>,
}

impl Shape {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        let (keys, values) = differing(&text).into_iter().unzip();
        Self { text, keys, values }
    }
}

/// A stored line.
#[derive(Debug)]
pub struct Kept<'a> {
    time: i64,
    number: i64,
    shape: &'a Shape,
    fillings: &'a [u8],
}

impl<'a> Kept<'a> {
    pub(crate) const fn new(time: i64, number: i64, shape: &'a Shape, fillings: &'a [u8]) -> Self {
        Self { time, number, shape, fillings }
    }

    /// Time of the line, in nanoseconds since 1970.
    #[must_use]
    pub const fn time(&self) -> i64 {
        self.time
    }

    /// Number of its shape. Two lines with the same number differ only in their time and the values
    /// of [`Self::keys`].
    #[must_use]
    pub const fn shape(&self) -> i64 {
        self.number
    }

    /// Appends the line to a buffer; returns whether it could be reassembled.
    pub fn text(&self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let whole = unpack(&self.shape.text, self.fillings, self.time, out);
        if whole.is_none() {
            out.truncate(before);
        }
        // An unreadable shape is empty.
        whole.is_some() && out.len() > before
    }

    /// Names of the fields in which lines of this shape differ, apart from the time.
    #[must_use]
    pub fn keys(&self) -> &'a [Box<str>] {
        &self.shape.keys
    }

    /// Calls a function for each of [`Self::keys`] with its index and its JSON value, which is
    /// reassembled in a buffer. Returns `None` if that fails, or if the function does.
    pub fn values(
        &self,
        buffer: &mut Vec<u8>,
        mut take: impl FnMut(usize, &[u8]) -> Option<()>,
    ) -> Option<()> {
        let mut fillings = self.fillings;
        for (index, value) in self.shape.values.iter().enumerate() {
            buffer.clear();
            fill(&self.shape.text[value.clone()], &mut fillings, self.time, buffer)?;
            take(index, buffer)?;
        }
        fillings.is_empty().then_some(())
    }
}
