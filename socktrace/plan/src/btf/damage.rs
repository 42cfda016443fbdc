//! Targeted damage to BTF, for tests.

use super::Btf;

impl Btf {
    /// Replaces a name by another of the same length.
    pub(crate) fn renamed(&self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len(), "names lie side by side");
        let mut data = self.data.clone();
        let name = [b"\0", from.as_bytes(), b"\0"].concat();
        let strings = &data[self.strings..];
        let at = strings.windows(name.len()).position(|window| window == name).expect(from);
        let at = self.strings + at + 1;
        data[at..at + to.len()].copy_from_slice(to.as_bytes());
        Self::parse(data).expect("only a name differs")
    }

    /// Gives a function the prototype of another.
    pub(crate) fn with_prototype_of(&self, function: &str, other: &str) -> Self {
        let find = |name: &str| {
            let id = self.named(&self.functions, name).next().expect(name);
            self.type_by_id(id).expect("a type")
        };
        let mut data = self.data.clone();
        let at = find(function).at + 8;
        data[at..at + 4].copy_from_slice(&find(other).size_or_id.to_ne_bytes());
        Self::parse(data).expect("only a prototype differs")
    }

    /// Changes one byte; `None` if the result is not BTF.
    pub(crate) fn with_byte(&self, at: usize, value: u8) -> Option<Self> {
        let mut data = self.data.clone();
        *data.get_mut(at)? = value;
        Self::parse(data).ok()
    }

    /// Number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }
}
