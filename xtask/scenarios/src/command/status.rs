//! Parser for the status that a traced command prints.

use anyhow::{Context as _, Result};

/// Status values of a process, by name.
pub(super) struct Status(Vec<(String, String)>);

impl Status {
    pub(super) fn of(text: &str) -> Result<Self> {
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').with_context(|| format!("what is {line}?"))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        };
        text.lines().filter(|line| !line.is_empty()).map(pair).collect::<Result<_>>().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Result<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        Ok(found.with_context(|| format!("no {name}"))?.1.as_str())
    }

    /// Whether real, effective, saved and file system ids are these.
    pub(super) fn has_ids(&self, uid: u32, gid: u32) -> bool {
        [("Uid", uid), ("Gid", gid)].into_iter().all(|(name, id)| {
            let text = self.get(name).unwrap_or_default();
            text.split_whitespace().all(|number| number == id.to_string())
        })
    }

    pub(super) fn groups(&self) -> Result<Vec<u32>> {
        let numbers = self.get("Groups")?.split_whitespace().map(str::parse);
        let mut numbers = numbers.collect::<Result<Vec<u32>, _>>()?;
        numbers.sort_unstable();
        Ok(numbers)
    }
}
