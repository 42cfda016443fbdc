//! Tree of failures, with the sums of each row.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use crate::{
    Event, Plain, Severity,
    counts::Sums,
    event::Field,
    model::{Leaf, Model, OTHERS, Tally},
};

/// Fields by which the rows are grouped, outermost first.
pub(crate) type Levels = [Field; 3];

/// Names from the outermost row to one; empty for the root.
pub(crate) type Path = Vec<Plain>;

/// Sort order of rows; numbers and times are in descending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    Now,
    #[default]
    Minute,
    Quarter,
    Last,
    Name,
}

impl Sort {
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Now => Self::Minute,
            Self::Minute => Self::Quarter,
            Self::Quarter => Self::Last,
            Self::Last => Self::Name,
            Self::Name => Self::Now,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Minute => "1m",
            Self::Quarter => "15m",
            Self::Last => "last",
            Self::Name => "name",
        }
    }
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) path: Path,
    pub(crate) total: Total,
    /// Whether its child rows are shown.
    pub(crate) is_open: bool,
}

/// Sums of everything below a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    pub(crate) sums: Sums,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) severity: Severity,
}

impl Total {
    fn of(tally: &Tally, now: i64) -> Self {
        let (first, last) = tally.counts.span();
        Self { sums: tally.counts.sums(now), first, last, severity: tally.severity }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            sums: self.sums.plus(other.sums),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            severity: self.severity.max(other.severity),
        }
    }
}

/// The rows in display order. The first one is the root.
pub(crate) fn rows(model: &Model, levels: Levels, sort: Sort, open: &HashSet<Path>) -> Vec<Row> {
    let leaves: Vec<_> =
        model.leaves().map(|(leaf, tally)| (leaf, Total::of(tally, model.now))).collect();
    let Some(total) = leaves.iter().map(|(_, total)| *total).reduce(Total::plus) else {
        return Vec::new();
    };
    let mut rows = vec![Row { path: Path::new(), total, is_open: true }];
    add(&mut rows, &leaves, &levels, (sort, open), &Path::new());
    rows
}

/// Adds the rows below a path.
fn add(
    rows: &mut Vec<Row>,
    leaves: &[(&Leaf, Total)],
    levels: &[Field],
    (sort, open): (Sort, &HashSet<Path>),
    path: &Path,
) {
    let Some((field, deeper)) = levels.split_first() else { return };
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (leaf, total) in leaves {
        groups.entry(leaf.field(*field)).or_default().push((*leaf, *total));
    }
    let sum =
        |leaves: &[(&Leaf, Total)]| leaves.iter().map(|(_, total)| *total).reduce(Total::plus);
    let mut groups: Vec<_> = groups
        .into_iter()
        .filter_map(|(name, leaves)| Some((name, sum(&leaves)?, leaves)))
        .collect();
    // Stable: rows with equal numbers remain sorted by name.
    groups.sort_by_key(|(_, Total { sums, last, .. }, _)| {
        let Sums { now, minute, quarter } = *sums;
        Reverse(match sort {
            Sort::Now => (now, minute, quarter),
            Sort::Minute => (minute, quarter, 0),
            Sort::Quarter => (quarter, 0, 0),
            Sort::Last => (last.unsigned_abs(), 0, 0),
            Sort::Name => (0, 0, 0),
        })
    });
    for (name, total, leaves) in groups {
        let mut path = path.clone();
        path.push(name.clone());
        let is_open = !deeper.is_empty() && open.contains(&path);
        rows.push(Row { path: path.clone(), total, is_open });
        if is_open {
            add(rows, &leaves, deeper, (sort, open), &path);
        }
    }
}

/// Whether an event is below a path.
pub(crate) fn is_below(event: &Event, levels: Levels, path: &Path) -> bool {
    // Merged combinations may contain any event.
    levels.iter().zip(path).all(|(field, name)| name.as_str() == OTHERS || field.of(event) == name)
}
