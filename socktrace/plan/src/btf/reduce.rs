//! Reduction of BTF to what is looked up in it.
//!
//! Functions, members and enumerators that are not listed are removed, as are all types that are no
//! longer referenced. Everything else keeps its name, kind, size and offset. Each look-up of a
//! listed subject therefore has the same result as in the complete BTF, including missing and
//! ambiguous names.

use std::collections::{HashMap, HashSet};

use super::{Btf, Type, kind, writer::Writer};
use crate::subject::Subject;

/// Position of a member or enumerator: the record of its type, and its index there.
type Place = (usize, usize);

/// The part of a kernel's BTF to keep.
struct Reduction<'btf> {
    btf: &'btf Btf,
    /// Members and enumerators to keep.
    kept: HashSet<Place>,
    /// New ids by old id.
    ids: HashMap<u32, u32>,
    /// Old ids in the order of the new ones.
    order: Vec<u32>,
}

impl Btf {
    /// BTF with only what these subjects need.
    #[must_use]
    pub fn reduced(&self, subjects: &[Subject]) -> Vec<u8> {
        let mut reduction =
            Reduction { btf: self, kept: HashSet::new(), ids: HashMap::new(), order: Vec::new() };
        for subject in subjects {
            reduction.keep(*subject);
        }
        reduction.write()
    }
}

impl Reduction<'_> {
    fn keep(&mut self, subject: Subject) {
        let btf = self.btf;
        let (ids, name) = match subject {
            Subject::Function(name) => (&btf.functions, name.to_owned()),
            Subject::Tracepoint(name) => (&btf.typedefs, Btf::tracepoint_type(name)),
            Subject::Struct(name) | Subject::Member(name, _) => (&btf.structs, name.to_owned()),
            Subject::Enum(name) | Subject::Enumerator(name, _) => (&btf.enums, name.to_owned()),
        };
        for id in btf.named(ids, &name) {
            match subject {
                Subject::Member(_, path) => {
                    self.kept.extend(btf.way(id, path).into_iter().flatten().map(|step| step.at));
                }
                Subject::Enum(_) | Subject::Enumerator(..) => {
                    let wanted = |found: &str| match subject {
                        Subject::Enumerator(_, value) => value == found,
                        _ => true,
                    };
                    if let Some(ty) = btf.type_by_id(id) {
                        self.kept.extend(
                            btf.values(&ty)
                                .enumerate()
                                .filter(|(_, (_, found))| wanted(found))
                                .map(|(index, _)| (ty.at, index)),
                        );
                    }
                }
                Subject::Function(_) | Subject::Tracepoint(_) | Subject::Struct(_) => {}
            }
            self.refer(id);
        }
    }

    /// The new id for an old one, which adds the type to the result.
    fn refer(&mut self, id: u32) -> u32 {
        // Type 0 is void, and stands in for types that do not exist.
        if self.btf.type_by_id(id).is_none() {
            return 0;
        }
        let next = u32::try_from(self.ids.len() + 1).unwrap_or(u32::MAX);
        *self.ids.entry(id).or_insert_with(|| {
            self.order.push(id);
            next
        })
    }

    fn write(mut self) -> Vec<u8> {
        let mut writer = Writer::default();
        // The list grows while records refer to further types.
        let mut next = 0;
        while let Some(&id) = self.order.get(next) {
            if let Some(ty) = self.btf.type_by_id(id) {
                self.copy(&ty, &mut writer);
            }
            next += 1;
        }
        writer.bytes()
    }

    fn copy(&mut self, ty: &Type, writer: &mut Writer) {
        let tail = self.tail(ty, writer);
        let size_or_id = match ty.kind {
            kind::PTR | kind::TYPEDEF..=kind::FUNC_PROTO | kind::TYPE_TAG => {
                self.refer(ty.size_or_id)
            }
            _ => ty.size_or_id,
        };
        let entry = match ty.kind {
            kind::STRUCT | kind::UNION | kind::ENUM64 | kind::DATASEC => Some(3),
            kind::ENUM | kind::FUNC_PROTO => Some(2),
            _ => None,
        };
        // Functions store their linkage in place of the number of entries.
        let vlen = entry.map_or(ty.vlen, |words| tail.len() / words);
        let vlen = u32::try_from(vlen).unwrap_or(u32::MAX);
        writer.add(&self.btf.name(ty.name), ty.kind, ty.kind_flag, vlen, size_or_id, &tail);
    }

    /// The data after a record, without the parts that are not kept.
    fn tail(&mut self, ty: &Type, writer: &mut Writer) -> Vec<u32> {
        let btf = self.btf;
        let entries = |words: usize| (0..ty.vlen).map(move |index| ty.tail() + 4 * words * index);
        let mut tail = Vec::new();
        match ty.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => {
                tail.extend(btf.words::<1>(ty.tail()).into_iter().flatten());
            }
            kind::ARRAY => {
                if let Some([element, index, count]) = btf.words(ty.tail()) {
                    tail.extend([self.refer(element), self.refer(index), count]);
                }
            }
            kind::STRUCT | kind::UNION => {
                for (index, at) in entries(3).enumerate() {
                    if self.kept.contains(&(ty.at, index))
                        && let Some([name, member, offset]) = btf.words(at)
                    {
                        tail.extend([writer.string(&btf.name(name)), self.refer(member), offset]);
                    }
                }
            }
            kind::ENUM | kind::ENUM64 => {
                let words = if ty.kind == kind::ENUM { 2 } else { 3 };
                for (index, at) in entries(words).enumerate() {
                    if self.kept.contains(&(ty.at, index))
                        && let Some([name, value]) = btf.words(at)
                    {
                        tail.extend([writer.string(&btf.name(name)), value]);
                        tail.extend(btf.words::<1>(at + 8).into_iter().flatten().take(words - 2));
                    }
                }
            }
            kind::FUNC_PROTO => {
                for at in entries(2) {
                    if let Some([name, parameter]) = btf.words(at) {
                        tail.extend([writer.string(&btf.name(name)), self.refer(parameter)]);
                    }
                }
            }
            _ => {}
        }
        tail
    }
}
