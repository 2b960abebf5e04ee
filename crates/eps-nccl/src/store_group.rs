//! The group of torchrun's processes.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use eps_cluster::{ClusterError, Group, Launch, Machine, host};

use crate::rendezvous::meet;
use crate::store::Store;

/// How long a process waits for an answer of the store at the beginning, and the store's keeper for the others in the end.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long a value is waited for at a time: c10d tells of every wait that ends without one.
const PAUSE: Duration = Duration::from_secs(3600);

/// How often a process says that it is alive, and looks whether its neighbour is.
const BEAT: Duration = Duration::from_secs(5);

/// After so long without a word a process is taken to be gone.
const SILENCE: Duration = Duration::from_secs(40);

/// The most bytes of a value: the store takes no more than 8 MiB.
const MOST: usize = 4 << 20;

/// The name under which a process says that the run has ended, and why.
const ENDED: &str = "ended";

/// What a process says in the place of its beats when it is done.
const DONE: &[u8] = b"done";

/// Processes that have a store in common.
///
/// Every exchange has a number, and each process lays what it gives under that number, its own rank and, where it is for
/// one alone, that one's. Whoever has seen the values of exchange n from all knows that all are done with exchange n − 1, and takes
/// its own of that away.
#[derive(Debug)]
pub(crate) struct StoreGroup {
    store: Store,
    rank: usize,
    size: usize,
    machine: Machine,
    /// Before every name: processes that torchrun started anew do not see what the last ones left.
    run: String,
    address: String,
    exchanges: Cell<u64>,
    /// What was laid in the last exchange.
    laid: RefCell<Vec<String>>,
    /// Whether this process keeps the store, so that the others need it to the end.
    serves: bool,
    watch: Option<Watch>,
}

fn variable(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl StoreGroup {
    pub(crate) fn join(launch: Launch) -> Result<Self, ClusterError> {
        // Whoever sets rank and size alone keeps no store.
        let place = variable("MASTER_ADDR").ok_or(ClusterError::NoEngine { launch })?;
        let port = variable("MASTER_PORT").ok_or_else(|| ClusterError::Rendezvous {
            launch,
            problem: "MASTER_PORT does not say where torchrun's store is: set it as torchrun does"
                .to_owned(),
        })?;
        let port = port
            .trim()
            .parse()
            .map_err(|_| ClusterError::Variable { variable: "MASTER_PORT", value: port.clone() })?;
        // torchrun keeps the store itself; without it process 0 does.
        let agent = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|is| is == "True");
        let serves = !agent && launch.rank == 0;
        let address = format!("{place}:{port}");
        let failed = |problem: String| ClusterError::Rendezvous { launch, problem };
        let store = Store::open((&place, port), serves, launch.size, PATIENCE).map_err(|why| {
            failed(format!(
                "its store at {address} cannot be reached or kept, by MASTER_ADDR and MASTER_PORT ({why}): is the port in use by another \
                 run, or the address that of another machine?"
            ))
        })?;
        let run = meet(&store, (launch.rank, launch.size)).map_err(failed)?;
        let member = (launch.rank, launch.size);
        let watch = Watch::begin((place, port), run.clone(), member).map_err(failed)?;
        let mut group = Self {
            store,
            rank: launch.rank,
            size: launch.size,
            machine: Machine { place: 0, count: 1, leader: launch.rank },
            run,
            address,
            exchanges: Cell::new(0),
            laid: RefCell::default(),
            serves,
            watch: Some(watch),
        };
        group.machine = group.find_machine();
        Ok(group)
    }

    /// The place of this process among those of its machine, by their names.
    fn find_machine(&self) -> Machine {
        let hosts = self.all_gather(host().as_bytes());
        let mine = |rank: &usize| hosts[*rank] == hosts[self.rank];
        let of_machine: Vec<usize> = (0..self.size).filter(mine).collect();
        let place = of_machine.iter().position(|rank| *rank == self.rank).unwrap_or_default();
        Machine { place, count: of_machine.len(), leader: of_machine[0] }
    }

    fn name(&self, exchange: u64, of: &str) -> String {
        format!("{}/{exchange}/{of}", self.run)
    }

    /// The number of the next exchange.
    fn begin(&self) -> u64 {
        self.exchanges.replace(self.exchanges.get() + 1)
    }

    /// Lays a value down: its length and its beginning under the name, the rest in parts.
    fn lay(&self, laid: &mut Vec<String>, name: &str, value: &[u8]) {
        let (first, rest) = value.split_at(value.len().min(MOST));
        let mut rest = rest.chunks(MOST).enumerate();
        // The beginning comes last: who sees it finds all.
        rest.by_ref().for_each(|(part, bytes)| {
            let name = part_of(name, part);
            self.or_end(self.store.set(&name, bytes));
            laid.push(name);
        });
        let length = (value.len() as u64).to_le_bytes();
        self.or_end(self.store.set(name, &[&length[..], first].concat()));
        laid.push(name.to_owned());
    }

    /// Takes away what was laid before, as all are done with that.
    fn end(&self, laid: Vec<String>) {
        for name in self.laid.replace(laid) {
            self.or_end(self.store.forget(&name));
        }
    }

    /// Waits for a value that another process lays down; the watch ends this one where none will come.
    fn wait(&self, name: &str) -> Vec<u8> {
        let value = loop {
            if let Some(value) = self.or_end(self.store.get(name, PAUSE)) {
                break value;
            }
        };
        let (length, first) = value.split_at(8);
        let length = length.try_into().map_or(0, u64::from_le_bytes);
        let mut whole = first.to_vec();
        let mut part = 0;
        while (whole.len() as u64) < length {
            let bytes = self.or_end(self.store.get(&part_of(name, part), PATIENCE));
            let missing = || Err(format!("a part of {name} is missing"));
            whole.extend(self.or_end(bytes.map_or_else(missing, Ok)));
            part += 1;
        }
        whole
    }

    /// What the store gave; where it is gone, so is this process, as the trait's methods have no other way to fail.
    fn or_end<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|problem| {
            self.fail(&format!(
                "the store at {} is gone, and with it a process of the run: {problem}",
                self.address
            ))
        })
    }

    fn fail(&self, problem: &str) -> ! {
        let _ = writeln!(std::io::stderr(), "error: {problem} ({})", self.description());
        std::process::exit(1)
    }
}

impl Group for StoreGroup {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn barrier(&self) {
        self.all_gather(&[]);
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        let own: &[u8] = if self.rank == 0 { bytes } else { &[] };
        let first = self.all_gather(own).swap_remove(0);
        bytes.copy_from_slice(&first);
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let exchange = self.begin();
        let mut laid = vec![];
        self.lay(&mut laid, &self.name(exchange, &self.rank.to_string()), bytes);
        let of = |rank: usize| match rank {
            _ if rank == self.rank => bytes.to_vec(),
            rank => self.wait(&self.name(exchange, &rank.to_string())),
        };
        let all = (0..self.size).map(of).collect();
        self.end(laid);
        all
    }

    fn all_gather_values(&self, values: &[f32], _: &[usize]) -> Vec<f32> {
        let all = self.all_gather(&bytes_of(values));
        all.iter().flat_map(|bytes| values_of(bytes)).collect()
    }

    fn all_to_all(&self, pieces: Vec<Vec<f32>>, _: &[usize]) -> Vec<Vec<f32>> {
        let exchange = self.begin();
        let name = |from: usize, to: usize| self.name(exchange, &format!("{from}-{to}"));
        let mut laid = vec![];
        for (to, piece) in pieces.iter().enumerate().filter(|(to, _)| *to != self.rank) {
            self.lay(&mut laid, &name(self.rank, to), &bytes_of(piece));
        }
        let mut pieces = pieces;
        let own = std::mem::take(&mut pieces[self.rank]);
        let of = |from: usize| values_of(&self.wait(&name(from, self.rank)));
        let others = (0..self.size).map(|from| if from == self.rank { vec![] } else { of(from) });
        let mut all: Vec<Vec<f32>> = others.collect();
        all[self.rank] = own;
        self.end(laid);
        all
    }

    fn abort(&self, code: u8) -> ! {
        // The watches of the others find it; torchrun itself ends those of this machine.
        let ended = format!("{}/{ENDED}", self.run);
        let _ = self.store.set(&ended, format!("{} ended the run", self.description()).as_bytes());
        if self.serves {
            thread::sleep(2 * BEAT);
        }
        std::process::exit(i32::from(code))
    }

    fn description(&self) -> String {
        format!("process {} of {} on {}", self.rank + 1, self.size, host())
    }
}

impl Drop for StoreGroup {
    fn drop(&mut self) {
        drop(self.watch.take());
        let name = |rank: usize| format!("{}/left/{rank}", self.run);
        let _ = self.store.set(&name(self.rank), &[]);
        if self.serves {
            let begin = Instant::now();
            for rank in 0..self.size {
                let rest = PATIENCE.saturating_sub(begin.elapsed());
                // One that died says nothing: the store is not kept for it for ever.
                if !matches!(self.store.get(&name(rank), rest), Ok(Some(_))) {
                    break;
                }
            }
        }
    }
}

/// A thread that tells the others that this process is alive, and ends it where the run has ended or the next process is gone.
///
/// Processes of one machine are ended by torchrun as well; those of others hear of it here, and so does one that waits within NCCL.
#[derive(Debug)]
struct Watch {
    is_done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn begin(
        (place, port): (String, u16),
        run: String,
        (rank, size): (usize, usize),
    ) -> Result<Self, String> {
        let is_done = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_done);
        // A connection of its own: that of the group may be waiting.
        let work = move || match Store::open((&place, port), false, size, PATIENCE) {
            Ok(store) => watch(&store, &run, (rank, size), &ends),
            Err(problem) => end_process(&format!("the store at {place}:{port} is gone: {problem}")),
        };
        let thread = thread::Builder::new().name("watch of the group".to_owned()).spawn(work);
        let thread = thread.map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(Self { is_done, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Beats until this process is done.
fn watch(store: &Store, run: &str, (rank, size): (usize, usize), is_done: &AtomicBool) {
    let beat_of = |rank: usize| format!("{run}/alive/{rank}");
    let ended = format!("{run}/{ENDED}");
    let next = (rank + 1) % size;
    let (mut last, mut heard) = (None, Instant::now());
    let mut beat = 0u64;
    loop {
        let mut look = || -> Result<(), String> {
            if is_done.load(Ordering::Relaxed) {
                return store.set(&beat_of(rank), DONE);
            }
            beat += 1;
            store.set(&beat_of(rank), &beat.to_le_bytes())?;
            if store.has(&ended)? {
                let why = store.get(&ended, PATIENCE)?.unwrap_or_default();
                end_process(&String::from_utf8_lossy(&why));
            }
            let found = if store.has(&beat_of(next))? {
                store.get(&beat_of(next), PATIENCE)?
            } else {
                None
            };
            if found != last || found.as_deref() == Some(DONE) {
                (last, heard) = (found, Instant::now());
            } else if heard.elapsed() > SILENCE {
                let why = format!(
                    "process {} of {size} has not been heard of for {} s and is taken to be gone",
                    next + 1,
                    SILENCE.as_secs()
                );
                store.set(&ended, why.as_bytes())?;
                end_process(&why);
            }
            Ok(())
        };
        // What went wrong with the store where this process is done is nobody's trouble.
        if let Err(problem) = look()
            && !is_done.load(Ordering::Relaxed)
        {
            end_process(&format!(
                "torchrun's store is gone, and with it a process of the run: {problem}"
            ));
        }
        if is_done.load(Ordering::Relaxed) {
            // Whoever was done meanwhile is said to be.
            let _ = store.set(&beat_of(rank), DONE);
            return;
        }
        let begin = Instant::now();
        while begin.elapsed() < BEAT && !is_done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Ends this process, whatever its other threads wait for.
fn end_process(why: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "error: {why} (on {})", host());
    std::process::exit(1)
}

/// The name of a further part of a value.
fn part_of(name: &str, part: usize) -> String {
    format!("{name}/{}", part + 1)
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn values_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
