//! Comparison of version numbers as Debian defines it (deb-version(7)), without epochs.

use std::cmp::Ordering;

/// Compares two versions.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() || !b.is_empty() {
        let order = compare_text(
            take(&mut a, |c| !c.is_ascii_digit()),
            take(&mut b, |c| !c.is_ascii_digit()),
        )
        .then_with(|| {
            compare_digits(
                take(&mut a, |c| c.is_ascii_digit()),
                take(&mut b, |c| c.is_ascii_digit()),
            )
        });
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Splits off the longest prefix of characters that are `wanted`.
fn take<'text>(text: &mut &'text str, wanted: fn(char) -> bool) -> &'text str {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    let (start, rest) = text.split_at(end);
    *text = rest;
    start
}

fn compare_text(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (x, y) = (a.next(), b.next());
        match weight(x).cmp(&weight(y)) {
            Ordering::Equal if x.is_none() => return Ordering::Equal,
            Ordering::Equal => {}
            order => return order,
        }
    }
}

/// A tilde sorts before the end of the text, and letters sort before everything else.
fn weight(c: Option<char>) -> i64 {
    match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i64::from(u32::from(c)),
        Some(c) => i64::from(u32::from(c)) + 256,
    }
}

fn compare_digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value_and_tildes_come_first() {
        let ordered = [
            "5.10.0-9",
            "5.10.0-46",
            "6.1.0-0.deb11.44",
            "6.1.0-7",
            "6.1.0-56",
            "6.12.9",
            "6.12.57+deb12",
            "6.12.117+deb12",
            "6.18~rc1",
            "6.18",
            "6.18.5+deb13",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            assert_eq!(compare(pair[0], pair[0]), Ordering::Equal, "{pair:?}");
        }
        assert_eq!(compare("1.0", "1.00"), Ordering::Equal);
    }
}
