//! The processor architectures that socktrace is built and tested for, and all that differs between
//! them here.

/// An architecture. A new one is one more constant.
#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// Debian's name, and the one in options and output.
    pub name: &'static str,
    /// What Rust calls the target whose programs run on it.
    pub rust_target: &'static str,
    /// What GCC calls it: the prefix of cross compilers, and the directory of its libraries.
    pub gnu: &'static str,
    /// Where programs look for their dynamic loader.
    pub loader: &'static str,
    /// QEMU's program that emulates it, and the Debian package that has it.
    pub qemu: (&'static str, &'static str),
    /// Which machine that is.
    pub machine: &'static [&'static str],
    /// The processor, where it is emulated.
    pub processor: &'static str,
    /// What its kernel needs on the command line there.
    pub kernel_arguments: &'static str,
    /// What adds a second serial port with QEMU's character device `reports` behind it.
    pub report_port: [&'static str; 2],
    /// The first serial port, as its kernel names it.
    pub console: &'static str,
    /// The second one.
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
    // On a busy host the emulated timer is late, which Linux would take for a broken one.
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
    // The kind that servers have. Pointer authentication, which `max` would add, takes most of the
    // time where it is emulated.
    processor: "neoverse-n1",
    kernel_arguments: "",
    // The machine has one port of its own.
    report_port: ["-device", "pci-serial,chardev=reports"],
    console: "ttyAMA0",
    reports: "ttyS0",
};

impl Arch {
    /// x86 with 64 bits, whose kernels' type information is in the tree.
    pub const AMD64: &Self = &AMD64;

    /// Every architecture.
    pub const ALL: [&Self; 2] = [&AMD64, &ARM64];

    /// The one that this program is compiled for.
    pub const OWN: &Self = if cfg!(target_arch = "aarch64") { &ARM64 } else { &AMD64 };

    /// The architecture of this name.
    ///
    /// # Errors
    ///
    /// When there is none: the message has the choices.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        Self::ALL.into_iter().find(|arch| arch.name == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|arch| arch.name).collect();
            format!("architectures are {}", names.join(", "))
        })
    }

    /// Whether programs of this machine run on it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self == Self::OWN
    }

    /// The linker for its programs, where they are not this machine's own.
    #[must_use]
    pub fn cross_linker(&self) -> String {
        format!("{}-gcc", self.gnu)
    }

    /// The Debian packages with that linker and the C library to link with.
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
