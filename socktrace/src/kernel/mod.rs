//! The kernel side as the daemon sees it: loading by the plan, events and tallies.

mod attach;
pub(crate) mod clock;
mod existing;
pub(crate) mod filter;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod load;
mod maps;
pub(crate) mod measures;
mod memlock;
mod memory;
pub(crate) mod newcomers;
pub(crate) mod owned;
pub(crate) mod programs;
pub(crate) mod refusal;
pub(crate) mod stream;
pub(crate) mod tally;
pub(crate) mod trial;

pub(crate) use socktrace_plan::{btf, features, hooks, plan, subject, variant};
