//! BTF in which types can be found by name, without further information about them.

use super::{Btf, kind, writer::Writer};
use crate::subject::Subject;

impl Btf {
    /// BTF in which these functions and tracepoints keep their ids, and all types before them are
    /// empty and nameless. It is meant for a library that searches all of BTF linearly for each of
    /// a few names.
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
        let mut writer = Writer::default();
        for (id, name) in wanted {
            if let Some(ty) = self.type_by_id(id) {
                writer.skip_to(id, kind::FWD);
                writer.add(&name, ty.kind, false, 0, 0, &[]);
            }
        }
        writer.bytes()
    }
}
