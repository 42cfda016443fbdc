//! The serial ports of a guest, as its kernel names them.

use xtask_common::arch::Arch;

/// The one that people see.
pub(crate) fn console() -> String {
    format!("/dev/{}", Arch::OWN.console)
}

/// The one that reports go through.
pub(crate) fn reports() -> String {
    format!("/dev/{}", Arch::OWN.reports)
}
