//! Files and folders that are whole or absent, digests of files, locks, and text that people write.
//!
//! Whatever EPS writes goes through this crate: a file is filled under a temporary name and renamed when all of it
//! is on the disk ([`write_atomically`], [`PartFile`]), a folder of results likewise ([`OutputFolder`]). A program
//! that is killed leaves the former file, and at most a hidden one whose name ends in `.part`.
//!
//! [`StandIn`] tells what lies in the place of a file that was not fetched.
//!
//! The crate is pure Rust and depends on no other crate of the project.
//!
//! ```
//! use std::io::Write as _;
//!
//! let path = std::env::temp_dir().join(format!("eps-files-{}.txt", std::process::id()));
//! eps_files::write_atomically(&path, |file| write!(file, "abc"))?;
//! assert_eq!(eps_files::sha256_file(&path)?, eps_files::sha256(b"abc"));
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), eps_files::FilesError>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod atomic;
mod digest;
mod error;
mod hidden;
mod lock;
mod output_folder;
mod regular;
mod stand_in;
mod text;
mod unfinished;

pub use atomic::{PartFile, write_atomically, write_bytes};
pub use digest::{Hasher, sha256, sha256_file, sha256_reader};
pub use error::FilesError;
pub use lock::{Lock, WriteLock};
pub use output_folder::{Former, OutputFolder};
pub use regular::require_regular;
pub use stand_in::StandIn;
pub use text::read_text;
pub use unfinished::{Parts, Unfinished, remove_leftovers};
