//! Corrections of misspelled names, for error messages: "did you mean X?".

/// The name most similar to a word, if similar enough to be a likely correction.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.into_iter().map(|name| (distance(word, name), name));
    let near = distances.filter(|(distance, _)| is_near(word, *distance));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The edit distance, where a swap of neighboring letters counts as one.
#[must_use]
pub fn distance(word: &str, name: &str) -> usize {
    strsim::damerau_levenshtein(word, name)
}

/// Whether a distance is small enough: a third of the word's letters, and one for shorter words.
#[must_use]
pub fn is_near(word: &str, distance: usize) -> bool {
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
