//! Meaning of socket failures: from the kernel's signature to errno, cause and advice.
//!
//! All functions are pure and work on plain data, independent of how signatures are collected and
//! where findings go. The daemon's stream applies [`diagnose()`] to each event and its exporter to
//! each counted signature, so the two cannot disagree. The scenarios refer to expected causes by
//! type.

pub mod advice;
mod causes;
mod delivered;
mod diagnose;
mod errno;
mod finding;
mod parse;
mod sent_reset;
mod socket;
mod sockopt;
mod timer;
mod unix;

pub use causes::{Cause, Errnos, Group, Row};
pub use delivered::delivered;
pub use diagnose::diagnose;
pub use errno::Errno;
pub use finding::{Call, Diagnosis, Direction, Finding, Severity};
pub use sent_reset::{WhySent, why_sent};
pub use socket::{domain_name, socket_protocol_name, type_name};
pub use sockopt::{level_name, option_name};
pub use timer::Timer;
