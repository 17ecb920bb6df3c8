//! "Did you mean": the nearest of some names.

/// The name most like `wrong`, if one is near enough to be a slip.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|n| (strsim::damerau_levenshtein(wrong, n), n))
        .filter(|&(d, n)| d <= 2.max(n.len() / 3))
        .min_by_key(|&(d, _)| d)
        .map(|(_, n)| n)
}

/// `; did you mean `x`?`, or the list of what there is, or nothing.
pub fn hint<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(wrong, names.iter().copied()) {
        Some(n) => format!("; did you mean `{n}`?"),
        None if names.is_empty() => String::new(),
        None => format!("; there are: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(nearest("ouput", ["output", "names"]), Some("output"));
        assert_eq!(nearest("syscals", ["syscalls", "sample"]), Some("syscalls"));
        assert_eq!(nearest("zebra", ["output", "names"]), None);
        assert_eq!(hint("zebra", ["output", "names"]), "; there are: output, names");
    }
}
