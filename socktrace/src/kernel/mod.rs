//! The kernel side as the daemon sees it: loading, attaching, events and counts. The only module
//! that uses aya, the library that loads programs.

mod attach;
pub(crate) mod clock;
pub(crate) mod events;
mod existing;
pub(crate) mod filter;
pub(crate) mod followed;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod listeners;
pub(crate) mod load;
mod loader;
mod maps;
pub(crate) mod measures;
mod memlock;
mod memory;
pub(crate) mod new_cgroups;
pub(crate) mod object;
pub(crate) mod owned;
mod preload;
pub(crate) mod probe_log;
pub(crate) mod programs;
pub(crate) mod refusal;
pub(crate) mod repeats;
pub(crate) mod tally;
pub(crate) mod trial;
mod undisturbed;
pub(crate) mod ways;

pub(crate) use socktrace_plan::{btf, features, hooks, plan, subject, variant};
pub(crate) use undisturbed::undisturbed;

/// Log target of the library that loads programs.
pub(crate) const LOADER: &str = "aya";
