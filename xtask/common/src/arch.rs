//! Processor architectures that socktrace is built and tested for, and everything here that differs
//! between them.

/// An architecture. To add one, add a constant.
#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// Debian's name for it, also used in options and output.
    pub name: &'static str,
    /// Rust's target for programs that run on it.
    pub rust_target: &'static str,
    /// GCC's name for it: the prefix of cross compilers, and the directory of its libraries.
    pub gnu: &'static str,
    /// Path at which programs look for their dynamic loader.
    pub loader: &'static str,
    /// QEMU's program that emulates it, and the Debian package with that program.
    pub qemu: (&'static str, &'static str),
    /// Options of QEMU that choose the machine.
    pub machine: &'static [&'static str],
    /// Model of the processor when it is emulated.
    pub processor: &'static str,
    /// Arguments that its kernel needs on that machine.
    pub kernel_arguments: &'static str,
    /// Options that add a second serial port, connected to QEMU's character device `reports`.
    pub report_port: [&'static str; 2],
    /// First serial port, as the kernel names it.
    pub console: &'static str,
    /// Second serial port, as the kernel names it.
    pub reports: &'static str,
}

const AMD64: Arch = Arch {
    name: "amd64",
    rust_target: "x86_64-unknown-linux-gnu",
    gnu: "x86_64-linux-gnu",
    loader: "/lib64/ld-linux-x86-64.so.2",
    qemu: ("qemu-system-x86_64", "qemu-system-x86"),
    machine: &[],
    processor: "max",
    // On a busy host the emulated timer is late, and Linux would take it for a broken one.
    kernel_arguments: "no_timer_check",
    report_port: ["-serial", "chardev:reports"],
    console: "ttyS0",
    reports: "ttyS1",
};

const ARM64: Arch = Arch {
    name: "arm64",
    rust_target: "aarch64-unknown-linux-gnu",
    gnu: "aarch64-linux-gnu",
    loader: "/lib/ld-linux-aarch64.so.1",
    qemu: ("qemu-system-aarch64", "qemu-system-arm"),
    machine: &["-machine", "virt,gic-version=max"],
    // A processor as servers have it. `max` would add pointer authentication, whose emulation takes
    // most of the time.
    processor: "neoverse-n1",
    kernel_arguments: "",
    // The machine has only one port.
    report_port: ["-device", "pci-serial,chardev=reports"],
    console: "ttyAMA0",
    reports: "ttyS0",
};

impl Arch {
    /// 64-bit x86, the architecture of the kernels whose BTF is in the tree.
    pub const AMD64: &Self = &AMD64;

    /// Every architecture.
    pub const ALL: [&Self; 2] = [&AMD64, &ARM64];

    /// The architecture that this program is compiled for.
    pub const OWN: &Self = if cfg!(target_arch = "aarch64") { &ARM64 } else { &AMD64 };

    /// Looks up an architecture by its name.
    ///
    /// # Errors
    ///
    /// When the name is unknown; the message lists the choices.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        Self::ALL.into_iter().find(|arch| arch.name == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|arch| arch.name).collect();
            format!("architectures are {}", names.join(", "))
        })
    }

    /// Whether programs for it run on this machine.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self == Self::OWN
    }

    /// Linker for its programs when cross-compiling.
    #[must_use]
    pub fn cross_linker(&self) -> String {
        format!("{}-gcc", self.gnu)
    }

    /// Debian packages with that linker and a C library to link with.
    #[must_use]
    pub fn cross_packages(&self) -> [String; 2] {
        [format!("gcc-{}", self.gnu.replace('_', "-")), format!("libc6-dev-{}-cross", self.name)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_architectures_are_answered_with_the_choices() {
        assert_eq!(Arch::named("arm64"), Ok(&ARM64));
        assert_eq!(Arch::named("mips"), Err("architectures are amd64, arm64".into()));
    }

    #[test]
    fn cross_compilers_are_named_as_in_debian() {
        assert_eq!(AMD64.cross_packages(), ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"]);
        assert_eq!(ARM64.cross_packages(), ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]);
    }
}
