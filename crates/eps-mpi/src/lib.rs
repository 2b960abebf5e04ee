//! A group of processes by MPI, through rsmpi.
//!
//! Without the feature `mpi` several processes are an error that says how to compile a program that knows MPI, so that a
//! workspace compiles where there is none.
//!
//! ```
//! let launch = eps_cluster::launch()?; // what mpirun or srun told this process
//! let group = eps_mpi::join(launch)?;
//! println!("{}", group.description());
//! # Ok::<(), eps_cluster::ClusterError>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

#[cfg(feature = "mpi")]
mod mpi_group;

use eps_cluster::{Alone, ClusterError, Group, Launch};

/// The group of the processes that a launcher started; that of one process where none did. Once a process.
///
/// # Errors
/// [`ClusterError::NoEngine`] without the feature `mpi`, and for processes of torchrun; [`ClusterError::OtherMpi`] where
/// launcher and library are of two MPIs, [`ClusterError::Twice`] at a second call.
pub fn join(launch: Option<Launch>) -> Result<Box<dyn Group>, ClusterError> {
    match launch {
        None => Ok(Box::new(Alone)),
        Some(launch) => several(launch),
    }
}

#[cfg(feature = "mpi")]
fn several(launch: Launch) -> Result<Box<dyn Group>, ClusterError> {
    if launch.launcher == eps_cluster::Launcher::Torchrun {
        return Err(ClusterError::NoEngine { launch });
    }
    Ok(Box::new(mpi_group::MpiGroup::join(launch)?))
}

#[cfg(not(feature = "mpi"))]
fn several(launch: Launch) -> Result<Box<dyn Group>, ClusterError> {
    Err(ClusterError::NoEngine { launch })
}

#[cfg(test)]
mod tests {
    use eps_cluster::Launcher;

    use super::*;

    fn error(launcher: Launcher) -> String {
        join(Some(Launch { launcher, rank: 1, size: 4, of_machine: None })).unwrap_err().to_string()
    }

    #[test]
    fn several_processes_of_torchrun_have_no_engine() {
        let error = error(Launcher::Torchrun);
        assert!(error.contains("process 2 of 4") && error.contains("mpirun or srun"), "{error}");
        assert_eq!(join(None).unwrap().size(), 1);
    }

    #[cfg(not(feature = "mpi"))]
    #[test]
    fn without_mpi_the_remedy_is_told() {
        for launcher in [Launcher::Slurm, Launcher::OpenMpi, Launcher::Mpich] {
            let error = error(launcher);
            assert!(
                error.contains("process 2 of 4") && error.contains("--features mpi"),
                "{error}"
            );
        }
    }
}
