//! Recorded figures, which later runs are compared with.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use xtask_common::figure::Figure;

/// Recorded figures by kernel series.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Recorded(BTreeMap<String, KernelFigures>);

/// Figures of one kernel.
#[derive(Debug, Serialize, Deserialize)]
pub struct KernelFigures {
    /// Name of its Debian package.
    pub package: String,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Recorded {
    /// Reads the figures recorded in the tree; none if there is no file.
    ///
    /// # Errors
    ///
    /// When the file exists but cannot be read.
    pub fn read() -> Result<Self> {
        let path = path();
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} has no figures", path.display()))
    }

    /// Writes the figures to the tree.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self) -> Result<()> {
        let path = path();
        // One figure per line, so that a changed figure is a changed line.
        let text = serde_json::to_string(self)?
            .replace("\"figures\":[", "\"figures\":[\n")
            .replace("},{\"measured\"", "},\n{\"measured\"")
            .replace("}]}", "}\n]}\n");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Figures of a kernel series; empty if it has not been measured.
    #[must_use]
    pub fn of(&self, series: &str) -> &[Figure] {
        self.0.get(series).map_or(&[], |kernel| &kernel.figures)
    }

    /// Replaces the figures of a kernel series.
    pub fn set(&mut self, series: &str, package: &str, figures: Vec<Figure>) {
        let kernel = KernelFigures { package: package.to_owned(), figures };
        self.0.insert(series.to_owned(), kernel);
    }

    /// Replaces the figures of a kernel series that were measured again, and adds new ones.
    pub fn update(&mut self, series: &str, package: &str, figures: Vec<Figure>) {
        let mut all = self.of(series).to_vec();
        for figure in figures {
            let same = |old: &&mut Figure| {
                (&old.measured, &old.subject) == (&figure.measured, &figure.subject)
            };
            match all.iter_mut().find(same) {
                Some(old) => *old = figure,
                None => all.push(figure),
            }
        }
        self.set(series, package, all);
    }

    /// Figures, by kernel series.
    pub fn kernels(&self) -> impl Iterator<Item = (&str, &KernelFigures)> {
        self.0.iter().map(|(series, kernel)| (series.as_str(), kernel))
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("figures.json")
}

#[cfg(test)]
mod tests {
    use xtask_common::figure::Unit;

    use super::*;

    #[test]
    fn what_was_not_measured_again_stays() {
        let figure = |measured: &str, value| Figure {
            measured: measured.to_owned(),
            subject: "socktrace".to_owned(),
            unit: Unit::Count,
            value,
        };
        let mut recorded = Recorded::default();
        recorded.set("6.12", "linux-image", vec![figure("cost", 1), figure("start", 2)]);
        recorded.update("6.12", "linux-image", vec![figure("start", 3), figure("history", 4)]);
        let values: Vec<_> = recorded.of("6.12").iter().map(|figure| figure.value).collect();
        assert_eq!(values, [1, 3, 4]);
    }
}
