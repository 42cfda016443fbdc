//! Criteria of one kind: wanted and unwanted values.

use std::str::FromStr;

use socktrace_ebpf::criteria::mode;

/// Mark before an unwanted value.
const NOT: char = '!';

/// A value on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term<T> {
    value: T,
    negated: bool,
    /// The value as written.
    text: String,
}

impl<T: FromStr<Err = String>> FromStr for Term<T> {
    /// The problem, and the accepted values.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (negated, rest) = match text.strip_prefix(NOT) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Ok(Self { value: rest.parse()?, negated, text: rest.to_owned() })
    }
}

impl<T: FromStr<Err = String>> Term<T> {
    /// Parses an unwanted value, written without the mark.
    ///
    /// # Errors
    /// The problem, and the accepted values.
    pub(crate) fn unwanted(text: &str) -> Result<Self, String> {
        if text.starts_with(NOT) {
            return Err(format!("{NOT} before the value would negate --not-: drop one of the two"));
        }
        Ok(Self { value: text.parse()?, negated: true, text: text.to_owned() })
    }
}

impl<T> Term<T> {
    /// Whether the value is unwanted, and its text.
    pub(crate) fn as_written(&self) -> (bool, &str) {
        (self.negated, &self.text)
    }
}

/// Criteria of one kind: any of the wanted values, if there are some, and none of the unwanted
/// ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice<T> {
    pub(super) wanted: Vec<T>,
    pub(super) unwanted: Vec<T>,
}

impl<T: Clone> Choice<T> {
    pub(crate) fn new<'a>(terms: impl IntoIterator<Item = &'a Term<T>>) -> Self
    where
        T: 'a,
    {
        let mut choice = Self { wanted: Vec::new(), unwanted: Vec::new() };
        for Term { negated, value, .. } in terms {
            let values = if *negated { &mut choice.unwanted } else { &mut choice.wanted };
            values.push(value.clone());
        }
        choice
    }
}

impl<T> Choice<T> {
    /// Whether everything passes.
    pub(super) fn is_any(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }

    /// Whether an item passes; `is` returns whether it has a value.
    // Inlined because most kinds have no criteria, and this runs for each event.
    #[inline]
    pub(super) fn admits(&self, is: impl Fn(&T) -> bool) -> bool {
        self.is_any() || self.admits_by(&is, &is)
    }

    /// [`Self::admits`] with different tests for wanted and unwanted values.
    pub(super) fn admits_by(
        &self,
        is_wanted: impl Fn(&T) -> bool,
        is_unwanted: impl Fn(&T) -> bool,
    ) -> bool {
        !self.unwanted.iter().any(is_unwanted)
            && (self.wanted.is_empty() || self.wanted.iter().any(is_wanted))
    }

    /// Whether everything that passes here passes `other` too. `covers` returns whether its first
    /// value includes all of the second; `of_two` is set if items have two values, one of which
    /// must be wanted.
    pub(super) fn is_within(
        &self,
        other: &Self,
        covers: impl Fn(&T, &T) -> bool,
        of_two: bool,
    ) -> bool {
        let is_unwanted = |value: &T| self.unwanted.iter().any(|out| covers(out, value));
        let wanted = || self.wanted.iter().filter(|value| !is_unwanted(value));
        let is_apart = |out: &T| {
            let meets = |value: &T| covers(value, out) || covers(out, value);
            !of_two && !self.wanted.is_empty() && !wanted().any(meets)
        };
        let is_wanted = |value: &T| other.wanted.iter().any(|wanted| covers(wanted, value));
        (other.wanted.is_empty() || (!self.wanted.is_empty() && wanted().all(is_wanted)))
            && other.unwanted.iter().all(|out| is_unwanted(out) || is_apart(out))
    }

    /// The values, and whether each is wanted. Unwanted ones come last because they take
    /// precedence.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (&T, bool)> {
        let wanted = self.wanted.iter().map(|value| (value, true));
        wanted.chain(self.unwanted.iter().map(|value| (value, false)))
    }

    /// How the kernel side treats a value without a verdict.
    pub(super) fn mode(&self) -> u32 {
        match (self.wanted.is_empty(), self.unwanted.is_empty()) {
            (false, _) => mode::ONLY,
            (true, false) => mode::EXCEPT,
            (true, true) => mode::ANY,
        }
    }
}
