//! What socktrace can be told to do.

pub(crate) mod trace;
