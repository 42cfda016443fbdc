//! Descriptions of types: prototypes as in C, members by what a program reads.

use super::{Btf, MAX_DEPTH, Prototype, Type, kind};

impl Btf {
    pub(super) fn describe_prototype(&self, proto: &Type) -> Prototype {
        let parameters = (0..proto.vlen)
            .filter_map(|index| self.words(proto.tail() + index * 8))
            .map(|[_, id]| self.describe(id))
            .collect();
        Prototype { parameters, returns: self.describe(proto.size_or_id) }
    }

    /// Describes a member's type by what a program reads: pointers by their target, everything else
    /// by kind and size.
    pub(super) fn describe_member(&self, id: u32, bit_field: Option<u32>) -> Option<String> {
        let ty = self.unqualified(id)?;
        if let Some(bits) = bit_field {
            return Some(format!("bit-field of {bits}"));
        }
        let word = match ty.kind {
            kind::PTR => return Some(self.describe(id)),
            kind::ARRAY => "array",
            kind::STRUCT => "struct",
            kind::UNION => "union",
            kind::ENUM | kind::ENUM64 => "enum",
            _ => "number",
        };
        match self.size_of(id, 0)? {
            1 => Some(format!("{word} of 1 byte")),
            size => Some(format!("{word} of {size} bytes")),
        }
    }

    /// A type in C syntax, without qualifiers.
    fn describe(&self, id: u32) -> String {
        let mut suffix = String::new();
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let Some(ty) = self.type_by_id(id) else {
                // Type 0 is void.
                return format!("void{suffix}");
            };
            let name = self.name(ty.name);
            match ty.kind {
                kind::PTR => {
                    if suffix.is_empty() {
                        suffix.push(' ');
                    }
                    suffix.push('*');
                    id = ty.size_or_id;
                }
                kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.size_or_id;
                }
                kind::STRUCT => return format!("struct {name}{suffix}"),
                kind::UNION => return format!("union {name}{suffix}"),
                kind::ENUM | kind::ENUM64 => return format!("enum {name}{suffix}"),
                _ => return format!("{name}{suffix}"),
            }
        }
        format!("?{suffix}")
    }
}
