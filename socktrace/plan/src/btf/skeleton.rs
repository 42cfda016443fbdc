//! BTF in which types are found by name and nothing else of them is told.

use super::{Btf, kind, writer::Writer};
use crate::subject::Subject;

impl Btf {
    /// BTF in which these functions and tracepoints have the ids that they have here, and every other
    /// type is an empty one without a name: for a library that looks a few up in all of it, each time
    /// from the first on.
    #[must_use]
    pub fn skeleton(&self, subjects: impl IntoIterator<Item = Subject>) -> Vec<u8> {
        let mut wanted = Vec::new();
        for subject in subjects {
            let (names, name) = match subject {
                Subject::Function(name) => (&self.functions, name.to_owned()),
                Subject::Tracepoint(name) => (&self.typedefs, Self::tracepoint_type(name)),
                _ => continue,
            };
            wanted.extend(self.named(names, &name).map(|id| (id, name.clone())));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut wanted = wanted.into_iter().peekable();
        let mut writer = Writer::default();
        for id in (1..).take(self.types.len()) {
            match (wanted.next_if(|(next, _)| *next == id), self.type_by_id(id)) {
                (Some((_, name)), Some(ty)) => writer.add(&name, ty.kind, false, 0, 0, &[]),
                _ => writer.add("", kind::FWD, false, 0, 0, &[]),
            };
        }
        writer.bytes()
    }
}
