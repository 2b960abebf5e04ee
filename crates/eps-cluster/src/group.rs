//! What processes tell each other by.

use std::fmt;

/// The place of a process on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Which of the processes of this machine this one is, from 0 on.
    pub place: usize,
    /// How many processes this machine has.
    pub count: usize,
    /// The rank of the first of them.
    pub leader: usize,
}

/// Processes that compute together. Every method but [`rank`](Self::rank), [`size`](Self::size),
/// [`machine`](Self::machine) and [`abort`](Self::abort) waits until all processes call it, in the same order.
///
/// A process that fails must [`abort`](Self::abort), as the others would wait for it for ever.
pub trait Group: fmt::Debug {
    /// Which process this one is, from 0 on. Process 0 writes files and talks to the user.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn size(&self) -> usize;

    /// The place of this process on its machine.
    fn machine(&self) -> Machine;

    /// Waits for all.
    fn barrier(&self);

    /// Gives every process the bytes of process 0; all have as many.
    fn broadcast(&self, bytes: &mut [u8]);

    /// The bytes of every process, by rank; as many as each likes.
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// The values of all processes, one behind the other by rank; `counts` are how many each has.
    fn all_gather_values(&self, values: &[f32], counts: &[usize]) -> Vec<f32>;

    /// Gives piece k to process k, and returns the pieces of all for this one, by rank; `counts` are how many values of
    /// each come.
    fn all_to_all(&self, pieces: Vec<Vec<f32>>, counts: &[usize]) -> Vec<Vec<f32>>;

    /// Ends all processes with an exit code.
    fn abort(&self, code: u8) -> !;

    /// The name of the machine and of the engine, for messages.
    fn description(&self) -> String;
}

/// The group of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn machine(&self) -> Machine {
        Machine { place: 0, count: 1, leader: 0 }
    }

    fn barrier(&self) {}

    fn broadcast(&self, _: &mut [u8]) {}

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        vec![bytes.to_vec()]
    }

    fn all_gather_values(&self, values: &[f32], _: &[usize]) -> Vec<f32> {
        values.to_vec()
    }

    fn all_to_all(&self, pieces: Vec<Vec<f32>>, _: &[usize]) -> Vec<Vec<f32>> {
        pieces
    }

    fn abort(&self, code: u8) -> ! {
        std::process::exit(i32::from(code))
    }

    fn description(&self) -> String {
        "one process".to_owned()
    }
}
