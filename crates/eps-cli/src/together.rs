//! The processes of a command that shares its work.

use std::fmt;
use std::io::Write as _;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use eps::workers;
use eps_cluster::{
    ClusterError, Group, Launch, Launcher, agree, cores_are_shared_by, launch, torchrun_is_at_work,
};
use eps_experiments::ExperimentError;
use eps_train::TrainError;
use tch::{Cuda, Device};

/// Whether this process is another than the first, which talks.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// The cores that this process has of those of its machine; 0 for a process alone.
static GIVEN_CORES: AtomicUsize = AtomicUsize::new(0);

/// Whether notes and progress of this process are told.
pub(crate) fn speaks() -> bool {
    !IS_QUIET.load(Ordering::Relaxed)
}

/// The group of the processes that a launcher started, by MPI or by torchrun's store.
fn join(launch: Option<Launch>) -> Result<Box<dyn Group>, ClusterError> {
    match launch {
        Some(launch) if launch.launcher == Launcher::Torchrun => eps_nccl::join(launch),
        launch => eps_mpi::join(launch),
    }
}

/// Ends a process whose command line is none, or asks for help: where others were started with it, they are told, as they
/// would wait for it.
pub(crate) fn refuse(told: &clap::Error) -> ! {
    // Variables of torchrun stay where none is at work.
    let launch = launch()
        .ok()
        .flatten()
        .filter(|launch| launch.launcher != Launcher::Torchrun || torchrun_is_at_work());
    let Some(launch) = launch else { print(told) };
    let text = told.to_string();
    let command = match told.exit_code() {
        0 => "one that only prints",
        _ => text.lines().next().unwrap_or_default(),
    };
    let is_first = match join(Some(launch)) {
        Ok(group) => {
            IS_QUIET.store(group.rank() > 0, Ordering::Relaxed);
            // It ends the process where the others were asked for something else.
            if let Err(error) = of_one_kind(&*group, command) {
                end_together(group, &error);
            }
            let is_first = group.rank() == 0;
            group.barrier();
            is_first
        }
        Err(_) => launch.rank == 0,
    };
    if is_first {
        print(told);
    }
    std::process::exit(told.exit_code())
}

/// Prints what clap has to say, and ends.
fn print(told: &clap::Error) -> ! {
    let printed = told.print().and_then(|()| std::io::stdout().flush());
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            say(&format!(
                "cannot write to standard output: {error}; free some space there, or send the output elsewhere"
            ));
            std::process::exit(1)
        }
        _ => std::process::exit(told.exit_code()),
    }
}

/// Checks that all processes are of one program and were asked for the same.
fn of_one_kind(group: &dyn Group, command: &str) -> Result<(), ClusterError> {
    let facts = [("the command", command), ("version", env!("EPS_VERSION"))];
    agree(group, &facts.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// Ends all processes with an error that each has found: one tells it, and none ends before it has.
fn end_together(group: Box<dyn Group>, error: &ClusterError) -> ! {
    if speaks() {
        say(&error.to_string());
    }
    group.barrier();
    drop(group);
    std::process::exit(1);
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
            "{} processes were started, and this command does not share its work: start it without mpirun, srun or torchrun",
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
    /// cores of its own, and only the first talks. `command` is what all must have been asked to do, `is_shared` whether it
    /// shares its work.
    ///
    /// # Errors
    /// Variables of launchers that make no sense, programs that differ, an MPI that is not that of the launcher.
    pub(crate) fn join(command: &str, is_shared: bool) -> Result<Self> {
        // Torchrun's variables stay where it is at work no more, as in the jobs of some clusters.
        let launch = match launch() {
            Err(error) if is_shared || !error.is_of_torchrun() => return Err(error.into()),
            Err(_) => None,
            Ok(launch) => launch.filter(|launch| {
                is_shared || launch.launcher != Launcher::Torchrun || torchrun_is_at_work()
            }),
        };
        let Some(launch) = launch else {
            return Ok(Self::Group(join(None)?));
        };
        let group = match join(Some(launch)) {
            Ok(group) => group,
            Err(ClusterError::NoEngine { launch }) => {
                IS_QUIET.store(launch.rank > 0, Ordering::Relaxed);
                if let Some((_, count)) = launch.of_machine {
                    let cores = (workers::cores() / count).max(1);
                    tch::set_num_threads(i32::try_from(cores).unwrap_or(1));
                    GIVEN_CORES.store(cores, Ordering::Relaxed);
                }
                return Ok(Self::Unconnected(launch));
            }
            Err(error) => return Err(error.into()),
        };
        IS_QUIET.store(group.rank() > 0, Ordering::Relaxed);
        if let Err(error) = of_one_kind(&*group, command) {
            end_together(group, &error);
        }
        // torchrun gives each process a number of threads, one where nobody says otherwise.
        let is_given =
            launch.launcher == Launcher::Torchrun && std::env::var_os("OMP_NUM_THREADS").is_some();
        let share = if is_given { 1 } else { cores_are_shared_by(&*group) };
        let cores = (workers::cores() / share).max(1);
        tch::set_num_threads(i32::try_from(cores).unwrap_or(1));
        GIVEN_CORES.store(cores, Ordering::Relaxed);
        let all = group.all_gather(std::process::id().to_string().as_bytes());
        let all: Vec<_> = all.iter().map(|id| String::from_utf8_lossy(id)).collect();
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
        let size = self.size();
        if size > 1 { bail!(OneProcess { size }) } else { Ok(()) }
    }

    /// How many they are.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Group(group) => group.size(),
            Self::Unconnected(launch) => launch.size,
        }
    }

    /// The device of this process: the first GPU is one each, where a machine has several processes and GPUs.
    pub(crate) fn device(&self, device: Device) -> Device {
        match self {
            Self::Group(group) => device_of(&**group, device),
            Self::Unconnected(launch) => {
                launch.of_machine.map_or(device, |(place, _)| device_at(place, device))
            }
        }
    }

    /// Whether this is the first.
    pub(crate) fn is_first(&self) -> bool {
        match self {
            Self::Group(group) => group.rank() == 0,
            Self::Unconnected(launch) => launch.rank == 0,
        }
    }

    /// Gives this process the cores of those of its machine that are done.
    pub(crate) fn take_all_cores(&self) {
        let given = GIVEN_CORES.load(Ordering::Relaxed);
        // Not where --threads said how many.
        if given > 0 && workers::threads() == given {
            let all = thread::available_parallelism().map_or(1, NonZero::get);
            tch::set_num_threads(i32::try_from(all).unwrap_or(1));
        }
    }

    /// Ends the group where this process cannot go on.
    pub(crate) fn abort(&self, code: u8) {
        if let Self::Group(group) = self
            && group.size() > 1
        {
            group.abort(code);
        }
    }

    /// Tells an error and ends the group: at once, where other processes wait for this one.
    pub(crate) fn end(&self, error: &anyhow::Error, text: &str, code: u8) {
        let common = is_common(error);
        let group = match self {
            Self::Group(group) => group,
            Self::Unconnected(launch) => {
                // What all have found need not be told by all.
                // Variables of torchrun may be there without one.
                if speaks() || !common || launch.launcher == Launcher::Torchrun {
                    say(&format!("{text} (process {} of {})", launch.rank + 1, launch.size));
                }
                return;
            }
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
                // What the launcher has not read when it hears of the end is lost.
                thread::sleep(Duration::from_millis(100));
                group.abort(code);
            }
        }
    }
}

/// Whether every process has found the same error.
fn is_common(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<ClusterError>();
    let cause = cause.or_else(|| match error.downcast_ref::<TrainError>() {
        Some(TrainError::Cluster(cause)) => Some(cause),
        _ => None,
    });
    let cause = cause.or_else(|| match error.downcast_ref::<ExperimentError>() {
        Some(ExperimentError::Cluster(cause)) => Some(cause),
        _ => None,
    });
    error.is::<OneProcess>()
        || cause.is_some_and(|cause| {
            cause.is_common() || matches!(cause, ClusterError::NoEngine { .. })
        })
}

/// Writes an error, also of a process that is quiet otherwise; at once, as the launcher may end this process between two pieces.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("error: {text}\n").as_bytes());
}

/// What sums gradients from GPU to GPU, for several processes on GPUs; without NCCL a note says that they go by the host.
///
/// # Errors
/// NCCL that does not connect them.
#[cfg(feature = "nccl")]
pub(crate) fn exchange_of(
    group: &dyn Group,
    device: Device,
) -> Result<Option<eps_nccl::NcclExchange<'_>>> {
    if group.size() == 1 || !device.is_cuda() {
        return Ok(None);
    }
    match eps_nccl::NcclExchange::connect(group, device) {
        Ok(exchange) => Ok(Some(exchange)),
        Err(error @ eps_nccl::NcclError::Missing { .. }) => {
            if speaks() {
                eprintln!("note: gradients go from GPU to GPU by way of the host: {error}");
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The device of this process: the first GPU is one each, where a machine has several processes and GPUs.
pub(crate) fn device_of(group: &dyn Group, device: Device) -> Device {
    if group.size() > 1 { device_at(group.machine().place, device) } else { device }
}

/// The device of the process of a place on its machine.
fn device_at(place: usize, device: Device) -> Device {
    match device {
        Device::Cuda(0) => {
            let count = usize::try_from(Cuda::device_count()).unwrap_or(1).max(1);
            Device::Cuda(place % count)
        }
        device => device,
    }
}
