//! The tokens of Rust's sources, as far as imports are read from them.
//!
//! Comments, literals and lifetimes are left out: none of them imports anything.

/// A word or a sign, with the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// From 1.
    pub(super) line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword, without `r#`.
    Word(String),
    /// The text of a literal string, without its quotes: `#[path = "..."]` names a file.
    Text(String),
    /// `::`
    Path,
    /// Any other sign.
    Sign(char),
}

impl Token {
    pub(super) fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Reads the tokens of a source that the compiler accepts; of others, what they resemble.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = reader.rest.chars().next() {
        let line = reader.line;
        let kind = if reader.rest.starts_with("//") {
            reader.take_while(|c| c != '\n');
            None
        } else if reader.rest.starts_with("/*") {
            reader.skip_comment();
            None
        } else if let Some(kind) = reader.string() {
            Some(kind)
        } else if is_word(first) && !first.is_ascii_digit() {
            if let Some(raw) = reader.rest.strip_prefix("r#") {
                reader.rest = raw;
            }
            Some(Kind::Word(reader.take_while(is_word).to_owned()))
        } else if first.is_ascii_digit() {
            // A number with its suffix; what follows its point is read as another one.
            reader.take_while(is_word);
            None
        } else if first == '\'' {
            reader.skip_character_or_lifetime();
            None
        } else if reader.rest.starts_with("::") {
            reader.skip(2);
            Some(Kind::Path)
        } else {
            reader.skip(first.len_utf8());
            (!first.is_whitespace()).then_some(Kind::Sign(first))
        };
        tokens.extend(kind.map(|kind| Token { kind, line }));
    }
    tokens
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// Steps over bytes that end at the border of a character, and counts their lines.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += skipped.matches('\n').count();
        self.rest = rest;
        skipped
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.skip(end)
    }

    /// Block comments hold block comments.
    fn skip_comment(&mut self) {
        let mut depth = 0;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.skip_one();
            }
        }
    }

    /// Steps over one character.
    fn skip_one(&mut self) {
        let width = self.rest.chars().next().map_or(0, char::len_utf8);
        self.skip(width);
    }

    /// A string of any kind, where one begins here.
    fn string(&mut self) -> Option<Kind> {
        let unprefixed = self.rest.trim_start_matches(['b', 'c']);
        // A prefix is one letter at most before `r` or the quote.
        if self.rest.len() - unprefixed.len() > 1 {
            return None;
        }
        let prefix = self.rest.len() - unprefixed.len();
        if let Some(raw) = unprefixed.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[hashes..].starts_with('"') {
                self.skip(prefix + 1 + hashes + 1);
                let end = format!("\"{}", "#".repeat(hashes));
                let length = self.rest.find(&end).unwrap_or(self.rest.len());
                let text = self.skip(length).to_owned();
                self.skip(end.len());
                return Some(Kind::Text(text));
            }
        } else if unprefixed.starts_with('"') {
            self.skip(prefix + 1);
            let text = self.escaped('"').to_owned();
            return Some(Kind::Text(text));
        } else if prefix == 1 && unprefixed.starts_with('\'') {
            // A byte, as a string that names nothing.
            self.skip(2);
            self.escaped('\'');
            return Some(Kind::Text(String::new()));
        }
        None
    }

    /// What stands before the end of a literal, which is stepped over; escapes stay as they are.
    fn escaped(&mut self, end: char) -> &'a str {
        let start = self.rest;
        while let Some(c) = self.rest.chars().next() {
            self.skip(c.len_utf8());
            if c == end {
                return &start[..start.len() - self.rest.len() - end.len_utf8()];
            }
            if c == '\\' {
                self.skip_one();
            }
        }
        start
    }

    /// `'x'` and `'\n'` are characters, `'x` is a lifetime or a label.
    fn skip_character_or_lifetime(&mut self) {
        self.skip(1);
        let mut following = self.rest.chars();
        match (following.next(), following.next()) {
            (Some('\\'), _) | (Some(_), Some('\'')) => {
                self.escaped('\'');
            }
            _ => {
                self.take_while(is_word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens as text, separated by spaces.
    fn read(source: &str) -> String {
        let text = |token: Token| match token.kind {
            Kind::Word(word) => word,
            Kind::Text(text) => format!("<{text}>"),
            Kind::Path => "::".to_owned(),
            Kind::Sign(sign) => sign.to_string(),
        };
        tokens(source).into_iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_paths_and_signs_are_read() {
        assert_eq!(read("use crate::a::{B, r#type};"), "use crate :: a :: { B , type } ;");
        assert_eq!(read("f(1.5e3, 0x1f_u8, σ_y)"), "f ( . , , σ_y )");
    }

    #[test]
    fn comments_are_left_out() {
        assert_eq!(read("a // crate::b\n/* crate::c /* d */ e */ f"), "a f");
        assert_eq!(read("//! [`crate::b`]\n/// `use x`\nfn g() {}"), "fn g ( ) { }");
    }

    #[test]
    fn literals_hold_no_paths() {
        assert_eq!(read(r#"let a = "crate::b \" c";"#), r#"let a = <crate::b \" c> ;"#);
        assert_eq!(read(r##"r#"a "b" c"# br"d" b"e" c"f""##), r#"<a "b" c> <d> <e> <f>"#);
        assert_eq!(read(r"'\'' '{' b'}' '\u{1f}' x"), "<> x");
        assert_eq!(read("bcr broad"), "bcr broad");
    }

    #[test]
    fn lifetimes_are_no_characters() {
        assert_eq!(read("fn f<'a>(x: &'a str) -> &'static T"), "fn f < > ( x : & str ) - > & T");
        assert_eq!(read("'outer: loop { break 'outer; }"), ": loop { break ; }");
    }

    #[test]
    fn lines_are_counted_from_one() {
        let lines: Vec<_> = tokens("a\n/* \n */ b\n\"\n\" c").iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 3, 4, 5]);
    }
}
