//! Names looked up in a kernel's BTF.

use std::fmt;

use crate::{
    btf::{Btf, BtfError, Prototype},
    facts::WANTED,
    features,
    hooks::Hook,
    variant::Attach,
};

/// A name to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A kernel function.
    Function(&'static str),
    /// A tracepoint.
    Tracepoint(&'static str),
    /// A struct, and whether it exists.
    Struct(&'static str),
    /// A struct, and the path of a member in it.
    Member(&'static str, &'static str),
    /// An enum with all its values.
    Enum(&'static str),
    /// An enum, and whether it has a value with this name.
    Enumerator(&'static str, &'static str),
}

impl Subject {
    /// Describes what the kernel has under this name. The text changes only if a program that reads
    /// it may have to change: a member at another offset has the same text.
    ///
    /// # Errors
    /// When the kernel has nothing with this name, or several different things.
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

/// Every subject, each listed once.
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
