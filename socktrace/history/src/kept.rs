//! A line as it lies in the file. Putting it together and reading it again takes far longer than finding it,
//! and most of it is what all lines of its shape have.

use std::ops::Range;

use super::codec::{differing, fill, unpack};

/// The shape that lines share.
#[derive(Debug)]
pub(crate) struct Shape {
    text: Vec<u8>,
    /// Fields that differ.
    keys: Vec<Box<str>>,
    /// Where their values are in the text.
    values: Vec<Range<usize>>,
}

impl Shape {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        let (keys, values) = differing(&text).into_iter().unzip();
        Self { text, keys, values }
    }
}

/// A line that is kept.
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

    /// Its time, in nanoseconds since 1970.
    #[must_use]
    pub const fn time(&self) -> i64 {
        self.time
    }

    /// The number of its shape. What two lines with the same number differ in is their time and the values
    /// of [`Self::keys`].
    #[must_use]
    pub const fn shape(&self) -> i64 {
        self.number
    }

    /// Adds the line to a buffer; whether it could be put together.
    pub fn text(&self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let whole = unpack(&self.shape.text, self.fillings, self.time, out);
        if whole.is_none() {
            out.truncate(before);
        }
        // A shape that could not be read is empty.
        whole.is_some() && out.len() > before
    }

    /// Names of the fields in which lines of this shape differ, besides the time.
    #[must_use]
    pub fn keys(&self) -> &'a [Box<str>] {
        &self.shape.keys
    }

    /// Calls for each of [`Self::keys`] with its index and its value in JSON, which is put together in a
    /// buffer. `None` when the line cannot be put together, or the callee returns that.
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
