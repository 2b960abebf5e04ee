//! What one file says of modules, items and paths.

use super::tokens::{Kind, Token, tokens};

/// A module as a file writes it: the file itself, or `mod name { ... }` within.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Modules in files of their own, `mod name;`.
    pub(super) declared: Vec<Declared>,
    /// Modules in braces.
    pub(super) inline: Vec<(String, Source)>,
    /// Names that are defined here.
    pub(super) items: Vec<String>,
    pub(super) uses: Vec<Use>,
    /// Paths of at least two words outside of `use`.
    pub(super) paths: Vec<Path>,
    /// Words that stand alone outside of `use`, each with the first line that has it.
    pub(super) words: Vec<(String, usize)>,
}

/// A module in a file of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    /// The file, where `#[path = "..."]` names it.
    pub(super) file: Option<String>,
}

/// One name that a `use` brings, or all of a module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) path: Path,
    /// The name here; none for `*`.
    pub(super) name: Option<String>,
    /// Whether others may take the name from here.
    pub(super) public: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) words: Vec<String>,
    pub(super) line: usize,
}

/// Words before the name of what they define.
const DEFINES: [&str; 8] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static"];

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let mut reader = Reader { tokens: &tokens, at: 0 };
        reader.module()
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&self, ahead: usize) -> Option<&'a str> {
        self.peek(ahead).and_then(Token::word)
    }

    fn is(&self, ahead: usize, sign: char) -> bool {
        self.peek(ahead).is_some_and(|token| token.is(sign))
    }

    fn is_path(&self, ahead: usize) -> bool {
        self.peek(ahead).is_some_and(|token| token.kind == Kind::Path)
    }

    /// Reads to the end of the module: that of the file, or the brace that closes it, which is taken.
    fn module(&mut self) -> Source {
        let mut source = Source::default();
        // Braces of items that are open.
        let mut depth = 0;
        let mut file = None;
        while let Some(token) = self.peek(0) {
            if token.is('#') && (self.is(1, '[') || (self.is(1, '!') && self.is(2, '['))) {
                let attribute = self.attribute();
                if is_for_tests(attribute) {
                    self.skip_item();
                } else if let [path, sign, Token { kind: Kind::Text(text), .. }] = attribute
                    && path.word() == Some("path")
                    && sign.is('=')
                {
                    file = Some(text.clone());
                }
                continue;
            }
            if token.is('{') {
                depth += 1;
            } else if token.is('}') {
                if depth == 0 {
                    self.at += 1;
                    return source;
                }
                depth -= 1;
            }
            match token.word() {
                // `impl Trait + use<'a>` captures, it imports nothing.
                Some("use") if !self.is(1, '<') => self.imports(&mut source.uses),
                Some("mod") if self.word(1).is_some() && self.is(2, ';') => {
                    let name = self.word(1).unwrap_or_default().to_owned();
                    source.declared.push(Declared { name, file: file.take() });
                    self.at += 3;
                }
                Some("mod") if self.word(1).is_some() && self.is(2, '{') => {
                    let name = self.word(1).unwrap_or_default().to_owned();
                    self.at += 3;
                    source.inline.push((name, self.module()));
                }
                Some(word) => {
                    if depth == 0 {
                        source.items.extend(self.defines(word).map(str::to_owned));
                    }
                    self.words(&mut source);
                }
                None => self.at += 1,
            }
        }
        source
    }

    /// The tokens between the brackets of an attribute, which is stepped over.
    fn attribute(&mut self) -> &'a [Token] {
        while !self.is(0, '[') {
            self.at += 1;
        }
        let start = self.at + 1;
        self.skip_group();
        self.tokens.get(start..self.at - 1).unwrap_or_default()
    }

    /// Steps over a bracket of any kind, what it holds, and its end.
    fn skip_group(&mut self) {
        let mut depth = 0;
        while let Some(token) = self.peek(0) {
            self.at += 1;
            if ['(', '[', '{'].iter().any(|&open| token.is(open)) {
                depth += 1;
            } else if [')', ']', '}'].iter().any(|&close| token.is(close)) {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
        }
    }

    /// Steps over the item here with its attributes: to its `;`, or past its braces. What is no item,
    /// a field or a variant, ends at its comma.
    fn skip_item(&mut self) {
        let (mut is_item, mut is_use) = (false, false);
        while let Some(token) = self.peek(0) {
            let word = token.word().unwrap_or_default();
            is_use |= word == "use";
            is_item |= DEFINES.contains(&word) || ["use", "mod", "impl"].contains(&word);
            if token.is(';') || (token.is(',') && !is_item) {
                self.at += 1;
                return;
            } else if token.is('}') {
                // The end of what holds the item, a field or an expression.
                return;
            } else if token.is('{') {
                self.skip_group();
                if !is_use {
                    return;
                }
            } else if token.is('(') || token.is('[') {
                self.skip_group();
            } else {
                self.at += 1;
            }
        }
    }

    /// The name that is defined here, where `word` begins a definition.
    fn defines(&self, word: &str) -> Option<&'a str> {
        if word == "macro_rules" && self.is(1, '!') {
            return self.word(2);
        }
        let name = self.word(1).filter(|_| DEFINES.contains(&word))?;
        match name {
            "mut" => self.word(2),
            // `const fn f`: the next word defines.
            "fn" | "unsafe" | "async" | "extern" => None,
            name => Some(name),
        }
    }

    /// Reads a path, or a word that stands alone.
    fn words(&mut self, source: &mut Source) {
        let follows = self.at > 0
            && (self.tokens[self.at - 1].kind == Kind::Path || self.tokens[self.at - 1].is('.'));
        let line = self.tokens[self.at].line;
        let mut words = Vec::new();
        while let Some(word) = self.word(0) {
            words.push(word.to_owned());
            self.at += 1;
            if self.is_path(0) && self.word(1).is_some() {
                self.at += 1;
            } else {
                break;
            }
        }
        if follows {
            // Of what `.` or `<T>::` name, the type decides.
        } else if words.len() > 1 {
            source.paths.push(Path { words, line });
        } else if let Some(word) = words.pop()
            && source.words.iter().all(|(known, _)| *known != word)
        {
            source.words.push((word, line));
        }
    }

    /// Reads a `use` to its `;`.
    fn imports(&mut self, uses: &mut Vec<Use>) {
        let public = self.is_public();
        self.at += 1;
        self.tree(&[], public, uses);
        if self.is(0, ';') {
            self.at += 1;
        }
    }

    /// Whether the word here stands behind `pub` or `pub(...)`.
    fn is_public(&self) -> bool {
        let mut before = self.at;
        if before > 0 && self.tokens[before - 1].is(')') {
            while before > 0 && !self.tokens[before - 1].is('(') {
                before -= 1;
            }
            before = before.saturating_sub(1);
        }
        before > 0 && self.tokens[before - 1].word() == Some("pub")
    }

    /// Reads one branch of a `use`, whose beginning has been read.
    fn tree(&mut self, beginning: &[String], public: bool, uses: &mut Vec<Use>) {
        let mut words = beginning.to_vec();
        loop {
            let line = self.peek(0).map_or(0, |token| token.line);
            if self.is_path(0) {
                // The sign before a word, or that of `use ::name`.
                self.at += 1;
            } else if self.is(0, '{') {
                self.at += 1;
                while self.peek(0).is_some() && !self.is(0, '}') {
                    self.tree(&words, public, uses);
                    if self.is(0, ',') {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return;
            } else if self.is(0, '*') {
                self.at += 1;
                uses.push(Use { path: Path { words, line }, name: None, public });
                return;
            } else if let Some(word) = self.word(0) {
                self.at += 1;
                if word == "self" && !words.is_empty() {
                    // `a::{self}` is `a`.
                } else {
                    words.push(word.to_owned());
                }
                if self.is_path(0) {
                    continue;
                }
                let mut name = words.last().cloned();
                if self.word(0) == Some("as") {
                    name = self.word(1).map(str::to_owned);
                    self.at += 2;
                }
                uses.push(Use { path: Path { words, line }, name, public });
                return;
            } else {
                // No Rust: leave the sign, and what holds the branch ends it or steps over it.
                if !self.is(0, ';') && !self.is(0, ',') && !self.is(0, '}') {
                    self.at += 1;
                }
                return;
            }
        }
    }
}

/// Whether an attribute is `cfg(test)`, or asks for tests among other things.
fn is_for_tests(attribute: &[Token]) -> bool {
    let mut words = attribute.iter().filter_map(Token::word);
    words.next() == Some("cfg")
        && words.clone().any(|word| word == "test")
        && words.all(|word| word != "not")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> Vec<String> {
        let uses = Source::read(text).uses;
        let text = |one: Use| {
            let public = if one.public { "pub " } else { "" };
            format!(
                "{public}{} as {}",
                one.path.words.join("::"),
                one.name.as_deref().unwrap_or("*")
            )
        };
        uses.into_iter().map(text).collect()
    }

    fn paths(text: &str) -> Vec<String> {
        Source::read(text).paths.iter().map(|path| path.words.join("::")).collect()
    }

    #[test]
    fn every_branch_of_a_use_is_read() {
        assert_eq!(
            uses("use crate::a::{self, b::{C, D as E}, f::*};\nuse super::g;\nuse ::serde;"),
            [
                "crate::a as a",
                "crate::a::b::C as C",
                "crate::a::b::D as E",
                "crate::a::f as *",
                "super::g as g",
                "serde as serde",
            ]
        );
    }

    #[test]
    fn what_others_may_take_is_told_apart() {
        assert_eq!(
            uses("pub use a::B; pub(crate) use a::C; pub(in crate::d) use a::D; use a::E;"),
            ["pub a::B as B", "pub a::C as C", "pub a::D as D", "a::E as E"]
        );
        assert_eq!(uses("fn f(x: &T) -> impl Fn() + use<'_, T> { g(x) }"), [""; 0]);
    }

    #[test]
    fn code_for_tests_is_left_out() {
        let text = "use crate::a;\n\
                    #[cfg(test)]\nuse crate::b::{self, c};\n\
                    #[cfg(test)]\nmod tests { use super::*; fn f() { crate::d::e() } }\n\
                    #[cfg(all(test, feature = \"x\"))]\n#[derive(Debug)]\npub(crate) fn g() { crate::h::i() }\n\
                    #[cfg(test)]\nmod outside;\n\
                    #[cfg(test)]\nimpl<A, B> C<A, B> { fn j() { crate::h::j() } }\n\
                    struct D { #[cfg(test)] e: crate::h::k, f: crate::n::o }\n\
                    #[cfg(not(test))]\nfn k() { crate::l::m() }";
        let source = Source::read(text);
        assert_eq!(uses(text), ["crate::a as a"]);
        assert_eq!(paths(text), ["crate::n::o", "crate::l::m"]);
        assert_eq!(source.declared, []);
        assert_eq!(source.items, ["D", "k"]);
        assert!(source.inline.is_empty());
    }

    #[test]
    fn modules_are_read_with_their_files() {
        let source = Source::read(
            "mod a;\n#[path = \"../b.rs\"]\npub mod b;\nmod c { fn d() { super::e::f() } mod g; }\nfn h() {}",
        );
        let b = Some("../b.rs".to_owned());
        assert_eq!(
            source.declared,
            [Declared { name: "a".into(), file: None }, Declared { name: "b".into(), file: b }]
        );
        let (name, inner) = &source.inline[0];
        assert_eq!(name, "c");
        assert_eq!(inner.paths[0].words, ["super", "e", "f"]);
        assert_eq!(inner.declared, [Declared { name: "g".into(), file: None }]);
        assert_eq!(source.items, ["h"]);
    }

    #[test]
    fn items_of_the_module_are_its_own_only() {
        let source = Source::read(
            "pub struct A<T> { b: T }\nimpl A { pub fn c() {} }\npub const fn d() {}\nconst E: [u8; 2] = [0; 2];\n\
             static mut F: u8 = 0;\nunsafe trait G { type H; }\nmacro_rules! i { () => {} }\nenum J { K }",
        );
        assert_eq!(source.items, ["A", "d", "E", "F", "G", "i", "J"]);
    }

    #[test]
    fn paths_are_read_where_code_names_them() {
        assert_eq!(
            paths(
                "fn f(x: crate::a::B) -> Vec<super::C> { d::e::<T>(x).g::<h::I>(); <J as K>::l(); $crate::m!() }"
            ),
            ["crate::a::B", "super::C", "d::e", "h::I", "crate::m"]
        );
        let lines: Vec<_> =
            Source::read("\nfn f() {\n    a::b()\n}").paths.iter().map(|path| path.line).collect();
        assert_eq!(lines, [3]);
    }
}
