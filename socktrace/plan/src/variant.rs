//! Variants: the programs that together serve a kernel function, and how each is attached.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// At a function's entry, through a BPF trampoline.
    Fentry,
    /// At a function's return, through a BPF trampoline.
    Fexit,
    /// At a function's entry, through a breakpoint or the kernel's optimized replacement.
    Kprobe,
    /// At a function's return, with the same mechanism. Returns are lost if too many calls are in
    /// progress at once, so this must only be used for functions that do not block.
    Kretprobe,
    /// At a tracepoint, with typed arguments.
    Tracepoint,
}

impl Attach {
    /// Name of the attach type, as in the object's section names.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Tracepoint => "tp_btf",
        }
    }
}

/// A program of the object, and how it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// How it is attached.
    pub attach: Attach,
    /// The kernel function, if it is not the variant's.
    pub function: Option<&'static str>,
    /// The parameters of that function, unless another entry of the table has them.
    pub parameters: Option<&'static [&'static str]>,
    /// Whether the program works only if it can read kernel memory.
    pub reads_memory: bool,
    /// Whether the program only makes up for calls that the kernel does not pass to a program that
    /// is already running, which happens if tasks can be preempted in it.
    pub spare: bool,
    /// Whether the program is skipped if the kernel is built without its function, with nothing
    /// hidden.
    pub if_built: bool,
}

/// Programs for a kernel function with certain parameters.
#[derive(Debug)]
pub struct Variant {
    /// Name of the function or tracepoint.
    pub function: &'static str,
    /// Types of its parameters in C without qualifiers; [`ANY`] for parameters that no program
    /// reads.
    pub parameters: &'static [&'static str],
    /// Programs in attachment order. Those that remove state come before those that store it, so
    /// that nothing is left behind while only one of them is attached.
    pub programs: &'static [Program],
}

impl Variant {
    /// Attach type of the first program.
    pub(crate) const fn attach(&self) -> Attach {
        self.programs[0].attach
    }

    /// The kernel function of a program.
    #[must_use]
    pub fn function_of(&self, program: &Program) -> &'static str {
        program.function.unwrap_or(self.function)
    }

    /// Programs that the hook needs on kernels with all their functions.
    pub fn needed(&self) -> impl Iterator<Item = &'static Program> {
        self.programs.iter().filter(|program| !program.spare)
    }

    /// Programs that the hook needs on a kernel with these functions.
    pub fn needed_of(
        &self,
        has: impl Fn(&'static str) -> bool,
    ) -> impl Iterator<Item = &'static Program> {
        let is_built =
            move |program: &&Program| !program.if_built || has(self.function_of(program));
        self.needed().filter(is_built)
    }

    /// Whether any program works only if it can read kernel memory, which lockdown=confidentiality
    /// forbids.
    #[must_use]
    pub fn reads_memory(&self) -> bool {
        self.needed().any(|program| program.reads_memory)
    }

    /// Whether the programs need BPF trampolines for functions.
    #[must_use]
    pub const fn needs_trampoline(&self) -> bool {
        matches!(self.attach(), Attach::Fentry | Attach::Fexit)
    }

    /// Whether the programs are kprobes.
    #[must_use]
    pub const fn is_kprobe(&self) -> bool {
        matches!(self.attach(), Attach::Kprobe | Attach::Kretprobe)
    }
}

/// A parameter of any type.
pub const ANY: &str = "*";

impl Program {
    const fn new(name: &'static str, attach: Attach) -> Self {
        Self {
            name,
            attach,
            function: None,
            parameters: None,
            reads_memory: false,
            spare: false,
            if_built: false,
        }
    }

    /// Attaches the program to a function other than the variant's.
    pub(crate) const fn of(self, function: &'static str) -> Self {
        Self { function: Some(function), ..self }
    }

    /// Attaches the program to another function, with these parameters.
    pub(crate) const fn at(
        self,
        function: &'static str,
        parameters: &'static [&'static str],
    ) -> Self {
        Self { parameters: Some(parameters), ..self.of(function) }
    }

    /// Requires that kernel memory can be read.
    pub(crate) const fn reading_memory(self) -> Self {
        Self { reads_memory: true, ..self }
    }

    /// Marks the program as making up for calls that others miss.
    pub(crate) const fn spare(self) -> Self {
        Self { spare: true, ..self }
    }

    /// Restricts the program to kernels that have its function.
    pub(crate) const fn if_built(self) -> Self {
        Self { if_built: true, ..self }
    }
}

/// A program at the entry of the variant's function, with a trampoline.
pub(crate) const fn entry(name: &'static str) -> Program {
    Program::new(name, Attach::Fentry)
}

/// A program at the return of the variant's function, with a trampoline.
pub(crate) const fn exit(name: &'static str) -> Program {
    Program::new(name, Attach::Fexit)
}

/// A program at the entry of the variant's function, with a kprobe.
pub(crate) const fn kprobe(name: &'static str) -> Program {
    Program::new(name, Attach::Kprobe)
}

/// A program at the return of the variant's function, with a kprobe.
pub(crate) const fn kretprobe(name: &'static str) -> Program {
    Program::new(name, Attach::Kretprobe)
}

/// A program at the variant's tracepoint.
pub(crate) const fn tracepoint(name: &'static str) -> Program {
    Program::new(name, Attach::Tracepoint)
}
