//! The serial ports of a guest, as its kernel names them.

use xtask_common::arch::Arch;

/// Device of the console, which people see.
pub(crate) fn console() -> String {
    format!("/dev/{}", Arch::OWN.console)
}

/// Device that carries reports.
pub(crate) fn reports() -> String {
    format!("/dev/{}", Arch::OWN.reports)
}
