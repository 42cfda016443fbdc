//! Names that somebody may have meant who wrote another.

/// The name most like a word, if one is like it enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.into_iter().map(|name| (distance(word, name), name));
    let near = distances.filter(|(distance, _)| is_near(word, *distance));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// In how many letters they differ.
pub(crate) fn distance(word: &str, name: &str) -> usize {
    strsim::damerau_levenshtein(word, name)
}

/// Whether so many letters are few enough: one in three of the word, and one in a shorter word.
pub(crate) fn is_near(word: &str, distance: usize) -> bool {
    distance <= (word.len() / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_if_it_is_near() {
        let names = ["output", "listen", "on-full"];
        assert_eq!(nearest("outptu", names), Some("output"));
        assert_eq!(nearest("listn", names), Some("listen"));
        assert_eq!(nearest("qqqqqq", names), None);
        assert_eq!(nearest("x", ["y", "yy"]), Some("y"));
    }
}
