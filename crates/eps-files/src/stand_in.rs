//! What lies in the place of a file that was not fetched.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// Something else than the file whose name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// The few lines by which Git LFS names a file that is kept elsewhere.
    LfsPointer,
    /// A page of the web, as servers answer where a file cannot be fetched.
    WebPage,
    /// The XML by which a store of objects, such as S3, says why it gives no file.
    StoreError,
}

impl StandIn {
    /// The bytes at the beginning of a file that are looked at.
    const LOOKED_AT: usize = 4096;

    /// What the beginning of a file tells: a pointer of Git LFS, a page of the web, the error of a store of objects, or none of them.
    pub fn of(content: &[u8]) -> Option<Self> {
        let start = &content[..content.len().min(Self::LOOKED_AT)];
        if start.starts_with(b"version https://git-lfs.github.com") {
            return Some(Self::LfsPointer);
        }
        // Pages may begin with a mark of byte order and empty lines, then the declaration of XML and comments.
        let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
        let declared = after(start, b"<?xml", b"?>");
        let mut rest = declared.unwrap_or(start);
        while let Some(behind) = after(rest, b"<!--", b"-->") {
            rest = behind;
        }
        let begins = |with: &[u8]| begins_with_name(rest, with);
        if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") {
            return Some(Self::WebPage);
        }
        let inside =
            declared.filter(|_| begins(b"<error")).and_then(|_| after(rest, b"<", b">"))?;
        begins_with_name(inside, b"<code").then_some(Self::StoreError)
    }

    /// [`StandIn::of`] the file at a path; none of one that cannot be read, which its reader tells.
    pub fn at(path: &Path) -> Option<Self> {
        // To open a named pipe would wait.
        fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
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
            Self::StoreError => {
                "it is the error of a server in XML, and not the file that its name promises"
            }
        }
    }

    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::LfsPointer => "fetch the file by `git lfs pull` in its repository",
            Self::StoreError => {
                "read in its <Code> why the server gave no file, and download the file anew: an address that was signed may have \
                 expired"
            }
            Self::WebPage => {
                "download the file anew, by the link to the file itself: a page comes in its place where a server wants a login, or \
                 knows no such file"
            }
        }
    }
}

/// What follows a part that begins and ends so, without the space before it; none where the text does not begin so.
fn after<'a>(text: &'a [u8], begin: &[u8], end: &[u8]) -> Option<&'a [u8]> {
    text.get(..begin.len()).filter(|start| start.eq_ignore_ascii_case(begin))?;
    let rest = &text[begin.len()..];
    let at = rest.windows(end.len()).position(|part| part == end)?;
    Some(rest[at + end.len()..].trim_ascii_start())
}

/// Whether a text begins so, in small or capital letters, and the name at the end of that does not go on.
fn begins_with_name(text: &[u8], with: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        && !text.get(with.len()).is_some_and(is_name)
}

/// What is wrong and what to do.
impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_told() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n";
        assert_eq!(StandIn::of(pointer), Some(StandIn::LfsPointer));
        for page in [
            "<!DOCTYPE html>\n",
            "\u{feff}\n <!doctype HTML",
            "<html lang=\"en\">",
            "<HTML>",
            "<head><title>Sign in</title>",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0\"",
            "<?XML version=\"1.0\"?><Html xmlns=\"http://www.w3.org/1999/xhtml\">",
            "<!-- saved from url=(0019)https://example.org -->\n<!-- two -->\n<html>",
        ] {
            assert_eq!(StandIn::of(page.as_bytes()), Some(StandIn::WebPage), "{page}");
        }
        for error in [
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>",
            "\u{feff}<?xml version='1.0'?><error>\n  <code>BlobNotFound</code>",
        ] {
            assert_eq!(StandIn::of(error.as_bytes()), Some(StandIn::StoreError), "{error}");
        }
        for other in [
            "",
            "<",
            "<!doctype",
            "version 2",
            "{\"html\": \"<html>\"}",
            "\u{89}PNG",
            "<?xml version=\"1.0\"?>\n<!-- Inkscape --><svg xmlns=\"http://www.w3.org/2000/svg\">",
            "<?xml version=\"1.0\"?><!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\">",
            "<?xml version=\"1.0\"?><errors><code>1</code></errors>",
            "<?xml version=\"1.0\"?><Error><Line>3</Line></Error>",
            "<Error><Code>none</Code></Error>",
            "<header>",
            "<!-- a comment without an end <html>",
            "<?xml version=\"1.0\"",
        ] {
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
