//! Who started this process, and how many others with it.

use std::fmt;

/// The program that starts processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// Open MPI's mpirun.
    OpenMpi,
    /// The mpirun of MPICH, or another that speaks PMI.
    Mpich,
    /// Slurm's srun.
    Slurm,
    /// PyTorch's torchrun.
    Torchrun,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "mpirun (Open MPI)",
            Self::Mpich => "mpirun (PMI)",
            Self::Slurm => "srun",
            Self::Torchrun => "torchrun",
        })
    }
}

/// A process among several that one launcher started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// By what.
    pub launcher: Launcher,
    /// Which process this is, from 0 on.
    pub rank: usize,
    /// How many were started, 2 or more.
    pub size: usize,
    /// Which of those of its machine this is, from 0 on, and how many they are, where the launcher tells.
    pub of_machine: Option<(usize, usize)>,
}

impl Launch {
    /// What to do where a program cannot make a group of the processes.
    pub(crate) fn remedy(self) -> &'static str {
        if self.launcher == Launcher::Torchrun {
            "its store is not known here: start the program by torchrun, compiled with `--features nccl`, or by mpirun or srun (docs/cluster.md)"
        } else {
            "this program was compiled without MPI: compile it with `--features mpi` (docs/cluster.md), or start one process"
        }
    }
}
