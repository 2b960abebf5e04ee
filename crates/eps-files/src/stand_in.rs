//! What lies in the place of a file that was not fetched.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::require_regular;

/// Something else than the file whose name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// The few lines by which Git LFS names a file that is kept elsewhere.
    LfsPointer,
    /// A page of the web, as servers answer where a file cannot be fetched.
    WebPage,
}

impl StandIn {
    /// The bytes at the beginning of a file that are looked at.
    const LOOKED_AT: usize = 512;

    /// What the beginning of a file tells: a pointer of Git LFS, a page of the web, or neither.
    pub fn of(content: &[u8]) -> Option<Self> {
        let start = &content[..content.len().min(Self::LOOKED_AT)];
        if start.starts_with(b"version https://git-lfs.github.com") {
            return Some(Self::LfsPointer);
        }
        // Pages may begin with a mark of byte order and empty lines.
        let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
        let begins = |with: &[u8]| {
            start.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with))
        };
        (begins(b"<!doctype html") || begins(b"<html")).then_some(Self::WebPage)
    }

    /// [`StandIn::of`] the file at a path; none of one that cannot be read, which its reader tells.
    pub fn at(path: &Path) -> Option<Self> {
        require_regular(path).ok()?;
        let mut start = Vec::new();
        File::open(path).ok()?.take(Self::LOOKED_AT as u64).read_to_end(&mut start).ok()?;
        Self::of(&start)
    }

    /// What is wrong with the file.
    pub fn problem(self) -> &'static str {
        match self {
            Self::LfsPointer => {
                "it is a Git LFS pointer, which names the file that is kept elsewhere, and not the file itself"
            }
            Self::WebPage => "it is a web page, and not the file that its name promises",
        }
    }

    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::LfsPointer => "fetch the file by `git lfs pull` in its repository",
            Self::WebPage => {
                "download the file anew, by the link to the file itself: a page comes in its place where a server wants a login, or \
                 knows no such file"
            }
        }
    }
}

/// What is wrong and what to do.
impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pointers_and_pages_are_told() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n";
        assert_eq!(StandIn::of(pointer), Some(StandIn::LfsPointer));
        for page in
            ["<!DOCTYPE html>\n", "\u{feff}\n <!doctype HTML", "<html lang=\"en\">", "<HTML>"]
        {
            assert_eq!(StandIn::of(page.as_bytes()), Some(StandIn::WebPage), "{page}");
        }
        for other in ["", "<", "<!doctype", "version 2", "{\"html\": \"<html>\"}", "\u{89}PNG"] {
            assert_eq!(StandIn::of(other.as_bytes()), None, "{other}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("net.safetensors");
        assert_eq!(StandIn::at(&path), None);
        fs::write(&path, pointer).unwrap();
        assert_eq!(StandIn::at(&path), Some(StandIn::LfsPointer));
        assert!(StandIn::LfsPointer.remedy().contains("git lfs pull"));
    }
}
