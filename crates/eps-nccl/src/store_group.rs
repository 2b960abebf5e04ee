//! The group of torchrun's processes.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use eps_cluster::{ClusterError, Group, Launch, Machine, bytes_of, host, values_of};

use crate::rendezvous::meet;
use crate::store::{Store, end_now};

/// How long a process waits for the store at the beginning, and for a value that is there.
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
        let watch = Watch::begin((place, port), run.clone(), member, serves).map_err(failed)?;
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
        // Machines may have one name: torchrun, which numbers the processes of a machine in a row, knows better.
        group.machine = match launch.of_machine {
            Some((place, count)) if place <= launch.rank => {
                Machine { place, count, leader: launch.rank - place }
            }
            _ => group.find_machine(),
        };
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
            // Parts are laid before the beginning.
            whole.extend(
                bytes.unwrap_or_else(|| self.fail(&format!("a part of {name} is missing"))),
            );
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
        // The watches of the others find it, and this one's looks no more; torchrun itself ends those of this machine.
        if let Some(watch) = &self.watch {
            watch.is_done.store(true, Ordering::Relaxed);
        }
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
        let name = |rank: usize| format!("{}/left/{rank}", self.run);
        let _ = self.store.set(&name(self.rank), &[]);
        if self.serves {
            // The others need the store to their end; the watch ends the wait for one that died.
            for rank in 0..self.size {
                let _ = self.store.get(&name(rank), PAUSE);
            }
        }
        drop(self.watch.take());
    }
}

/// A thread that tells the others that this process is alive, and ends it where the run has ended or the next process is gone; and one
/// that ends it where the store answers no more.
///
/// Processes of one machine are ended by torchrun as well; those of others hear of it here, and so does one that waits within NCCL.
#[derive(Debug)]
struct Watch {
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    fn begin(
        (place, port): (String, u16),
        run: String,
        (rank, size): (usize, usize),
        serves: bool,
    ) -> Result<Self, String> {
        let is_done = Arc::new(AtomicBool::new(false));
        // When the store answered last, in milliseconds after the beginning.
        let (begin, answered) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map_err(|error| format!("no thread can be started: {error}"))
        };
        let now = move || u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let address = format!("{place}:{port}");
        let (ends, heard) = (Arc::clone(&is_done), Arc::clone(&answered));
        let thread = spawn(
            "watch of the group",
            // A connection of its own: that of the group may be waiting.
            Box::new(move || match Store::open((&place, port), false, size, PATIENCE) {
                Ok(store) => {
                    let member = Member { run, rank, size, serves };
                    member.watch(&store, &ends, &|| heard.store(now(), Ordering::Relaxed));
                }
                Err(problem) if !ends.load(Ordering::Relaxed) => {
                    end_process(&format!("the store at {place}:{port} is gone: {problem}"));
                }
                Err(_) => {}
            }),
        )?;
        let ends = Arc::clone(&is_done);
        let guard = move || {
            while !ends.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(200));
                let silence = now().saturating_sub(answered.load(Ordering::Relaxed));
                if u128::from(silence) > (SILENCE + BEAT).as_millis()
                    && !ends.load(Ordering::Relaxed)
                {
                    end_process(&format!("the store at {address} does not answer"));
                }
            }
        };
        spawn("guard of the watch", Box::new(guard))?;
        Ok(Self { is_done, thread })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        // It says so to the others, unless the store answers no more.
        let begin = Instant::now();
        while !self.thread.is_finished() && begin.elapsed() < BEAT {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process of a run, as its watch knows it.
struct Member {
    run: String,
    rank: usize,
    size: usize,
    serves: bool,
}

impl Member {
    /// Beats until this process is done.
    fn watch(&self, store: &Store, is_done: &AtomicBool, answered: &dyn Fn()) {
        let next = (self.rank + 1) % self.size;
        let (mut last, mut heard) = (None, Instant::now());
        for beat in 0u64.. {
            let is_last = is_done.load(Ordering::Relaxed);
            let looked = if is_last {
                store.set(&self.beat_of(self.rank), DONE)
            } else {
                self.look(store, beat, is_done).map(|found| {
                    if found != last || found.as_deref() == Some(DONE) {
                        (last, heard) = (found, Instant::now());
                    }
                })
            };
            match looked {
                Ok(()) => answered(),
                // What is wrong with the store where this process is done is nobody's trouble.
                Err(problem) if !is_done.load(Ordering::Relaxed) => end_process(&format!(
                    "torchrun's store is gone, and with it a process of the run: {problem}"
                )),
                Err(_) => return,
            }
            if is_last {
                return;
            }
            if heard.elapsed() > SILENCE && !is_done.load(Ordering::Relaxed) {
                let why = format!(
                    "process {} of {} has not been heard of for {} s and is taken to be gone",
                    next + 1,
                    self.size,
                    SILENCE.as_secs()
                );
                let _ = store.set(&self.ended(), why.as_bytes());
                if self.serves {
                    // The others hear of it as long as the store is there.
                    thread::sleep(2 * BEAT);
                }
                end_process(&why);
            }
            let begin = Instant::now();
            while begin.elapsed() < BEAT && !is_done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Says that this process is alive, ends it where the run has ended, and returns what the next one said last.
    fn look(
        &self,
        store: &Store,
        beat: u64,
        is_done: &AtomicBool,
    ) -> Result<Option<Vec<u8>>, String> {
        store.set(&self.beat_of(self.rank), &beat.to_le_bytes())?;
        if store.has(&self.ended())? && !is_done.load(Ordering::Relaxed) {
            let why = store.get(&self.ended(), PATIENCE)?.unwrap_or_default();
            end_process(&String::from_utf8_lossy(&why));
        }
        let next = self.beat_of((self.rank + 1) % self.size);
        if store.has(&next)? { store.get(&next, PATIENCE) } else { Ok(None) }
    }

    fn beat_of(&self, rank: usize) -> String {
        format!("{}/alive/{rank}", self.run)
    }

    fn ended(&self) -> String {
        format!("{}/{ENDED}", self.run)
    }
}

/// Ends this process, whatever its other threads wait for.
fn end_process(why: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "error: {why} (on {})", host());
    end_now()
}

/// The name of a further part of a value.
fn part_of(name: &str, part: usize) -> String {
    format!("{name}/{}", part + 1)
}
