//! The group of torchrun's processes.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::time::{Duration, Instant};

use eps_cluster::{ClusterError, Group, Launch, Machine, host};

use crate::store::Store;

/// How long a process waits for the store at the beginning.
const PATIENCE: Duration = Duration::from_secs(40);

/// After so long without an answer a process asks whether the group was ended.
const PAUSE: Duration = Duration::from_secs(2);

/// The name under which a process says that it ended the group.
const ENDED: &str = "ended";

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
    /// Before every name: processes that torchrun started anew do not see what is of the last attempt.
    attempt: String,
    address: String,
    exchanges: Cell<u64>,
    /// What was laid in the last exchange.
    laid: RefCell<Vec<String>>,
    /// Whether this process keeps the store, so that the others need it to the end.
    serves: bool,
}

fn variable(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl StoreGroup {
    pub(crate) fn join(launch: Launch) -> Result<Self, ClusterError> {
        let missing = |name| ClusterError::Rendezvous {
            launch,
            problem: format!("{name} does not say where torchrun's store is"),
        };
        let place = variable("MASTER_ADDR").ok_or_else(|| missing("MASTER_ADDR"))?;
        let port = variable("MASTER_PORT").ok_or_else(|| missing("MASTER_PORT"))?;
        let port = port
            .trim()
            .parse()
            .map_err(|_| ClusterError::Variable { variable: "MASTER_PORT", value: port.clone() })?;
        // torchrun keeps the store itself; without it process 0 does.
        let agent = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|is| is == "True");
        let serves = !agent && launch.rank == 0;
        let address = format!("{place}:{port}");
        let store = Store::open((&place, port), serves, launch.size, PATIENCE).map_err(|why| {
            let problem = format!("its store at {address} cannot be reached: {why}");
            ClusterError::Rendezvous { launch, problem }
        })?;
        let attempt = variable("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|| "0".to_owned());
        let mut group = Self {
            store,
            rank: launch.rank,
            size: launch.size,
            machine: Machine { place: 0, count: 1, leader: launch.rank },
            attempt: format!("eps/{attempt}"),
            address,
            exchanges: Cell::new(0),
            laid: RefCell::default(),
            serves,
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
        format!("{}/{exchange}/{of}", self.attempt)
    }

    /// The number of the next exchange.
    fn begin(&self) -> u64 {
        self.exchanges.replace(self.exchanges.get() + 1)
    }

    fn lay(&self, laid: &mut Vec<String>, name: String, value: &[u8]) {
        self.or_end(self.store.set(&name, value));
        laid.push(name);
    }

    /// Takes away what was laid before, as all are done with that.
    fn end(&self, laid: Vec<String>) {
        for name in self.laid.replace(laid) {
            self.or_end(self.store.forget(&name));
        }
    }

    /// Waits for the value of a name, and for the end of the group.
    fn wait(&self, name: &str) -> Vec<u8> {
        loop {
            if let Some(value) = self.or_end(self.store.get(name, PAUSE)) {
                return value;
            }
            let ended = format!("{}/{ENDED}", self.attempt);
            if self.or_end(self.store.has(&ended)) {
                let by = self.or_end(self.store.get(&ended, PAUSE)).unwrap_or_default();
                self.fail(&format!("{} ended the run", String::from_utf8_lossy(&by)));
            }
        }
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
        self.lay(&mut laid, self.name(exchange, &self.rank.to_string()), bytes);
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
            self.lay(&mut laid, name(self.rank, to), &bytes_of(piece));
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
        // Those who wait find it; torchrun itself ends the others when this process has failed.
        let _ = self.store.set(&format!("{}/{ENDED}", self.attempt), self.description().as_bytes());
        if self.serves {
            std::thread::sleep(2 * PAUSE);
        }
        std::process::exit(i32::from(code))
    }

    fn description(&self) -> String {
        format!("process {} of {} on {}", self.rank + 1, self.size, host())
    }
}

impl Drop for StoreGroup {
    fn drop(&mut self) {
        let name = |rank: usize| format!("{}/done/{rank}", self.attempt);
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

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn values_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
