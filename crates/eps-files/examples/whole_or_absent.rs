//! Writes a file that is whole or absent, and shows that a failure half-way leaves the former one.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::io::{self, Write as _};

use eps_files::{sha256_file, write_atomically};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("scores.txt");
    write_atomically(&path, |file| writeln!(file, "psnr 27.0"))?;
    let before = sha256_file(&path)?;

    // A program that fails here has written half of the new file.
    let failed = write_atomically(&path, |file| {
        write!(file, "psnr 2")?;
        Err(io::Error::other("the disk is full"))
    });
    println!("the second writing: {}", failed.is_err());
    assert!(failed.is_err());
    assert_eq!(sha256_file(&path)?, before); // the first file, whole
    Ok(())
}

#[test]
fn runs() {
    main().expect("the example");
}
