//! Tokens of one line.

/// A token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    /// Letters, digits, `_` and `.`, beginning with a letter or `_`.
    Word(&'a str),
    /// A number.
    Num(u64),
    /// One character of punctuation.
    Mark(char),
    /// Something that taking it reports as an error.
    Bad,
    /// End of the line.
    End,
}

/// Splits a line into tokens, remembering where each began.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    line: &'a str,
    at: usize,
    /// Byte offset at which the token last returned began.
    pub(super) start: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(line: &'a str) -> Lexer<'a> {
        Lexer { line: line.split(';').next().unwrap_or(""), at: 0, start: 0 }
    }

    /// The next token without taking it.
    pub(super) fn peek(&self) -> Token<'a> {
        self.clone().next().unwrap_or(Token::Bad)
    }

    /// Takes a token; the text where it is malformed.
    pub(super) fn next(&mut self) -> Result<Token<'a>, &'a str> {
        let rest = &self.line[self.at..];
        let skipped = rest.len() - rest.trim_start().len();
        self.at += skipped;
        self.start = self.at;
        let rest = &self.line[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        let wordy = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !wordy(first) {
            self.at += first.len_utf8();
            return Ok(Token::Mark(first));
        }
        let len = rest.find(|c| !wordy(c)).unwrap_or(rest.len());
        let word = &rest[..len];
        self.at += len;
        if !first.is_ascii_digit() {
            return Ok(Token::Word(word));
        }
        let number = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        number.map(Token::Num).map_err(|_| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_their_places() {
        let mut l = Lexer::new("  v1 = load.i8 [v2*4 - 0x1f] ; comment");
        let mut got = Vec::new();
        loop {
            match l.next().expect("well-formed") {
                Token::End => break,
                t => got.push((l.start, t)),
            }
        }
        use Token::*;
        assert_eq!(got[..3], [(2, Word("v1")), (5, Mark('=')), (7, Word("load.i8"))]);
        let rest = [(18, Mark('*')), (19, Num(4)), (21, Mark('-')), (23, Num(31)), (27, Mark(']'))];
        assert_eq!(got[5..], rest);
    }

    #[test]
    fn bad_numbers() {
        assert_eq!(Lexer::new("0xzz").next(), Err("0xzz"));
        assert_eq!(Lexer::new("99999999999999999999").next(), Err("99999999999999999999"));
    }
}
