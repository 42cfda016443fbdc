//! The programs of the object that serve a kernel function together, and how each is attached.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// At a function's entry, through a BPF trampoline.
    Fentry,
    /// At a function's return, through a BPF trampoline.
    Fexit,
    /// At a function's entry, through a breakpoint or what the kernel puts in its place.
    Kprobe,
    /// At a function's return, in the same way. Returns are lost when too many calls are under way at once,
    /// so it must only be used on functions that do not wait for others.
    Kretprobe,
    /// At a tracepoint, with typed arguments.
    Tracepoint,
}

impl Attach {
    /// Its name in the object's sections, as people know it.
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

/// A program of the object and how it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name in the object.
    pub name: &'static str,
    /// How it is attached.
    pub attach: Attach,
    /// The kernel function, where it is not the variant's.
    pub function: Option<&'static str>,
    /// The parameters of that function, where no other line of the table has them.
    pub parameters: Option<&'static [&'static str]>,
    /// Whether it does its work only where it can read the kernel's memory.
    pub reads_memory: bool,
    /// Whether it only makes up for calls that the kernel keeps from a program that is at work already:
    /// where tasks can be preempted in one.
    pub spare: bool,
    /// Whether it is left out where the kernel is built without its function, and nothing hidden by
    /// that.
    pub if_built: bool,
}

/// Programs for a kernel function with these parameters.
#[derive(Debug)]
pub struct Variant {
    /// The function's, or tracepoint's, name.
    pub function: &'static str,
    /// The types of its parameters as C writes them without qualifiers; [`ANY`] for those that no
    /// program reads.
    pub parameters: &'static [&'static str],
    /// Attached in this order. What takes away comes before what leaves, so that nothing is left
    /// behind while only one of them is attached.
    pub programs: &'static [Program],
}

impl Variant {
    /// How its programs are attached, as the first of them is.
    pub(crate) const fn attach(&self) -> Attach {
        self.programs[0].attach
    }

    /// The kernel function of one of them.
    #[must_use]
    pub fn function_of(&self, program: &Program) -> &'static str {
        program.function.unwrap_or(self.function)
    }

    /// Those that its hook needs, on kernels that have the functions of all.
    pub fn needed(&self) -> impl Iterator<Item = &'static Program> {
        self.programs.iter().filter(|program| !program.spare)
    }

    /// Those that its hook needs on a kernel with these functions.
    pub fn needed_of(
        &self,
        has: impl Fn(&'static str) -> bool,
    ) -> impl Iterator<Item = &'static Program> {
        let is_built =
            move |program: &&Program| !program.if_built || has(self.function_of(program));
        self.needed().filter(is_built)
    }

    /// Whether one of them does its work only where it can read the kernel's memory: not under
    /// lockdown=confidentiality.
    #[must_use]
    pub fn reads_memory(&self) -> bool {
        self.needed().any(|program| program.reads_memory)
    }

    /// Whether they need BPF trampolines for functions.
    #[must_use]
    pub const fn needs_trampoline(&self) -> bool {
        matches!(self.attach(), Attach::Fentry | Attach::Fexit)
    }

    /// Whether they are kprobes.
    #[must_use]
    pub const fn is_kprobe(&self) -> bool {
        matches!(self.attach(), Attach::Kprobe | Attach::Kretprobe)
    }
}

/// A parameter of whatever type.
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

    /// The same at another function than the variant's.
    pub(crate) const fn of(self, function: &'static str) -> Self {
        Self { function: Some(function), ..self }
    }

    /// The same at another function, which has these parameters.
    pub(crate) const fn at(
        self,
        function: &'static str,
        parameters: &'static [&'static str],
    ) -> Self {
        Self { parameters: Some(parameters), ..self.of(function) }
    }

    /// The same, for where the kernel's memory can be read.
    pub(crate) const fn reading_memory(self) -> Self {
        Self { reads_memory: true, ..self }
    }

    /// The same, to make up for calls that the others miss.
    pub(crate) const fn spare(self) -> Self {
        Self { spare: true, ..self }
    }

    /// The same, only in kernels that have its function.
    pub(crate) const fn if_built(self) -> Self {
        Self { if_built: true, ..self }
    }
}

/// At the entry of the variant's function, by a trampoline.
pub(crate) const fn entry(name: &'static str) -> Program {
    Program::new(name, Attach::Fentry)
}

/// At the return of the variant's function, by a trampoline.
pub(crate) const fn exit(name: &'static str) -> Program {
    Program::new(name, Attach::Fexit)
}

/// At the entry of the variant's function, by a kprobe.
pub(crate) const fn kprobe(name: &'static str) -> Program {
    Program::new(name, Attach::Kprobe)
}

/// At the return of the variant's function, by a kprobe.
pub(crate) const fn kretprobe(name: &'static str) -> Program {
    Program::new(name, Attach::Kretprobe)
}

/// At the variant's tracepoint.
pub(crate) const fn tracepoint(name: &'static str) -> Program {
    Program::new(name, Attach::Tracepoint)
}
