//! Words, numbers and signs of the text form, with their places, and what can be wrong with them.

use alloc::{format, string::String, vec::Vec};

/// Longest text that is looked at, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 20;

/// Why a text is not a program or node. Lines and columns count from 1. Fix the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// More than [`MAX_TEXT_BYTES`].
    #[error("the text is {0} bytes long, more than {MAX_TEXT_BYTES}")]
    TooLong(usize),
    /// Something else was expected.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Unexpected {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// What could stand here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// A number that does not fit its place.
    #[error("line {line}, column {column}: {found} does not fit {what}")]
    Range {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// What it should fit.
        what: &'static str,
        /// The number as written.
        found: String,
    },
}

pub(crate) type Result<T> = core::result::Result<T, ParseError>;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Letters, digits and `_`, starting with a letter.
    Word,
    /// Decimal digits.
    Number(u64),
    /// `0x` and at most eight hexadecimal digits.
    Bits(u32),
    /// One other character.
    Sign(char),
    /// The end of the text.
    End,
}

/// A piece of text and where it starts, counting from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Token<'_> {
    /// The error that something else was expected here.
    pub(crate) fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        // A long word is cut, so that an error stays readable.
        let found = match self.kind {
            Kind::End => String::from("the end of the text"),
            _ => format!("`{}`", self.text.chars().take(40).collect::<String>()),
        };
        ParseError::Unexpected { line: self.line, column: self.column, expected: expected.into(), found }
    }

    /// The error that this number does not fit.
    pub(crate) fn range(&self, what: &'static str) -> ParseError {
        let found = self.text.chars().take(40).collect();
        ParseError::Range { line: self.line, column: self.column, what, found }
    }
}

/// Cuts a text into tokens.
pub(crate) struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1, column: 1 }
    }

    /// Takes `len` bytes, which hold no line end.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        self.column += taken.chars().count();
        taken
    }

    fn skip_space(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\n' => {
                    self.rest = &self.rest[1..];
                    self.line += 1;
                    self.column = 1;
                }
                ';' => {
                    self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
                }
                c if c.is_whitespace() => {
                    self.take(c.len_utf8());
                }
                _ => return,
            }
        }
    }

    /// The next token; [`Kind::End`] again and again at the end.
    pub(crate) fn next(&mut self) -> Result<Token<'a>> {
        self.skip_space();
        let (line, column) = (self.line, self.column);
        let token = |kind, text| Token { kind, text, line, column };
        let Some(first) = self.rest.chars().next() else { return Ok(token(Kind::End, "")) };
        if !first.is_ascii_alphanumeric() {
            return Ok(token(Kind::Sign(first), self.take(first.len_utf8())));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let text = self.take(end.unwrap_or(self.rest.len()));
        let word = token(Kind::Word, text);
        if first.is_ascii_alphabetic() {
            return Ok(word);
        }
        let kind = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).map(Kind::Bits).map_err(|_| word.range("32 bits"))?,
            None if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().map(Kind::Number).map_err(|_| word.range("64 bits"))?
            }
            None => return Err(word.unexpected("a word or a number")),
        };
        Ok(Token { kind, ..word })
    }
}

/// A text being read, one token ahead. What a program looks like is in [`crate::parse`].
pub(crate) struct Parser<'a> {
    lexer: Lexer<'a>,
    pub(crate) next: Token<'a>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Self> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(ParseError::TooLong(text.len()));
        }
        let mut lexer = Lexer::new(text);
        let next = lexer.next()?;
        Ok(Self { lexer, next })
    }

    pub(crate) fn advance(&mut self) -> Result<Token<'a>> {
        let next = self.lexer.next()?;
        Ok(core::mem::replace(&mut self.next, next))
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.next.kind == Kind::End { Ok(()) } else { Err(self.next.unexpected("the end of the text")) }
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.next.kind == Kind::Word && self.next.text == word
    }

    /// Takes the word if it stands here.
    pub(crate) fn try_word(&mut self, word: &str) -> Result<bool> {
        let here = self.is_word(word);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    pub(crate) fn word(&mut self, word: &str) -> Result<()> {
        if self.try_word(word)? { Ok(()) } else { Err(self.next.unexpected(format!("`{word}`"))) }
    }

    pub(crate) fn try_sign(&mut self, sign: char) -> Result<bool> {
        let here = self.next.kind == Kind::Sign(sign);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    pub(crate) fn sign(&mut self, sign: char) -> Result<()> {
        if self.try_sign(sign)? { Ok(()) } else { Err(self.next.unexpected(format!("`{sign}`"))) }
    }

    pub(crate) fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T> {
        let Kind::Number(n) = self.next.kind else { return Err(self.next.unexpected("a number")) };
        let n = T::try_from(n).map_err(|_| self.next.range(what))?;
        self.advance()?;
        Ok(n)
    }

    pub(crate) fn signed<T: TryFrom<i128>>(&mut self, what: &'static str) -> Result<T> {
        let negative = self.try_sign('-')?;
        self.magnitude(negative, what)
    }

    pub(crate) fn magnitude<T: TryFrom<i128>>(&mut self, negative: bool, what: &'static str) -> Result<T> {
        let at = self.next;
        let n = i128::from(self.number::<u64>(what)?);
        T::try_from(if negative { -n } else { n }).map_err(|_| at.range(what))
    }

    /// A word that is one of `letters` and a number: `s0`, `n12`.
    pub(crate) fn indexed(&mut self, letters: &str, expected: &str) -> Result<(char, u32)> {
        let at = self.next;
        let wrong = || at.unexpected(expected);
        let letter = at.text.chars().next().filter(|c| letters.contains(*c)).ok_or_else(wrong)?;
        let digits = &at.text[1..];
        if at.kind != Kind::Word || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let index = digits.parse().map_err(|_| at.range("32 bits"))?;
        self.advance()?;
        Ok((letter, index))
    }

    /// The word that numbers the next thing of a list.
    pub(crate) fn numbered(&mut self, letter: char, index: usize) -> Result<()> {
        self.word(&format!("{letter}{index}"))
    }

    /// `open item, item close`.
    pub(crate) fn list<T>(
        &mut self,
        [open, close]: [char; 2],
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut out = Vec::new();
        self.sign(open)?;
        if self.try_sign(close)? {
            return Ok(out);
        }
        loop {
            out.push(item(self)?);
            if self.try_sign(close)? {
                return Ok(out);
            }
            if !self.try_sign(',')? {
                return Err(self.next.unexpected(format!("`,` or `{close}`")));
            }
        }
    }

    pub(crate) fn shape(&mut self) -> Result<Vec<u32>> {
        self.list(['[', ']'], |p| p.number("32 bits"))
    }

    pub(crate) fn named<T: Copy>(&mut self, all: &[T], name: impl Fn(T) -> &'static str, expected: &str) -> Result<T> {
        let here = self.next.text;
        let found = all.iter().copied().find(|&t| self.next.kind == Kind::Word && name(t) == here);
        let found = found.ok_or_else(|| self.next.unexpected(expected))?;
        self.advance()?;
        Ok(found)
    }
}
