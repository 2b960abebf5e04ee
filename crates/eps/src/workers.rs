//! Work that is spread over the cores: several walks at once, one thread of libtorch inside each.
//!
//! Images and samples need nothing of each other, so that threads which take one batch after the other wait for nobody.
//! libtorch's own threads share every operation and meet at its end, some hundred times in a network call; they wait
//! there in loops, and where another program has one of the cores, all of them wait for it
//! (`docs/decisions/0010-workers.md`).

use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tch::Device;

use crate::Error;

/// The threads that libtorch was told to compute with: as many cores are used.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).map_or(1, |threads| threads.max(1))
}

/// The cores that this process may use: those of its affinity and of its control group's quota (`docker run --cpus 2`),
/// and no more than libtorch was told of, as by `OMP_NUM_THREADS`.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(threads())
}

/// The number of workers that suits a device and the machine as it is now: one for each core that is used, and two where all
/// cores are and other programs keep as many busy, since the system gives every thread an equal share.
///
/// What workers return does not depend on it. It takes some milliseconds where others are busy.
#[must_use]
pub fn suited(device: Device) -> usize {
    let threads = threads();
    let all = thread::available_parallelism().map_or(1, NonZero::get);
    let is_contested = || threads == all && others_keep_busy(threads);
    if device == Device::Cpu && is_contested() { 2 * threads } else { threads }
}

/// Whether other programs have as many threads that compute as `threads`, and the machine no core for each of both: for some
/// milliseconds at every look.
fn others_keep_busy(threads: usize) -> bool {
    (0..LOOKS).all(|look| {
        if look > 0 {
            thread::sleep(BETWEEN_LOOKS);
        }
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        cores_and_running(&stat).is_some_and(|(cores, running)| {
            are_too_few(cores, running.saturating_sub(own_running()), threads)
        })
    })
}

/// Whether `others` threads that compute are as many as `threads`, and the cores fewer than both together.
fn are_too_few(cores: usize, others: usize, threads: usize) -> bool {
    others >= threads && others + threads > cores
}

/// How often it is looked who else computes; one look that finds fewer ends it.
const LOOKS: usize = 10;

const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// The cores of the machine and the threads that have one or wait for one, by the text of Linux's `/proc/stat`.
fn cores_and_running(stat: &str) -> Option<(usize, usize)> {
    let is_core = |line: &&str| {
        let number = line.strip_prefix("cpu").unwrap_or_default();
        number.starts_with(|digit: char| digit.is_ascii_digit())
    };
    let running = stat.lines().find_map(|line| line.strip_prefix("procs_running "))?;
    Some((stat.lines().filter(is_core).count(), running.trim().parse().ok()?))
}

/// Those of this process among them.
fn own_running() -> usize {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return 0 };
    let is_running = |task: &fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The name before may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('R'))
    };
    tasks.flatten().filter(is_running).count()
}

/// How many workers a number of threads are on a device, and how many threads libtorch has in each.
///
/// On the CPU every thread is a worker; a GPU has one, as its kernels fill it.
#[must_use]
pub fn workers_on(device: Device, threads: usize) -> (usize, usize) {
    if device == Device::Cpu { (threads.max(1), 1) } else { (1, threads.max(1)) }
}

/// Whether all workers are to end: what they have begun is given up.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Tells all workers.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether they were told.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does the pieces of work 0, 1, …, `count` − 1, each once, by as many workers as there are contexts, and gives what they
/// return to `keep`, on the thread of the caller, in the order in which they are done.
///
/// A worker has its context for itself, such as a [network of its own](crate::Network::another), and `inside` threads of
/// libtorch. Pieces are begun in their order. What a piece returns must not depend on the worker, and does not where
/// `inside` is the same: so neither does it depend on their number.
///
/// # Errors
/// [`Error::Thread`] where a thread cannot be started; the first of `work` or `keep`; the pieces that other workers have begun are told by their [`Stop`], and those that are
/// finished nevertheless are kept.
///
/// # Panics
/// If there is work and no context; where `work` panics.
pub fn spread<C: Send, T: Send, E: From<Error> + Send>(
    contexts: &mut [C],
    inside: usize,
    count: usize,
    work: impl Fn(&mut C, usize, &Stop) -> Result<T, E> + Sync,
    mut keep: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    assert!(count == 0 || !contexts.is_empty(), "{count} pieces of work, and no worker");
    let before = tch::get_num_threads();
    let inside = i32::try_from(inside).unwrap_or(i32::MAX);
    let (stop, next) = (Stop::default(), AtomicUsize::new(0));
    let (work, stop, next) = (&work, &stop, &next);
    let (done, results) = mpsc::channel();
    let mut error = None;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for context in contexts.iter_mut().take(count) {
            let done = done.clone();
            let worker = move || {
                // libtorch counts the threads of each thread of the program. A thread that asks for the first time
                // is given the number that was set last anywhere: that one is overwritten here, not later.
                let _ = tch::get_num_threads();
                tch::set_num_threads(inside);
                while !stop.is_set() {
                    let piece = next.fetch_add(1, Ordering::Relaxed);
                    if piece >= count {
                        break;
                    }
                    let result = work(context, piece, stop);
                    let is_error = result.is_err();
                    // The caller listens until all workers have ended.
                    let _ = done.send((piece, result));
                    // After it, so that it comes before the errors of those who are stopped.
                    if is_error {
                        stop.set();
                    }
                }
            };
            match thread::Builder::new().spawn_scoped(scope, worker) {
                Ok(worker) => workers.push(worker),
                // Without memory for another thread those that are there would hardly end.
                Err(source) => {
                    stop.set();
                    error = Some(Error::Thread(source).into());
                    break;
                }
            }
        }
        drop(done);
        let mut can_keep = true;
        for (piece, result) in results {
            let kept = match result {
                Ok(result) if can_keep => keep(piece, result).inspect_err(|_| can_keep = false),
                Ok(_) => Ok(()),
                Err(found) => Err(found),
            };
            if let Err(found) = kept {
                stop.set();
                error.get_or_insert(found);
            }
        }
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
    // Also MKL's, whose number is that of the whole program.
    tch::set_num_threads(before);
    error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// What work may fail with.
    #[derive(Debug, PartialEq)]
    struct Told(&'static str);

    impl From<Error> for Told {
        fn from(_: Error) -> Self {
            Self("the library")
        }
    }

    #[test]
    fn every_piece_is_done_once_by_workers_that_compute_with_one_thread() {
        let before = threads();
        for workers in [1, 2, 5] {
            let mut contexts = vec![0; workers];
            let mut kept = vec![0; 20];
            // All workers at once, or the test does not end: the first pieces are one each.
            let barrier = Barrier::new(workers);
            let work = |done: &mut usize, piece: usize, _: &Stop| {
                if piece < workers {
                    barrier.wait();
                }
                *done += 1;
                assert_eq!(threads(), 1);
                Ok::<usize, Told>(piece * piece)
            };
            let keep = |piece: usize, square: usize| {
                kept[piece] += square;
                Ok(())
            };
            spread(&mut contexts, 1, 20, work, keep).unwrap();
            assert_eq!(kept, (0..20).map(|piece| piece * piece).collect::<Vec<_>>());
            assert_eq!((contexts.iter().sum::<usize>(), threads()), (20, before));
        }
        spread(&mut [(); 0], 1, 0, |(), _, _| Ok::<(), Told>(()), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn an_error_stops_all_workers_and_what_is_finished_is_kept() {
        let barrier = Barrier::new(2);
        let work = |(): &mut (), piece: usize, stop: &Stop| {
            barrier.wait();
            if piece == 1 {
                return Err(Told("the second"));
            }
            while !stop.is_set() {
                thread::yield_now();
            }
            Ok(piece)
        };
        let mut kept = vec![];
        let keep = |piece: usize, result: usize| {
            kept.push((piece, result));
            Ok(())
        };
        let error = spread(&mut [(), ()], 1, 100, work, keep).unwrap_err();
        assert_eq!((error, kept), (Told("the second"), vec![(0, 0)]));
        // What cannot be kept ends the work as well.
        let mut tried = 0;
        let keep = |_: usize, _: usize| {
            tried += 1;
            Err(Told("full"))
        };
        let error = spread(&mut [()], 1, 1 << 40, |(), piece, _| Ok(piece), keep).unwrap_err();
        assert_eq!((error, tried), (Told("full"), 1));
    }

    #[test]
    fn more_workers_where_others_want_the_cores() {
        let stat = "cpu  9 8 7\ncpu0 4 4 3\ncpu1 5 4 4\nintr 1 2\ncpufreq 1\nprocs_running 3\nprocs_blocked 0\n";
        assert_eq!(cores_and_running(stat), Some((2, 3)));
        assert_eq!(cores_and_running("cpu0 4\nprocs_running many\n"), None);
        assert_eq!(cores_and_running(""), None);
        let busy = |others, threads| are_too_few(8, others, threads);
        assert!(busy(8, 8) && busy(20, 8) && busy(5, 4));
        // One of them, or as many as leave a core to each.
        assert!(!busy(1, 8) && !busy(7, 8) && !busy(4, 4) && !busy(0, 8));
    }

    #[test]
    fn a_gpu_has_one_worker() {
        assert_eq!(workers_on(Device::Cpu, 8), (8, 1));
        assert_eq!(workers_on(Device::Cuda(0), 8), (1, 8));
        assert!(cores() >= 1 && cores() <= threads());
    }
}
