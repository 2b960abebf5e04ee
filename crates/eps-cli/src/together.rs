//! The processes of a command that shares its work.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use eps::workers;
use eps_cluster::{ClusterError, Group, Launch, agree, cores_are_shared_by, launch};
#[cfg(feature = "mpi")]
use eps_mpi::join;
use tch::{Cuda, Device};

/// Whether this process is another than the first, which talks.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Whether notes and progress of this process are told.
pub(crate) fn speaks() -> bool {
    !IS_QUIET.load(Ordering::Relaxed)
}

/// Several processes of a command that does not share its work.
#[derive(Debug)]
struct OneProcess {
    size: usize,
}

impl fmt::Display for OneProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} processes were started, and this command does not share its work: start it without mpirun or srun",
            self.size
        )
    }
}

impl std::error::Error for OneProcess {}

/// The processes that were started together.
#[derive(Debug)]
pub(crate) enum Processes {
    /// A group; that of one process mostly.
    Group(Box<dyn Group>),
    /// Several that cannot reach each other, as this program has no engine for it.
    Unconnected(Launch),
}

impl Processes {
    /// Joins the processes that a launcher started. They share the cores of a machine, where the launcher gives each no
    /// cores of its own, and only the first talks.
    ///
    /// # Errors
    /// Variables of launchers that make no sense, programs that differ, an MPI that is not that of the launcher.
    pub(crate) fn join() -> Result<Self> {
        let Some(launch) = launch()? else {
            return Ok(Self::Group(join(None)?));
        };
        if launch.rank > 0 {
            IS_QUIET.store(true, Ordering::Relaxed);
        }
        let group = match join(Some(launch)) {
            Ok(group) => group,
            Err(ClusterError::NoEngine { launch }) => return Ok(Self::Unconnected(launch)),
            Err(error) => return Err(error.into()),
        };
        agree(&*group, &[("version".to_owned(), env!("EPS_VERSION").to_owned())])?;
        let cores = workers::cores() / cores_are_shared_by(&*group);
        tch::set_num_threads(i32::try_from(cores.max(1)).unwrap_or(1));
        let all = group.all_gather(format!("{} ", std::process::id()).as_bytes());
        let all: Vec<String> =
            all.iter().map(|id| String::from_utf8_lossy(id).trim().to_owned()).collect();
        eprintln!("note: {} processes compute together, of numbers {}", all.len(), all.join(", "));
        Ok(Self::Group(group))
    }

    /// The group of a command that cannot do without.
    ///
    /// # Errors
    /// Processes that cannot reach each other.
    pub(crate) fn group(&self) -> Result<&dyn Group> {
        match self {
            Self::Group(group) => Ok(&**group),
            Self::Unconnected(launch) => bail!(ClusterError::NoEngine { launch: *launch }),
        }
    }

    /// Refuses several processes, for a command that does all of its work itself.
    ///
    /// # Errors
    /// [`OneProcess`], on all of them.
    pub(crate) fn require_one(&self) -> Result<()> {
        let size = match self {
            Self::Group(group) => group.size(),
            Self::Unconnected(launch) => launch.size,
        };
        if size > 1 { bail!(OneProcess { size }) } else { Ok(()) }
    }

    /// Ends the group after a panic.
    pub(crate) fn end_of_panic(&self) {
        if let Self::Group(group) = self
            && group.size() > 1
        {
            group.abort();
        }
    }

    /// Tells an error and ends the group: at once, where other processes wait for this one.
    pub(crate) fn end(&self, error: &anyhow::Error, text: &str) {
        let common = error.downcast_ref::<ClusterError>().is_some_and(ClusterError::is_common)
            || matches!(
                error.downcast_ref::<eps_train::TrainError>(),
                Some(eps_train::TrainError::Cluster(cause)) if cause.is_common()
            )
            || error.is::<OneProcess>();
        let Self::Group(group) = self else {
            // All have found the same.
            if speaks() {
                say(text);
            }
            return;
        };
        match group.size() {
            1 => say(text),
            _ if common => {
                if speaks() {
                    say(text);
                }
                group.barrier();
            }
            _ => {
                // Where all fail alike, the first one ends the others before they tell it again.
                if !speaks() {
                    thread::sleep(Duration::from_secs(1));
                }
                say(&format!("{text} ({})", group.description()));
                group.abort();
            }
        }
    }
}

/// The group of a program without an engine.
#[cfg(not(feature = "mpi"))]
fn join(launch: Option<Launch>) -> Result<Box<dyn Group>, ClusterError> {
    match launch {
        None => Ok(Box::new(eps_cluster::Alone)),
        Some(launch) => Err(ClusterError::NoEngine { launch }),
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// The device of this process: the first GPU is one each, where a machine has several processes and GPUs.
pub(crate) fn device_of(group: &dyn Group, device: Device) -> Device {
    match device {
        Device::Cuda(0) if group.size() > 1 => {
            let count = usize::try_from(Cuda::device_count()).unwrap_or(1).max(1);
            Device::Cuda(group.machine().place % count)
        }
        device => device,
    }
}
