//! Threads in the place of processes.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use eps_cluster::{Group, Machine};

/// What threads have in common.
#[derive(Debug)]
struct Shared {
    barrier: Barrier,
    /// What each has laid down.
    bytes: Mutex<Vec<Vec<u8>>>,
    pieces: Mutex<Vec<Vec<Vec<f32>>>>,
}

/// One thread of several, as if it were a process.
#[derive(Debug)]
struct Member<'a> {
    shared: &'a Shared,
    rank: usize,
    size: usize,
}

/// Does the same work in so many threads, which are a group, and returns what each returned.
///
/// # Panics
/// If a thread panics; where the others then wait for it, the test does not end.
pub fn together<T: Send>(size: usize, work: impl Fn(&dyn Group) -> T + Sync) -> Vec<T> {
    let shared = Shared {
        barrier: Barrier::new(size),
        bytes: Mutex::new(vec![vec![]; size]),
        pieces: Mutex::new(vec![vec![]; size]),
    };
    let (shared, work) = (&shared, &work);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| scope.spawn(move || work(&Member { shared, rank, size })))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread of the group")).collect()
    })
}

impl Member<'_> {
    /// Lays down what this thread gives, and takes something of what all have.
    fn exchange<G: Clone, T>(
        &self,
        table: &Mutex<Vec<G>>,
        given: G,
        take: impl FnOnce(&[G]) -> T,
    ) -> T {
        let lock = || table.lock().unwrap_or_else(PoisonError::into_inner);
        lock()[self.rank] = given;
        self.barrier();
        let taken = take(&lock());
        self.barrier();
        taken
    }
}

impl Group for Member<'_> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn machine(&self) -> Machine {
        Machine { place: self.rank, count: self.size, leader: 0 }
    }

    fn barrier(&self) {
        self.shared.barrier.wait();
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        let first = self.exchange(&self.shared.bytes, bytes.to_vec(), |all| all[0].clone());
        bytes.copy_from_slice(&first);
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.exchange(&self.shared.bytes, bytes.to_vec(), <[_]>::to_vec)
    }

    fn all_gather_values(&self, values: &[f32], counts: &[usize]) -> Vec<f32> {
        self.exchange(&self.shared.pieces, vec![values.to_vec()], |all| {
            assert!(all.iter().zip(counts).all(|(values, count)| values[0].len() == *count));
            all.iter().flat_map(|values| values[0].iter().copied()).collect()
        })
    }

    fn all_to_all(&self, pieces: Vec<Vec<f32>>, counts: &[usize]) -> Vec<Vec<f32>> {
        self.exchange(&self.shared.pieces, pieces, |all| {
            let mine: Vec<Vec<f32>> = all.iter().map(|pieces| pieces[self.rank].clone()).collect();
            assert!(mine.iter().zip(counts).all(|(piece, count)| piece.len() == *count));
            mine
        })
    }

    fn abort(&self, code: u8) -> ! {
        panic!("thread {} of {} ends the group with {code}", self.rank, self.size)
    }

    fn description(&self) -> String {
        format!("thread {} of {}", self.rank + 1, self.size)
    }
}
