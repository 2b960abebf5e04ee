//! What can go wrong between processes.

use std::path::PathBuf;

use crate::Launch;

/// An error of `eps-cluster`; each variant carries the value that caused it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A variable of a launcher that is no number, or a rank that is not below the number of processes.
    #[error(
        "{variable} is {value:?}, which a launcher of processes does not set: unset it, or start the program by mpirun, \
         srun or torchrun"
    )]
    Variable {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// Several processes were started and this program cannot make a group of them.
    #[error(
        "this is process {} of {} that {} started, and {}",
        launch.rank + 1,
        launch.size,
        launch.launcher,
        launch.remedy()
    )]
    NoEngine {
        /// Who started how many.
        launch: Launch,
    },
    /// MPI sees another number of processes than were started.
    #[error(
        "{} started {} processes, and the MPI that this program is linked with sees {found} ({library}): start it by the \
         mpirun of that MPI, or compile the program with the MPI of this mpirun (MPICC names its compiler wrapper)",
        launch.launcher,
        launch.size
    )]
    OtherMpi {
        /// Who started how many.
        launch: Launch,
        /// What MPI says.
        found: usize,
        /// The name and version of the MPI library.
        library: String,
    },
    /// Processes of torchrun that cannot reach each other.
    #[error(
        "this is process {} of {} that {} started, and {problem} (without torchrun, unset RANK and WORLD_SIZE)",
        launch.rank + 1,
        launch.size,
        launch.launcher
    )]
    Rendezvous {
        /// Who started how many.
        launch: Launch,
        /// What is missing, or what the store says.
        problem: String,
    },
    /// MPI is at work in this process already.
    #[error("MPI was initialised in this process before: join once")]
    Twice,
    /// Processes that were started differently.
    #[error(
        "process {} has {field} {value}, and process 1 has {first}: start all processes with the same program, \
         configuration and files",
        rank + 1
    )]
    Differs {
        /// Which process, from 0 on.
        rank: usize,
        /// What differs.
        field: String,
        /// What that process has.
        value: String,
        /// What the first one has.
        first: String,
    },
    /// A folder that not all processes see.
    #[error(
        "process {} (on {host}) does not see what process 1 writes in {}: name a folder that all machines share",
        rank + 1,
        folder.display()
    )]
    NotShared {
        /// Which process, from 0 on.
        rank: usize,
        /// Its machine.
        host: String,
        /// The folder.
        folder: PathBuf,
    },
    /// A file in the shared folder that could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl ClusterError {
    /// Whether it is about the variables of torchrun, which stay where none is at work.
    #[must_use]
    pub fn is_of_torchrun(&self) -> bool {
        matches!(self, Self::Variable { variable: "RANK" | "WORLD_SIZE" | "MASTER_PORT", .. })
    }

    /// Whether every process of the group has found the same, so that one of them need tell it.
    #[must_use]
    pub fn is_common(&self) -> bool {
        matches!(self, Self::Differs { .. } | Self::NotShared { .. })
    }
}
