//! Everything that is looked up in a kernel's BTF.

use std::fmt;

use crate::{
    btf::{Btf, BtfError, Prototype},
    facts::WANTED,
    features,
    hooks::Hook,
    variant::Attach,
};

/// One thing that is looked up by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A kernel function.
    Function(&'static str),
    /// A tracepoint.
    Tracepoint(&'static str),
    /// Whether there is a struct of that name.
    Struct(&'static str),
    /// A struct and the path of a member in it.
    Member(&'static str, &'static str),
    /// All values of an enum.
    Enum(&'static str),
    /// An enum and whether it has a value of that name.
    Enumerator(&'static str, &'static str),
}

impl Subject {
    /// What the kernel has under this name, in words that change only when a program that reads it
    /// may have to: a member that moves says the same.
    ///
    /// # Errors
    /// When the kernel has nothing, or several different things, of this name.
    pub fn describe(self, btf: &Btf) -> Result<String, BtfError> {
        let present = |found: bool, what, name: &str| {
            let missing = || BtfError::Missing { what, name: name.to_owned() };
            found.then(|| "present".to_owned()).ok_or_else(missing)
        };
        match self {
            Self::Function(name) => btf.prototype(name).map(|found| words(&found)),
            Self::Tracepoint(name) => btf.tracepoint(name).map(|found| words(&found)),
            Self::Struct(name) => present(btf.has_struct(name), "struct", name),
            Self::Member(name, path) => btf.member_type(name, path),
            Self::Enum(name) => present(!btf.enumerators(name).is_empty(), "enum", name),
            Self::Enumerator(name, value) => {
                present(btf.has_enumerator(name, value), "enumerator", value)
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => write!(f, "{name}()"),
            Self::Tracepoint(name) => write!(f, "tracepoint {name}"),
            Self::Struct(name) => write!(f, "struct {name}"),
            Self::Member(name, path) => write!(f, "{name}.{path}"),
            Self::Enum(name) => write!(f, "enum {name}"),
            Self::Enumerator(_, value) => f.write_str(value),
        }
    }
}

/// Everything that is looked up, each once.
#[must_use]
pub fn all() -> Vec<Subject> {
    let mut subjects = features::SUBJECTS.to_vec();
    for variant in Hook::ALL.iter().flat_map(|hook| hook.all_variants()) {
        for program in variant.programs {
            let function = variant.function_of(program);
            subjects.push(match program.attach {
                Attach::Fentry | Attach::Fexit | Attach::Kprobe | Attach::Kretprobe => {
                    Subject::Function(function)
                }
                Attach::Tracepoint => Subject::Tracepoint(function),
            });
        }
    }
    subjects.extend(WANTED.iter().map(|wanted| Subject::Member(wanted.ty, wanted.path)));
    subjects.sort_unstable();
    subjects.dedup();
    subjects
}

fn words(prototype: &Prototype) -> String {
    format!("{} ({})", prototype.returns, prototype.parameters.join(", "))
}
