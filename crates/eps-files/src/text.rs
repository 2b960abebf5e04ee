//! Files of text that people write.

use std::fs;
use std::path::Path;

use crate::{FilesError, StandIn, require_regular};

/// The text of a file in UTF-8, without the mark of byte order that editors of Windows put before it; what is no UTF-8 in it is replaced
/// by U+FFFD.
///
/// # Errors
///
/// [`FilesError::Io`], [`FilesError::Irregular`], [`FilesError::StandIn`] for what lies in the place of a file that was not fetched, and
/// [`FilesError::Utf16`] for text in UTF-16.
pub fn read_text(path: &Path) -> Result<String, FilesError> {
    require_regular(path)?;
    let bytes = fs::read(path).map_err(FilesError::io(path, "open"))?;
    if let Some(found) = StandIn::of(&bytes) {
        return Err(FilesError::StandIn { path: path.to_owned(), found });
    }
    // Text that begins with a mark of byte order, a letter, a bracket or a space has a zero beside it in UTF-16.
    let is_text = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if let [first, second, ..] = bytes[..]
        && (matches!([first, second], [0xff, 0xfe] | [0xfe, 0xff])
            || (first == 0 && is_text(second))
            || (second == 0 && is_text(first)))
    {
        return Err(FilesError::Utf16(path.to_owned()));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_fetched_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
        let error = read_text(&path).unwrap_err().to_string();
        assert!(error.contains("a.json: it is a Git LFS pointer"), "{error}");
        // What is no text is left to its reader.
        fs::write(&path, [0, 1, 2]).unwrap();
        assert!(read_text(&path).is_ok());
    }

    #[test]
    fn marks_are_taken_off_and_utf_16_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        for text in ["", "{", "{}", "\u{feff}{}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_text(&path).unwrap(), text.trim_start_matches('\u{feff}'));
        }
        let little: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            fs::write(&path, bytes).unwrap();
            let error = read_text(&path).unwrap_err().to_string();
            assert!(error.contains("a.json") && error.contains("UTF-16"), "{error}");
        }
    }
}
