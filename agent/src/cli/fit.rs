//! Text within a width, measured in terminal columns.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Stands for what was left out.
pub(super) const ELLIPSIS: &str = "…";

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Which part of a text tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Its beginning.
    Start,
    /// Its end: of a path, the file's name and as much before it as fits.
    End,
    /// Both.
    Ends,
}

/// The text, shortened with an ellipsis where it is wider than `columns`.
pub(super) fn fit(text: &str, columns: usize, keep: Keep) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(ELLIPSIS));
    if columns == 0 {
        return String::new();
    }
    match keep {
        Keep::Start => format!("{}{ELLIPSIS}", prefix(text, room)),
        Keep::End => format!("{ELLIPSIS}{}", suffix(text, room)),
        Keep::Ends => format!("{}{ELLIPSIS}{}", prefix(text, room - room / 2), suffix(text, room / 2)),
    }
}

/// The text with spaces behind it, up to `columns`.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{:missing$}", "")
}

/// The longest beginning that fits. A sequence may be wider than the sum of its characters (an emoji selector), so
/// the whole is measured again.
fn prefix(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let mut end = 0;
    for (at, character) in text.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        end = at + character.len_utf8();
    }
    let mut fitting = text.get(..end).unwrap_or_default();
    while width(fitting) > columns {
        let mut characters = fitting.chars();
        characters.next_back();
        fitting = characters.as_str();
    }
    fitting
}

/// The longest end that fits, not beginning with a mark that would combine with what stands before it.
fn suffix(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let mut start = text.len();
    for (at, character) in text.char_indices().rev() {
        taken += character.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        start = at;
    }
    let mut fitting = text.get(start..).unwrap_or_default();
    let combines = |text: &str| text.chars().next().is_some_and(|first| first.width().unwrap_or(0) == 0);
    while width(fitting) > columns || combines(fitting) {
        let mut characters = fitting.chars();
        characters.next();
        fitting = characters.as_str();
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_telling_part_stays() {
        let path = "/home/alice/projects/shop/.aws/credentials";
        for (columns, keep, expected) in [
            (42, Keep::End, path),
            (20, Keep::End, "…op/.aws/credentials"),
            (12, Keep::End, "…credentials"),
            (6, Keep::Start, "/home…"),
            (9, Keep::Ends, "/hom…ials"),
            (1, Keep::Ends, "…"),
            (0, Keep::Start, ""),
        ] {
            assert_eq!(fit(path, columns, keep), expected);
        }
    }

    #[test]
    fn wide_and_combining_characters_are_measured() {
        assert_eq!(fit("日本語日本語", 5, Keep::Start), "日本…");
        assert_eq!(fit("日本語日本語", 6, Keep::End), "…本語");
        assert_eq!(fit("xxxxae\u{301}", 2, Keep::End), "…e\u{301}");
        assert_eq!(pad("日本", 6), "日本  ");
    }

    proptest! {
        #[test]
        fn what_is_fitted_fits(text in "\\PC{0,40}", columns in 0..30_usize) {
            for keep in [Keep::Start, Keep::End, Keep::Ends] {
                prop_assert!(width(&fit(&text, columns, keep)) <= columns);
            }
        }
    }
}
