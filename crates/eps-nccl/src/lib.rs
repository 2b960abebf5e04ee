//! Processes that torchrun started, and sums of vectors from GPU to GPU by NCCL.
//!
//! [`join`] makes a group of torchrun's processes: they tell each other what they have by the store that torchrun keeps for
//! them, which libtorch speaks to. `NcclExchange` moves tensors between the GPUs of any group, of torchrun or of MPI, so that
//! gradients never reach the host. NCCL itself is looked for when it is needed: libtorch for CUDA brings it.
//!
//! Without the feature `nccl` both are errors that say so, and neither libtorch nor a C++ compiler is needed.
//!
//! ```
//! use eps_cluster::{Launch, Launcher};
//!
//! // Not started by torchrun: there is no store.
//! let launch = Launch { launcher: Launcher::Torchrun, rank: 0, size: 2, of_machine: None };
//! assert!(eps_nccl::join(launch).is_err());
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

#[cfg(feature = "nccl")]
mod nccl;
#[cfg(feature = "nccl")]
mod nccl_library;
#[cfg(feature = "nccl")]
mod rendezvous;
#[cfg(feature = "nccl")]
mod store;
#[cfg(feature = "nccl")]
mod store_group;

#[cfg(feature = "nccl")]
pub use nccl::{NcclError, NcclExchange};

use eps_cluster::{ClusterError, Group, Launch};

/// The group of the processes that torchrun started.
///
/// # Errors
/// [`ClusterError::NoEngine`] without the feature `nccl`, and where `MASTER_ADDR` does not say where torchrun's store is;
/// [`ClusterError::Rendezvous`] where nothing answers there, or the others do not come.
pub fn join(launch: Launch) -> Result<Box<dyn Group>, ClusterError> {
    #[cfg(feature = "nccl")]
    return Ok(Box::new(store_group::StoreGroup::join(launch)?));
    #[cfg(not(feature = "nccl"))]
    Err(ClusterError::NoEngine { launch })
}
