//! Command lines inside one argument, cut into words as a shell cuts them.
//!
//! A hint of a parser: quotes, escapes and control operators are understood, the grammar is not. Crates `shell-words`
//! and `shlex` were looked at: they give the words without their places, and fail on an unfinished quote, which a cut
//! argument often has.

use super::text::{Text, at};

/// What stands before a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// Only space: the word belongs to the same command.
    Space,
    /// The start, or a control operator: a command begins.
    Command,
    /// A pipe: a command begins that reads what the last one wrote.
    Pipe,
    /// `<<<`: the word is what the command reads.
    Here,
    /// A redirection: the word is a file.
    File,
}

/// A word of a command line.
pub(super) struct Word<'a> {
    pub(super) text: Text<'a>,
    pub(super) lead: Lead,
    /// Whether it stood in quotes from its first byte on.
    pub(super) quoted: bool,
}

/// The words of `text`.
pub(super) fn split<'a>(text: &'a Text<'_>) -> Vec<Word<'a>> {
    let bytes = text.bytes.as_ref();
    let mut words = Vec::new();
    let mut lead = Lead::Command;
    let mut index = 0;
    while index < bytes.len() {
        match at(bytes, index) {
            b'\n' | b';' | b'(' | b')' | b'`' => lead = Lead::Command,
            b'&' if at(bytes, index + 1) == b'>' => lead = Lead::File,
            b'&' => lead = Lead::Command,
            b'|' if matches!(at(bytes, index + 1), b'|') => {
                lead = Lead::Command;
                index += 1;
            }
            b'|' => lead = Lead::Pipe,
            b'<' if at(bytes, index + 1) == b'<' && at(bytes, index + 2) == b'<' => {
                lead = Lead::Here;
                index += 2;
            }
            b'<' | b'>' => lead = Lead::File,
            b'\\' if at(bytes, index + 1) == b'\n' => index += 1,
            byte if byte.is_ascii_whitespace() => {}
            b'#' => {
                // A comment says nothing to the commands around it; the text as a whole is read elsewhere.
                index +=
                    bytes.get(index..).unwrap_or_default().iter().take_while(|byte| **byte != b'\n').count();
                continue;
            }
            _ => {
                let (word, end) = word(text, index);
                let quoted = matches!(at(bytes, index), b'\'' | b'"');
                words.push(Word { text: word, lead, quoted });
                lead = Lead::Space;
                index = end.max(index + 1);
                continue;
            }
        }
        index += 1;
    }
    words
}

/// The word that starts at `start`, and where it ends.
fn word<'a>(text: &'a Text<'_>, start: usize) -> (Text<'a>, usize) {
    let bytes = text.bytes.as_ref();
    let mut index = start;
    let mut plain = true;
    let mut picked = Vec::new();
    let mut places = Vec::new();
    let mut quote = 0u8;
    let mut nested = 0usize;
    while index < bytes.len() {
        let byte = at(bytes, index);
        let substitution = quote != b'\'' && byte == b'$' && matches!(at(bytes, index + 1), b'(' | b'{');
        if substitution || nested > 0 {
            // What is substituted stays part of the word, so that the word is seen to be no literal.
            let opens = matches!(byte, b'(' | b'{');
            let closes = matches!(byte, b')' | b'}');
            if substitution {
                nested += 1;
                picked.push(byte);
                places.push(index);
                index += 1;
            } else if opens {
                nested += 1;
            } else if closes {
                nested -= 1;
            }
            picked.push(at(bytes, index));
            places.push(index);
            index += 1;
            continue;
        }
        match byte {
            // Most of what is quoted and has an escaped line end in it is for a program that writes lines.
            b'\\' if quote != 0 && matches!(at(bytes, index + 1), b'n' | b'r') => {
                picked.push(b'\n');
                places.push(index);
                index += 1;
            }
            // `$'…'` and `$"…"` are quotes too.
            b'$' if quote == 0 && matches!(at(bytes, index + 1), b'"' | b'\'') => plain = false,
            b'\\' if quote != b'\'' && index + 1 < bytes.len() => {
                let next = at(bytes, index + 1);
                let escapes = quote == 0 || matches!(next, b'"' | b'\\' | b'$' | b'`' | b'\n');
                if escapes {
                    plain = false;
                    if next != b'\n' {
                        picked.push(next);
                        places.push(index + 1);
                    }
                    index += 2;
                    continue;
                }
                picked.push(byte);
                places.push(index);
            }
            b'"' | b'\'' if quote == 0 => {
                quote = byte;
                plain = false;
            }
            _ if quote != 0 && byte == quote => quote = 0,
            _ if quote == 0 && (byte.is_ascii_whitespace() || b";&|<>()`".contains(&byte)) => break,
            _ => {
                picked.push(byte);
                places.push(index);
            }
        }
        index += 1;
    }
    let word = if plain { text.part(start..index) } else { text.picked(picked, &places) };
    (word, index)
}

#[cfg(test)]
mod tests {
    use super::super::text::Text;
    use super::{Lead, split};

    #[test]
    fn words_are_cut_as_a_shell_cuts_them() {
        let script = Text::argument(br#"a 'b c'|d "e\"f"g;h >i $(j k) l="$(m n)" o\ p 'q"#, 0);
        let words: Vec<(String, Lead)> = split(&script)
            .iter()
            .map(|word| (String::from_utf8_lossy(&word.text.bytes).into_owned(), word.lead))
            .collect();
        let expected = [
            ("a", Lead::Command),
            ("b c", Lead::Space),
            ("d", Lead::Pipe),
            ("e\"fg", Lead::Space),
            ("h", Lead::Command),
            ("i", Lead::File),
            ("$(j k)", Lead::Space),
            ("l=$(m n)", Lead::Space),
            ("o p", Lead::Space),
            ("q", Lead::Space),
        ];
        assert_eq!(words.len(), expected.len(), "{words:?}");
        for ((word, lead), (expected_word, expected_lead)) in words.iter().zip(expected) {
            assert_eq!((word.as_str(), *lead), (expected_word, expected_lead));
        }
    }
}
