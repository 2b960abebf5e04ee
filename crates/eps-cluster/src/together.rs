//! A group of the processes that were started.

use crate::{Alone, ClusterError, Group, Launch};

/// The group of the processes that a launcher started; that of one process where none did.
///
/// # Errors
/// [`ClusterError::NoEngine`] without the feature `mpi`, and for processes of torchrun; [`ClusterError::OtherMpi`] where
/// launcher and library are of two MPIs.
pub fn join(launch: Option<Launch>) -> Result<Box<dyn Group>, ClusterError> {
    match launch {
        None => Ok(Box::new(Alone)),
        Some(launch) => several(launch),
    }
}

#[cfg(not(feature = "mpi"))]
fn several(launch: Launch) -> Result<Box<dyn Group>, ClusterError> {
    Err(ClusterError::NoEngine { launch })
}

#[cfg(feature = "mpi")]
fn several(launch: Launch) -> Result<Box<dyn Group>, ClusterError> {
    if launch.launcher == crate::Launcher::Torchrun {
        return Err(ClusterError::NoEngine { launch });
    }
    Ok(Box::new(crate::mpi_group::MpiGroup::join(launch)?))
}
