//! SHA-256 of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

/// The SHA-256 of a file in lower-case hexadecimal, with a bar while a large one is read.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let (file, bar) = open(path)?;
    let digest = of(bar.wrap_read(file));
    bar.finish_and_clear();
    digest.with_context(|| format!("could not read {}", path.display()))
}

/// The SHA-256 of what a gzip file holds.
pub(crate) fn sha256_unzipped(path: &Path) -> Result<String> {
    let (file, bar) = open(path)?;
    let digest = of(MultiGzDecoder::new(bar.wrap_read(file)));
    bar.finish_and_clear();
    digest.with_context(|| format!("{} is no whole gzip file", path.display()))
}

fn open(path: &Path) -> Result<(File, ProgressBar)> {
    let read = || format!("could not read {}", path.display());
    let file = File::open(path).with_context(read)?;
    let bytes = file.metadata().with_context(read)?.len();
    Ok((file, bar(bytes, "checking")))
}

/// The SHA-256 of bytes in memory.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of(mut reader: impl Read) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match reader.read(&mut chunk)? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A bar over bytes with the time left; hidden where standard error is no terminal.
pub(crate) fn bar(bytes: u64, what: &str) -> ProgressBar {
    const TEMPLATE: &str = "{msg} {bar:40} {bytes}/{total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
    ProgressBar::new(bytes).with_style(style).with_message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, GzBuilder};

    use super::*;

    // FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_of_abc_is_the_standards() {
        assert_eq!(of(&b"abc"[..]).unwrap(), ABC);
    }

    #[test]
    fn a_gzip_file_is_known_by_what_it_holds() {
        let path = std::env::temp_dir().join(format!("xtask-digest-{}", std::process::id()));
        let mut zipped = GzBuilder::new().filename("abc").read(&b"abc"[..], Compression::fast());
        std::io::copy(&mut zipped, &mut File::create(&path).unwrap()).unwrap();
        let whole = (sha256_unzipped(&path).unwrap(), sha256(&path).unwrap());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let truncated = sha256_unzipped(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();

        assert_eq!(whole.0, ABC);
        assert_ne!(whole.1, ABC);
        assert!(truncated.contains("is no whole gzip file"), "{truncated}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = sha256(Path::new("/no/such/file")).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"));
    }
}
