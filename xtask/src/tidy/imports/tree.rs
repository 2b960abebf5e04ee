//! The modules of a target, and which file defines what a path names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::{Declared, Source};

/// How many names may stand for each other before a path counts as one that leads nowhere.
const MOST_NAMES: usize = 16;

/// The first module of a target.
const FIRST: usize = 0;

/// The imports between files by their indices, each with the first line that makes it.
pub(super) type Imports = BTreeMap<(usize, usize), usize>;

/// A target's modules, the first of which is that of its first file.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: Vec<PathBuf>,
    modules: Vec<Module>,
}

#[derive(Debug)]
struct Module {
    file: usize,
    parent: usize,
    children: BTreeMap<String, usize>,
    source: Source,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Module(usize),
    /// Something that this file defines.
    Item(usize),
}

/// Reads a target from its first file on.
pub(super) fn read(first: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let folder = first.parent().unwrap_or(first).to_owned();
    tree.add_file(first, &folder, FIRST)?;
    Ok(tree)
}

impl Tree {
    /// Adds the module of a file whose own modules lie in `folder`, and those within it.
    fn add_file(&mut self, file: &Path, folder: &Path, parent: usize) -> Result<usize> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("could not read {}", file.display()))?;
        self.files.push(file.to_owned());
        let index = self.files.len() - 1;
        self.add(Source::read(&text), index, folder, parent)
    }

    fn add(
        &mut self,
        mut source: Source,
        file: usize,
        folder: &Path,
        parent: usize,
    ) -> Result<usize> {
        let inline = std::mem::take(&mut source.inline);
        let declared = std::mem::take(&mut source.declared);
        let module = self.modules.len();
        self.modules.push(Module { file, parent, children: BTreeMap::new(), source });
        for (name, inner) in inline {
            let child = self.add(inner, file, &folder.join(&name), module)?;
            self.modules[module].children.insert(name, child);
        }
        for Declared { name, file: named } in declared {
            let beside = self.files[file].parent().unwrap_or(folder).to_owned();
            let (alone, within) = match &named {
                Some(named) => (beside.join(named), beside.join(named)),
                None => (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")),
            };
            let path = if alone.is_file() { alone } else { within };
            // A file of another platform may be absent; what is needed, the compiler asks for.
            if path.is_file() {
                let has_folder_of_its_name = named.is_none() && !path.ends_with("mod.rs");
                let inner = if has_folder_of_its_name {
                    folder.join(&name)
                } else {
                    path.parent().unwrap_or(folder).to_owned()
                };
                let child = self.add_file(&path, &inner, module)?;
                self.modules[module].children.insert(name, child);
            }
        }
        Ok(module)
    }

    /// The files, and who imports whom.
    pub(super) fn imports(self) -> (Vec<PathBuf>, Imports) {
        let mut imports = Imports::new();
        for (index, module) in self.modules.iter().enumerate() {
            let mut add = |named: Option<Named>, line: usize| {
                let to = match named {
                    Some(Named::Item(file)) => file,
                    Some(Named::Module(_)) | None => return,
                };
                if to != module.file {
                    let first = imports.entry((module.file, to)).or_insert(line);
                    *first = line.min(*first);
                }
            };
            for path in &module.source.paths {
                add(self.resolve(index, &path.words, 0), path.line);
            }
            for one in &module.source.uses {
                let Some(name) = &one.name else {
                    if let Some(Named::Module(all)) = self.resolve(index, &one.path.words, 0)
                        && !one.public
                    {
                        for (word, line) in &module.source.words {
                            add(self.look_up(all, word, 0), *line);
                        }
                    }
                    continue;
                };
                // A name that is only passed on imports nothing.
                let is_used = module.source.words.iter().any(|(word, _)| word == name);
                if !one.public || is_used {
                    add(self.resolve(index, &one.path.words, 0), one.path.line);
                }
            }
        }
        (self.files, imports)
    }

    /// What a path names that stands in this module; nothing of other crates.
    fn resolve(&self, module: usize, words: &[String], names: usize) -> Option<Named> {
        let (first, rest) = words.split_first()?;
        self.follow(
            self.beginning(module, first).or_else(|| self.look_up(module, first, names))?,
            rest,
            names,
        )
    }

    /// What the first word of a path stands for, where the language says so.
    fn beginning(&self, module: usize, word: &str) -> Option<Named> {
        match word {
            "crate" => Some(Named::Module(FIRST)),
            "self" => Some(Named::Module(module)),
            "super" => Some(Named::Module(self.modules[module].parent)),
            _ => None,
        }
    }

    /// What the rest of a path names.
    fn follow(&self, mut named: Named, rest: &[String], names: usize) -> Option<Named> {
        for word in rest {
            let Named::Module(within) = named else { break };
            named = match word.as_str() {
                "super" => Named::Module(self.modules[within].parent),
                // What a macro defines is known to the compiler only.
                word => self
                    .look_up(within, word, names)
                    .unwrap_or(Named::Item(self.modules[within].file)),
            };
        }
        Some(named)
    }

    /// What a name stands for in a module.
    fn look_up(&self, module: usize, name: &str, names: usize) -> Option<Named> {
        self.look_up_by_name(module, name, names).or_else(|| {
            let uses = self.modules[module].source.uses.iter();
            uses.filter(|one| one.name.is_none()).find_map(|one| {
                // The module whose names are all taken is not looked for among names so taken.
                let (first, rest) = one.path.words.split_first()?;
                let first = self
                    .beginning(module, first)
                    .or_else(|| self.look_up_by_name(module, first, names + 1))?;
                match self.follow(first, rest, names + 1)? {
                    Named::Module(all) if names < MOST_NAMES => self.look_up(all, name, names + 1),
                    Named::Module(_) | Named::Item(_) => None,
                }
            })
        })
    }

    /// What a name stands for in a module that defines, declares or imports it by this name.
    fn look_up_by_name(&self, module: usize, name: &str, names: usize) -> Option<Named> {
        let Module { file, children, source, .. } = &self.modules[module];
        if names > MOST_NAMES {
            return None;
        }
        if let Some(&child) = children.get(name) {
            return Some(Named::Module(child));
        }
        if source.items.iter().any(|item| item == name) {
            return Some(Named::Item(*file));
        }
        let one = source.uses.iter().find(|one| one.name.as_deref() == Some(name))?;
        // `use serde;` stands for itself and leads nowhere.
        self.resolve(module, &one.path.words, names + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder;

    /// The imports of a target in a folder of its own, as `from:line to`, by the files' names.
    fn imports(test: &str, files: &[(&str, &str)]) -> Vec<String> {
        let root = std::env::temp_dir().join(format!("xtask-{test}-{}", std::process::id()));
        folder::create_empty(&root).unwrap();
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (names, imports) = read(&root.join(files[0].0)).unwrap().imports();
        folder::remove(&root).unwrap();
        let name = |file: usize| names[file].strip_prefix(&root).unwrap().display().to_string();
        imports
            .into_iter()
            .map(|((from, to), line)| format!("{}:{line} {}", name(from), name(to)))
            .collect()
    }

    #[test]
    fn uses_and_paths_lead_to_the_file_that_defines() {
        let found = imports(
            "paths",
            &[
                ("lib.rs", "mod a;\nmod b;\npub mod c;\npub use a::A;\n"),
                ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
                ("b.rs", "pub struct B;\nfn f() -> usize { crate::c::d::G + super::c::h() }\n"),
                ("c/mod.rs", "pub mod d;\npub fn h() {}\n"),
                ("c/d.rs", "pub const G: usize = 1;\nuse crate::c;\nfn i() { c::h() }\n"),
            ],
        );
        assert_eq!(found, ["a.rs:1 b.rs", "b.rs:2 c/mod.rs", "b.rs:2 c/d.rs", "c/d.rs:3 c/mod.rs"]);
    }

    #[test]
    fn a_name_that_is_passed_on_leads_through() {
        let files = [
            ("lib.rs", "mod operator;\nmod user;\n"),
            ("operator/mod.rs", "mod dense;\npub use dense::Dense;\npub trait Linear {}\n"),
            (
                "operator/dense.rs",
                "use super::Linear;\npub struct Dense;\nimpl Linear for Dense {}\n",
            ),
            ("user.rs", "use crate::operator::Dense;\nfn f(x: Dense) {}\n"),
        ];
        assert_eq!(
            imports("facade", &files),
            ["operator/dense.rs:1 operator/mod.rs", "user.rs:1 operator/dense.rs"]
        );
        // Used where it is passed on, it is imported.
        let mut uses = files;
        uses[1].1 = "mod dense;\npub use dense::Dense;\npub trait Linear { fn f() -> Dense; }\n";
        let found = imports("facade-used", &uses);
        assert!(found.contains(&"operator/mod.rs:2 operator/dense.rs".to_owned()), "{found:?}");
    }

    #[test]
    fn all_of_a_module_is_what_the_file_takes_of_it() {
        let found = imports(
            "globs",
            &[
                ("lib.rs", "mod a;\nmod prelude;\nmod b;\nmod c;\n"),
                ("a.rs", "\nuse crate::prelude::*;\nfn f() { let x: B; x.c() }\n"),
                ("prelude.rs", "pub use crate::b::*;\npub use crate::c::c;\n"),
                ("b.rs", "pub struct B;\n"),
                ("c.rs", "pub fn c() {}\n"),
            ],
        );
        assert_eq!(found, ["a.rs:3 b.rs"]);
    }

    #[test]
    fn modules_in_braces_and_named_files_are_followed() {
        let found = imports(
            "inline",
            &[
                (
                    "main.rs",
                    "mod a { pub mod b; pub fn f() {} }\n#[path = \"other/c.rs\"]\nmod d;\n",
                ),
                ("a/b.rs", "use super::f;\nuse super::super::d::e;\n"),
                ("other/c.rs", "pub mod g;\npub fn e() {}\n"),
                ("other/g.rs", "use std::fs;\nuse serde::Serialize;\n"),
            ],
        );
        assert_eq!(found, ["a/b.rs:1 main.rs", "a/b.rs:2 other/c.rs"]);
    }

    #[test]
    fn modules_that_pass_each_other_on_end() {
        let found = imports(
            "endless",
            &[
                ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
                ("a.rs", "pub use crate::b::*;\n"),
                ("b.rs", "pub use crate::a::*;\npub use serde::*;\npub struct X;\n"),
                ("c.rs", "use crate::a::X;\nuse rayon::Y;\n"),
            ],
        );
        assert_eq!(found, ["c.rs:1 b.rs"]);
    }
}
