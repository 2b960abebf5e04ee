//! The bytes of a pickle; no length is believed before it is compared with what is there.

use super::PickleError;

/// What is yet to be read.
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    /// The next bytes; their number is compared with what is there before anything else happens.
    pub(super) fn take(
        &mut self,
        what: &'static str,
        needed: u64,
    ) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(needed).ok().filter(|needed| *needed <= rest.len()) {
            Some(length) => {
                self.at += length;
                Ok(&rest[..length])
            }
            None => Err(PickleError::Truncated { what, offset: self.at, needed, left: rest.len() }),
        }
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], PickleError> {
        let bytes = self.take(what, N as u64)?;
        Ok(std::array::from_fn(|i| bytes[i]))
    }

    /// A little-endian number of `width` bytes without sign.
    pub(super) fn unsigned(&mut self, what: &'static str, width: u64) -> Result<u64, PickleError> {
        let bytes = self.take(what, width)?;
        Ok(bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Bytes behind a length of `width` bytes.
    pub(super) fn counted(
        &mut self,
        what: &'static str,
        width: u64,
    ) -> Result<&'a [u8], PickleError> {
        let length = self.unsigned(what, width)?;
        self.take(what, length)
    }

    /// The bytes up to a newline, which is read too.
    pub(super) fn line(&mut self, what: &'static str) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                self.at += length + 1;
                Ok(&rest[..length])
            }
            None => Err(PickleError::Truncated {
                what,
                offset: self.at,
                needed: rest.len() as u64 + 1,
                left: rest.len(),
            }),
        }
    }
}
