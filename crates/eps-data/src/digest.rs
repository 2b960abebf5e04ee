//! SHA-256 of files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::DataError;

/// The SHA-256 of a file's content, in lower-case hexadecimal.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, DataError> {
    let mut reader = BufReader::new(File::open(path).map_err(DataError::io(path, "open"))?);
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        let n = reader.read(&mut block).map_err(DataError::io(path, "read"))?;
        if n == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&block[..n]);
    }
}

/// The SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = sha256_file(Path::new("nowhere/abc")).unwrap_err().to_string();
        assert!(message.contains("nowhere/abc") && message.contains("check the path"), "{message}");
    }
}
