//! The kernel side as the daemon sees it: facts, plan, loading, events and tallies.

mod attach;
pub(crate) mod btf;
mod btf_kind;
pub(crate) mod clock;
pub(crate) mod facts;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod load;
mod memlock;
pub(crate) mod missed;
pub(crate) mod plan;
pub(crate) mod refusal;
pub(crate) mod stream;
pub(crate) mod tally;
