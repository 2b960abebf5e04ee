//! A group of processes by MPI, through rsmpi.
//!
//! Without the feature `mpi` the crate is empty, so that the workspace compiles where there is no MPI.
//!
//! ```
//! # #[cfg(feature = "mpi")] {
//! let launch = eps_cluster::launch()?; // what mpirun or srun told this process
//! let group = eps_mpi::join(launch)?;
//! println!("{}", group.description());
//! # }
//! # Ok::<(), eps_cluster::ClusterError>(())
//! ```

#![cfg(feature = "mpi")]
#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod mpi_group;

use eps_cluster::{Alone, ClusterError, Group, Launch, Launcher};

/// The group of the processes that a launcher started; that of one process where none did. Once a process.
///
/// # Errors
/// [`ClusterError::NoEngine`] for processes of torchrun; [`ClusterError::OtherMpi`] where launcher and library are of two
/// MPIs, [`ClusterError::Twice`] at a second call.
pub fn join(launch: Option<Launch>) -> Result<Box<dyn Group>, ClusterError> {
    match launch {
        None => Ok(Box::new(Alone)),
        Some(launch) if launch.launcher == Launcher::Torchrun => {
            Err(ClusterError::NoEngine { launch })
        }
        Some(launch) => Ok(Box::new(mpi_group::MpiGroup::join(launch)?)),
    }
}
