//! Processes of one machine or many that compute together.
//!
//! A [`Group`] is what they tell each other by. [`Alone`] is the group of one process, which costs nothing; with the feature
//! `mpi`, [`join`] makes one of the processes that `mpirun` or `srun` started. [`all_reduce`] sums vectors in one order
//! whatever the number of processes, so that a training ends in the same weights on one and on four.
//!
//! ```
//! use eps_cluster::{join, launch};
//!
//! let group = join(launch()?)?; // one process, where nothing started several
//! assert_eq!((group.rank(), group.size()), (0, 1));
//! # Ok::<(), eps_cluster::ClusterError>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod agreement;
mod error;
mod group;
mod launch;
#[cfg(feature = "mpi")]
mod mpi_group;
mod sum;
mod together;

pub use agreement::{agree, cores_are_shared_by, sees_the_same_folder};
pub use error::ClusterError;
pub use group::{Alone, Group, Machine};
pub use launch::{Launch, Launcher, launch};
pub use sum::{TreeSum, all_reduce, share};
pub use together::join;
