//! Processes of one machine or many that compute together.
//!
//! A [`Group`] is what they tell each other by. [`Alone`] is the group of one process, which costs nothing; `eps-mpi` makes
//! one of the processes that `mpirun` or `srun` started, and [`launch()`] tells whether there are several. [`all_reduce`]
//! sums vectors in one order whatever the number of processes, so that a training ends in the same weights on one and on
//! four. The crate is pure Rust; another engine is an implementation of the trait, and of [`Exchange`] where it moves vectors
//! from GPU to GPU, as `eps-nccl` does.
//!
//! ```
//! use eps_cluster::{Alone, Group as _, launch};
//!
//! assert_eq!(launch()?, None); // nothing started several
//! assert_eq!((Alone.rank(), Alone.size()), (0, 1));
//! # Ok::<(), eps_cluster::ClusterError>(())
//! ```

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

mod agreement;
mod error;
mod exchange;
mod floats;
mod group;
mod launch;
mod sum;
mod variables;

pub use agreement::{
    agree, agree_on_machine, cores_are_shared_by, facts_of, host, sees_the_same_folder,
};
pub use error::ClusterError;
pub use exchange::Exchange;
pub use floats::{bytes_of, values_of};
pub use group::{Alone, Group, Machine};
pub use launch::{Launch, Launcher};
pub use sum::{TreeSum, all_reduce, all_reduce_by, share};
pub use variables::{launch, torchrun_is_at_work};
