//! Reads stored lines. Only the first line of each shape is parsed in full; of the others, only the
//! values that differ are.

use std::collections::{HashMap, hash_map::Entry};

use jiff::Timestamp;
use socktrace_history::Kept;

use crate::record::{Line, Setter};

/// Reader of stored lines.
#[derive(Default)]
pub(crate) struct Lines {
    seen: HashMap<i64, Seen>,
    buffer: Vec<u8>,
}

/// The last line read of a shape.
struct Seen {
    line: Line,
    /// Whether the line's time equals the time it is stored under.
    has_time: bool,
    /// Setters of the varying fields; `None` for fields that nobody reads.
    setters: Vec<Option<Setter>>,
}

impl Lines {
    /// Reads a line; `None` if it is not one of socktrace's.
    pub(crate) fn read(&mut self, kept: &Kept<'_>) -> Option<&Line> {
        let time = Timestamp::from_nanosecond(kept.time().into()).ok();
        let seen = match self.seen.entry(kept.shape()) {
            Entry::Occupied(seen) => {
                let Seen { line, has_time, setters } = seen.into_mut();
                if *has_time {
                    line.time = time;
                }
                kept.values(&mut self.buffer, |index, value| match setters.get(index)? {
                    Some(set) => set(line, value),
                    None => Some(()),
                })?;
                return Some(line);
            }
            Entry::Vacant(place) => place,
        };
        self.buffer.clear();
        let line = kept.text(&mut self.buffer).then(|| Line::read(&self.buffer).ok()).flatten()?;
        let setters = kept.keys().iter().map(|key| Line::setter(key)).collect();
        let has_time = line.time == time;
        Some(&seen.insert(Seen { line, has_time, setters }).line)
    }
}
