//! A group by MPI, through the bindings of rsmpi.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::{Universe, library_version};
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use mpi::{Count, Threading};

use eps_cluster::{ClusterError, Group, Launch, Machine, host};

/// The most bytes or values of a message: counts of MPI are of 32 bits.
const MOST: usize = 1 << 30;

/// How long a process asks without pause whether the others are there.
const EAGER: Duration = Duration::from_micros(200);

/// How long it sleeps between questions after that.
const NAP: Duration = Duration::from_micros(50);

/// All processes of a start.
#[derive(Debug)]
pub(crate) struct MpiGroup {
    world: World,
    machine: Machine,
}

/// What MPI holds, in the order in which it is given back.
struct World {
    communicator: SimpleCommunicator,
    /// MPI ends with it.
    _universe: Universe,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} of {}", self.communicator.rank(), self.communicator.size())
    }
}

impl MpiGroup {
    pub(crate) fn join(launch: Launch) -> Result<Self, ClusterError> {
        let (universe, _) =
            mpi::initialize_with_threading(Threading::Funneled).ok_or(ClusterError::Twice)?;
        let communicator = universe.world();
        let found = usize::try_from(communicator.size()).unwrap_or_default();
        if found != launch.size {
            let library = library_version().unwrap_or_default();
            let library = library.lines().next().unwrap_or_default().trim().to_owned();
            let error = ClusterError::OtherMpi { launch, found, library };
            if found > 1 {
                // The others may have found nothing wrong, and would wait for this one.
                let _ = writeln!(std::io::stderr(), "error: {error}");
                communicator.abort(1);
            }
            return Err(error);
        }
        let node = communicator.split_shared(communicator.rank());
        let mut leader = communicator.rank();
        node.process_at_rank(0).broadcast_into(&mut leader);
        let [place, count, leader] = [node.rank(), node.size(), leader]
            .map(|number| usize::try_from(number).unwrap_or_default());
        let machine = Machine { place, count, leader };
        Ok(Self { world: World { communicator, _universe: universe }, machine })
    }

    fn communicator(&self) -> &SimpleCommunicator {
        &self.world.communicator
    }

    /// What all have, one behind the other; `counts` are how many of each.
    fn gathered<T: Equivalence + Clone + Default>(&self, own: &[T], counts: &[usize]) -> Vec<T> {
        let (sizes, places) = partition(counts);
        let mut all = vec![T::default(); counts.iter().sum()];
        let mut parts = PartitionMut::new(&mut all[..], sizes, places);
        let communicator = self.communicator();
        scope(|scope| {
            let request = communicator.immediate_all_gather_varcount_into(scope, own, &mut parts);
            finish(request, false);
        });
        all
    }
}

/// Waits for the end of an exchange: first with pauses until all processes are there, which leaves the core to whoever still
/// computes, then without, as every question moves some of the values.
///
/// MPI's own waiting neither sleeps nor yields, so that four processes on two cores would mostly wait for their turns.
fn finish<'a, D: ?Sized, S: Scope<'a>>(mut request: Request<'a, D, S>, pause: bool) {
    let begin = Instant::now();
    while let Err(not_yet) = request.test() {
        request = not_yet;
        if pause && begin.elapsed() > EAGER {
            thread::sleep(NAP);
        } else {
            thread::yield_now();
        }
    }
}

/// Counts and displacements as MPI has them.
///
/// # Panics
/// If there are more than 2³¹ − 1 values.
fn partition(counts: &[usize]) -> (Vec<Count>, Vec<Count>) {
    let number = |value: usize| {
        Count::try_from(value).expect("a message of MPI has at most 2147483647 values")
    };
    let mut begin = 0;
    let mut places = Vec::with_capacity(counts.len());
    for count in counts {
        places.push(number(begin));
        begin += count;
    }
    (counts.iter().map(|count| number(*count)).collect(), places)
}

/// A buffer cut into what is of each process.
fn cut<T>(mut values: Vec<T>, counts: &[usize]) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> =
        counts.iter().rev().map(|count| values.split_off(values.len() - count)).collect();
    parts.reverse();
    parts
}

impl Group for MpiGroup {
    fn rank(&self) -> usize {
        usize::try_from(self.communicator().rank()).unwrap_or_default()
    }

    fn size(&self) -> usize {
        usize::try_from(self.communicator().size()).unwrap_or_default()
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn barrier(&self) {
        finish(self.communicator().immediate_barrier(), true);
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        self.barrier();
        let root = self.communicator().process_at_rank(0);
        for part in bytes.chunks_mut(MOST) {
            scope(|scope| finish(root.immediate_broadcast_into(scope, part), false));
        }
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.barrier();
        let mut counts = vec![0u64; self.size()];
        let (communicator, own) = (self.communicator(), bytes.len() as u64);
        scope(|scope| {
            finish(communicator.immediate_all_gather_into(scope, &own, &mut counts[..]), false);
        });
        let counts: Vec<usize> =
            counts.iter().map(|count| usize::try_from(*count).unwrap_or(usize::MAX)).collect();
        let all = self.gathered(bytes, &counts);
        cut(all, &counts)
    }

    fn all_gather_values(&self, values: &[f32], counts: &[usize]) -> Vec<f32> {
        self.barrier();
        self.gathered(values, counts)
    }

    fn all_to_all(&self, pieces: Vec<Vec<f32>>, counts: &[usize]) -> Vec<Vec<f32>> {
        self.barrier();
        let sent: Vec<usize> = pieces.iter().map(Vec::len).collect();
        let (sizes, places) = partition(&sent);
        let pieces = pieces.concat();
        let pieces = Partition::new(&pieces[..], sizes, places);
        let (sizes, places) = partition(counts);
        let mut all = vec![0f32; counts.iter().sum()];
        let mut parts = PartitionMut::new(&mut all[..], sizes, places);
        let communicator = self.communicator();
        scope(|scope| {
            finish(
                communicator.immediate_all_to_all_varcount_into(scope, &pieces, &mut parts),
                false,
            );
        });
        cut(all, counts)
    }

    fn abort(&self, code: u8) -> ! {
        self.communicator().abort(i32::from(code))
    }

    fn description(&self) -> String {
        format!("process {} of {} on {}", self.rank() + 1, self.size(), host())
    }
}
