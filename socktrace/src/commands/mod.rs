//! What socktrace can be told to do.

pub(crate) mod explain;
pub(crate) mod trace;
