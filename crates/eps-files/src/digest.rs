//! SHA-256 of files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::FilesError;

/// The SHA-256 of a file's content, in lower-case hexadecimal.
///
/// # Errors
///
/// [`FilesError::Io`] where the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, FilesError> {
    let file = File::open(path).map_err(FilesError::io(path, "open"))?;
    sha256_reader(file).map_err(FilesError::io(path, "read"))
}

/// The SHA-256 of all that a reader gives, in lower-case hexadecimal.
///
/// # Errors
///
/// Those of the reader.
pub fn sha256_reader(mut reader: impl Read) -> io::Result<String> {
    let mut hasher = Hasher::default();
    let mut block = vec![0; 1 << 16];
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&block[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// A SHA-256 of bytes that come piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes, in lower-case hexadecimal.
    pub fn finish(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example "abc" of FIPS 180-4.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_and_file_agree_with_the_standard() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(sha256(b"abc"), ABC);
        assert_eq!(sha256_file(&path).unwrap(), ABC);
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), ABC);
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = sha256_file(Path::new("nowhere/abc")).unwrap_err().to_string();
        assert!(message.contains("nowhere/abc") && message.contains("check the path"), "{message}");
    }
}
