//! Vectors that go from GPU to GPU.

#![expect(unsafe_code, reason = "NCCL reads and writes where tensors lie")]

use std::ffi::c_void;
use std::fmt;
use std::io::Write as _;
use std::ops::Range;

use eps_cluster::{Exchange, Group};
use tch::{Device, Kind, Tensor};

use crate::nccl_library::{Communicator, Nccl, UniqueId};
use crate::store::use_gpu;

/// Why vectors cannot go from GPU to GPU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NcclError {
    /// A process that has no NCCL.
    #[error(
        "process {} has no NCCL, or not its GPU ({problem}): put the folder of libnccl.so.2 into LD_LIBRARY_PATH, as of the package nvidia-nccl",
        rank + 1
    )]
    Missing {
        /// Which process, from 0 on.
        rank: usize,
        /// What the loader says.
        problem: String,
    },
    /// NCCL could not connect the processes: the others may wait for this one within NCCL, so that it must end the group.
    #[error(
        "NCCL does not connect the GPUs: {problem}; has every process a GPU of its own? NCCL_DEBUG=WARN tells more, and a program \
         without the feature nccl sums gradients on the host"
    )]
    Connection {
        /// What NCCL says.
        problem: String,
    },
}

/// Tensors of f32 on the GPUs of a group, one GPU for each process, moved by NCCL.
///
/// An error in an exchange ends the group, as the others wait for this process.
pub struct NcclExchange<'a> {
    group: &'a dyn Group,
    device: Device,
    nccl: Nccl,
    communicator: Communicator,
}

impl fmt::Debug for NcclExchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NCCL on {:?} of {}", self.device, self.group.description())
    }
}

impl<'a> NcclExchange<'a> {
    /// Connects the GPUs of a group; all its processes call this, each with its own GPU.
    ///
    /// [`Device::Cpu`] is for a library that moves memory of the host, as a test has in the place of NCCL.
    ///
    /// # Errors
    /// [`NcclError::Missing`] where one of the processes has no NCCL, or no such GPU, on all of them; [`NcclError::Connection`] where NCCL says no.
    pub fn connect(group: &'a dyn Group, device: Device) -> Result<Self, NcclError> {
        let nccl = take_gpu(device).and_then(|()| Nccl::load());
        // Each hears of all, so that none waits for one that has given up.
        let told = nccl.as_ref().err().cloned().unwrap_or_default();
        for (rank, problem) in group.all_gather(told.as_bytes()).iter().enumerate() {
            if !problem.is_empty() {
                let problem = String::from_utf8_lossy(problem).into_owned();
                return Err(NcclError::Missing { rank, problem });
            }
        }
        let nccl = nccl.map_err(|problem| NcclError::Missing { rank: group.rank(), problem })?;
        let connection = |problem| NcclError::Connection { problem };
        let mut id = UniqueId([0; 128]);
        let mut problem = None;
        if group.rank() == 0 {
            match nccl.unique_id() {
                Ok(own) => id = own,
                Err(error) => problem = Some(error),
            }
        }
        group.broadcast(&mut id.0);
        // Process 0 then tells why there is none, and the others that there is none: all have it.
        if id.0 == [0; 128] {
            return Err(connection(problem.unwrap_or_else(|| "process 1 has no address".into())));
        }
        let place = (group.rank(), group.size());
        let communicator = nccl.communicator(id, place).map_err(connection)?;
        Ok(Self { group, device, nccl, communicator })
    }

    /// Gives NCCL's connections back; all processes call this, once everything has worked. Without it they end with the process: one that has
    /// failed would wait here for others that wait for it.
    pub fn close(self) {
        // SAFETY: it was made by this library, and is used no more.
        unsafe { self.nccl.destroy(self.communicator) };
    }

    /// Pointers to the values of pieces, and how many each has; none for this process.
    fn pointers(&self, pieces: &[Tensor]) -> Vec<(*mut c_void, usize)> {
        let of = |(rank, piece): (usize, &Tensor)| {
            let count = if rank == self.group.rank() { 0 } else { piece.numel() };
            assert!(piece.kind() == Kind::Float && piece.is_contiguous(), "vectors are of f32");
            (piece.data_ptr(), count)
        };
        pieces.iter().enumerate().map(of).collect()
    }

    /// Gives piece k to process k, and returns those of all for this one; its own is passed on.
    ///
    /// All happens in one stream, that of libtorch: what it computes of the pieces it computes afterwards, and their memory
    /// is given to nobody before.
    fn exchange(&self, pieces: Vec<Tensor>, counts: &[usize]) -> Vec<Tensor> {
        let rank = self.group.rank();
        let mut pieces: Vec<Tensor> = pieces.iter().map(Tensor::contiguous).collect();
        let empty = |count: &usize| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            Tensor::empty([count], (Kind::Float, self.device))
        };
        let mut received: Vec<Tensor> = counts.iter().map(empty).collect();
        let (send, receive) = (self.pointers(&pieces), self.pointers(&received));
        let moved = take_gpu(self.device).and_then(|()| {
            // SAFETY: the tensors are of this GPU, and outlive the call; after it the stream keeps the order.
            unsafe { self.nccl.exchange(self.communicator, &send, &receive) }
        });
        if let Err(problem) = moved {
            let _ = writeln!(
                std::io::stderr(),
                "error: NCCL could not move vectors between GPUs: {problem} ({})",
                self.group.description()
            );
            self.group.abort(1);
        }
        received[rank] = pieces.swap_remove(rank);
        received
    }
}

/// Makes the device the one of this thread, where it is a GPU.
fn take_gpu(device: Device) -> Result<(), String> {
    match device {
        Device::Cuda(index) => use_gpu(index),
        _ => Ok(()),
    }
}

impl Exchange<Tensor> for NcclExchange<'_> {
    fn place(&self) -> (usize, usize) {
        (self.group.rank(), self.group.size())
    }

    fn length(&self, vector: &Tensor) -> usize {
        vector.numel()
    }

    fn slice(&self, vector: &Tensor, values: Range<usize>) -> Tensor {
        let [begin, length] = [values.start, values.len()].map(|v| i64::try_from(v).unwrap_or(0));
        vector.narrow(0, begin, length)
    }

    fn concat(&self, vectors: Vec<Tensor>) -> Tensor {
        if vectors.is_empty() {
            return Tensor::empty([0], (Kind::Float, self.device));
        }
        Tensor::cat(&vectors, 0)
    }

    fn add(&self, a: Tensor, b: Tensor) -> Tensor {
        a + b
    }

    fn all_to_all(&self, pieces: Vec<Tensor>, counts: &[usize]) -> Vec<Tensor> {
        self.exchange(pieces, counts)
    }

    fn all_gather(&self, values: Tensor, counts: &[usize]) -> Tensor {
        let pieces = (0..counts.len()).map(|_| values.shallow_clone()).collect();
        self.concat(self.exchange(pieces, counts))
    }
}
