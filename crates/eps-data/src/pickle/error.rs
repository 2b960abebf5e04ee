//! Why bytes are no pickle that can be read as data.

/// What stops the reading of a pickle; offsets count bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The input ends before the pickle does.
    #[error("the pickle is cut off: {what} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What is being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// The pickle has ended and the input has not.
    #[error("{left} bytes are left over after the end of the pickle at byte {offset}")]
    LeftOver {
        /// Where the pickle ends.
        offset: usize,
        /// How many bytes follow.
        left: usize,
    },
    /// A byte that is no instruction of any protocol.
    #[error("byte {offset} is {opcode:#04x}, which is no pickle instruction")]
    UnknownOpcode {
        /// Where it is.
        offset: usize,
        /// The byte.
        opcode: u8,
    },
    /// An instruction that needs a running Python.
    #[error("the instruction {name} at byte {offset} needs a running Python and is not read")]
    Unsupported {
        /// Where it is.
        offset: usize,
        /// Its name in Python's `pickletools`.
        name: &'static str,
    },
    /// A protocol of the future.
    #[error("the pickle has protocol {protocol}, known are 0 to 5")]
    Protocol {
        /// The protocol.
        protocol: u8,
    },
    /// An instruction that finds something else than it needs.
    #[error("the instruction {name} at byte {offset} {problem}")]
    Misplaced {
        /// Where it is.
        offset: usize,
        /// Its name in Python's `pickletools`.
        name: &'static str,
        /// What it misses.
        problem: String,
    },
    /// A file with more values than are read.
    #[error("the pickle has more than {limit} values")]
    TooMany {
        /// The largest number that is read.
        limit: usize,
    },
    /// A value that is another one than its place needs, or a global of no known meaning.
    #[error("{what} is {found}, not {expected}")]
    Unexpected {
        /// What the value stands for.
        what: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}
