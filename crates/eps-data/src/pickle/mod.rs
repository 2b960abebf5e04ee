//! Python pickles, read as data: nothing is imported, called or executed.
//!
//! A pickle is a program for a small stack machine. Python's own machine imports whatever the
//! program names and calls it; this one only notes what would be imported and called
//! ([`Value::Global`], [`Value::Call`]), and the reader of a file decides which names it knows and
//! what they mean. [`numpy`] does so for arrays, [`torch`] for tensors.
//!
//! Protocols 0 to 5, without backslash escapes in the strings of protocol 0. Protocols that lack
//! bytes write them as a call of `_codecs.encode` to Latin-1, which is read as bytes. Extension
//! registries and out-of-band buffers, which only mean something together with a running Python, are
//! refused.
//!
//! A hostile file costs memory in proportion to its size: bytes and texts are borrowed from the input,
//! every instruction makes at most three values, and what the memo repeats is shared, not copied.
//! The values lie in one list and name each other by their place in it, so that deep nesting and
//! cycles need neither recursion nor reference counts; whoever walks a value by recursion bounds
//! the depth.

mod error;
mod input;
mod machine;
pub mod numpy;
mod opcode;
pub mod torch;
mod value;

pub use error::PickleError;
pub use value::{Id, Item, ObjectCall, Pickle, Value};

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` hold, to the last of them.
    ///
    /// # Errors
    /// [`PickleError`], with the offset of the instruction that cannot be followed; bytes that are
    /// left over.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let (pickle, length) = Self::read_first(bytes)?;
        match bytes.len() - length {
            0 => Ok(pickle),
            left => Err(PickleError::LeftOver { offset: length, left }),
        }
    }

    /// Reads the pickle that `bytes` begin with, and its length: PyTorch's older files hold several.
    ///
    /// # Errors
    /// [`PickleError`], with the offset of the instruction that cannot be followed.
    pub fn read_first(bytes: &'a [u8]) -> Result<(Self, usize), PickleError> {
        machine::run(bytes)
    }
}
