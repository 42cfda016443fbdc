//! The kernel side as the daemon sees it: loading by the plan, events and tallies.

mod attach;
pub(crate) mod clock;
mod existing;
pub(crate) mod filter;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod load;
mod memlock;
mod memory;
pub(crate) mod missed;
pub(crate) mod refusal;
pub(crate) mod stream;
pub(crate) mod tally;
pub(crate) mod trial;

pub(crate) use socktrace_plan::{btf, features, hooks, plan, subject, variant};
