//! What libtorch cannot do, as errors.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Once;
use std::thread;

use eps_math::{MathError, whole};
use tch::TchError;

/// Why a network, or another computation on tensors, gave no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// The memory of the device, or of the host, is too small.
    #[error(
        "memory ran out{}: take fewer images at once (a smaller --batch; in training a smaller micro_batch, or \
         gradient_checkpointing)",
        Asked(*bytes)
    )]
    OutOfMemory {
        /// The bytes of the allocation that failed, where libtorch tells.
        bytes: Option<u64>,
    },
    /// A denoiser's answer that has not the shape of the images it was asked about.
    #[error(
        "the network returned a tensor {found:?} for images {expected:?}: it must return one image for each"
    )]
    Shape {
        /// The shape of the images.
        expected: Vec<i64>,
        /// The shape that was found.
        found: Vec<i64>,
    },
    /// A batch of images for another number of measurements.
    #[error(
        "{images} images were given for a measurement of {measured}: give one image for each, or one of either"
    )]
    Batch {
        /// The number of images.
        images: i64,
        /// The number of images that were measured.
        measured: i64,
    },
    /// A TorchScript module that raised an error.
    #[error("{path}: the module failed: {reason}", path = path.display())]
    Module {
        /// The module's file.
        path: PathBuf,
        /// What it raised.
        reason: String,
    },
    /// An iterative solver, or another computation of numbers, that did not succeed.
    #[error("{what}: {error}")]
    Math {
        /// What was computed.
        what: &'static str,
        /// What went wrong.
        error: MathError,
    },
    /// Anything else that libtorch refused.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// A denoiser that has reasons of its own.
    #[error("{0}")]
    Other(String),
}

/// The bytes of a failed allocation, for a sentence.
struct Asked(Option<u64>);

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(bytes) if bytes >= 1 << 20 => {
                let (size, unit) = match bytes as f64 / GIB {
                    size if size < 1.0 => (1024.0 * size, "MiB"),
                    size => (size, "GiB"),
                };
                write!(f, " when {bytes} bytes ({size:.1} {unit}) were asked for")
            }
            Some(bytes) => write!(f, " when {bytes} bytes were asked for"),
        }
    }
}

const GIB: f64 = (1u64 << 30) as f64;

impl ComputeError {
    /// The error that a message of libtorch tells.
    #[must_use]
    pub fn from_message(message: &str) -> Self {
        if is_out_of_memory(message) {
            Self::OutOfMemory { bytes: asked_bytes(message) }
        } else {
            Self::Libtorch(cause(message))
        }
    }

    /// What went wrong in a computation of numbers, as [`Result::map_err`] takes it.
    pub(crate) fn of(what: &'static str) -> impl Fn(MathError) -> Self {
        move |error| Self::Math { what, error }
    }

    /// The same with the module's file, where it is not about memory.
    #[must_use]
    pub fn of_module(self, path: &std::path::Path) -> Self {
        match self {
            Self::Libtorch(reason) => Self::Module { path: path.to_owned(), reason },
            other => other,
        }
    }
}

impl From<TchError> for ComputeError {
    fn from(error: TchError) -> Self {
        match error {
            TchError::Torch(message) => Self::from_message(&message),
            other => Self::Libtorch(other.to_string()),
        }
    }
}

/// Whether memory was short, by the words of the allocators of CUDA, of the host, and of the libraries below.
fn is_out_of_memory(message: &str) -> bool {
    [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "Cannot allocate memory",
        "std::bad_alloc",
        "STATUS_ALLOC_FAILED",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// The size in "you tried to allocate 123 bytes" or "Tried to allocate 20.00 GiB".
fn asked_bytes(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("ried to allocate ")?;
    let mut words = rest.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit = words.next()?.trim_end_matches(['.', ',', ';', ')']);
    let factor = match unit {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => GIB / 1024.0,
        "GiB" => GIB,
        "TiB" => GIB * 1024.0,
        _ => return None,
    };
    u64::try_from(whole(number * factor)).ok()
}

/// What went wrong, in one line: libtorch's messages begin or go on with traces of its sources.
pub(crate) fn cause(message: &str) -> String {
    let line = message
        .lines()
        .find(|line| line.contains("RuntimeError: "))
        .or_else(|| message.lines().find(|line| !line.trim().is_empty()));
    line.unwrap_or_default().trim().to_owned()
}

/// Runs a computation on tensors whose failure is an error, not a panic.
///
/// Arithmetic is written with tch's operators, which panic where libtorch throws, as memory can run out in any of
/// them: a `Result` at each would hide the formulas. So the panics are caught here, at the border of a network's call,
/// of a sampler's step and of a training. The values that a failed computation leaves behind are tensors of its own,
/// which are dropped; modes of libtorch are held by guards, which unwinding restores. Functions of AᵀA that are iterated are arithmetic, too:
/// what goes wrong in them comes the same way. Panics of any other origin are bugs, and go on.
///
/// # Errors
/// [`ComputeError`] where an operation of libtorch failed, and [`ComputeError::Math`] of iterated functions of AᵀA.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, ComputeError> {
    caught(work).map_err(|payload| match payload.downcast::<ComputeError>() {
        Ok(error) => *error,
        Err(payload) => match libtorch_message(payload.as_ref()) {
            Some(message) => ComputeError::from_message(&message),
            None => resume_unwind(payload),
        },
    })
}

/// Ends arithmetic on tensors, on any thread that works for it, by an error, which [`attempt`] returns.
pub(crate) fn raise(error: ComputeError) -> ! {
    resume_unwind(Box::new(error))
}

/// Runs work and returns what it panicked with, which is not printed where it is libtorch's: on a thread that works for one inside
/// [`attempt`], which goes on with the panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    silence_caught_panics();
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    result
}

thread_local! {
    /// Whether this thread is inside [`attempt`].
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics of libtorch that [`attempt`] makes errors of from being printed with their C++ frames; all others are
/// told as before.
fn silence_caught_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !(CAUGHT.get() && libtorch_message(info.payload()).is_some()) {
                previous(info);
            }
        }));
    });
}

/// The message of a panic of tch's operators, which unwrap a [`TchError::Torch`].
fn libtorch_message(payload: &(dyn Any + Send)) -> Option<String> {
    const UNWRAPPED: &str = "called `Result::unwrap()` on an `Err` value: Torch(\"";
    let text = payload.downcast_ref::<String>()?;
    let quoted = text.strip_prefix(UNWRAPPED)?.strip_suffix("\")")?;
    // As `Debug` writes a string; other escapes do not matter to the words that are looked for.
    Some(quoted.replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'"))
}

/// Checks that an answer has the shape of the images it is about.
pub(crate) fn check_shape(expected: &[i64], found: &[i64]) -> Result<(), ComputeError> {
    if expected == found {
        return Ok(());
    }
    Err(ComputeError::Shape { expected: expected.to_vec(), found: found.to_vec() })
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;
    use tch::{Device, Kind, Tensor};

    use super::*;

    const CPU: Device = Device::Cpu;

    #[test]
    fn a_failed_allocation_is_an_error() {
        // 2⁵⁰ doubles: more than the addresses of a process.
        let error = attempt(|| Tensor::zeros([1 << 50], (Kind::Double, CPU))).unwrap_err();
        assert_eq!(error, ComputeError::OutOfMemory { bytes: Some(1 << 53) });
        let text = error.to_string();
        assert!(
            text.starts_with("memory ran out when 9007199254740992 bytes (8388608.0 GiB)"),
            "{text}"
        );
        assert!(text.contains("--batch") && !text.contains("frame"), "{text}");
        // The thread goes on.
        assert_eq!(attempt(|| Tensor::from_slice(&[1.0, 2.0]).size()), Ok(vec![2]));
    }

    #[test]
    fn what_libtorch_refuses_is_an_error_in_one_line() {
        let of = |sides: [i64; 2]| Tensor::zeros(sides, (Kind::Float, CPU));
        let error = attempt(|| of([2, 3]).matmul(&of([2, 3]))).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("libtorch: mat1 and mat2 shapes cannot be multiplied"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn an_error_that_is_raised_on_a_thread_is_returned() {
        let error = ComputeError::Other("here".to_owned());
        let raised = attempt(|| (0..4).into_par_iter().for_each(|_| raise(error.clone())));
        assert_eq!(raised, Err(error));
    }

    #[test]
    #[should_panic(expected = "a bug")]
    fn other_panics_go_on() {
        let _ = attempt(|| panic!("a bug"));
    }

    #[test]
    fn messages_of_the_allocators_are_read() {
        let bytes = |message: &str| match ComputeError::from_message(message) {
            ComputeError::OutOfMemory { bytes } => bytes,
            other => panic!("{other}"),
        };
        let cpu = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried \
                   to allocate 123 bytes. Error code 12 (Cannot allocate memory)\nframe #0: c10::ThrowEnforceNotMet";
        assert_eq!(bytes(cpu), Some(123));
        let cuda = "CUDA out of memory. Tried to allocate 20.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which";
        assert_eq!(bytes(cuda), Some(22_011_707_392));
        let old = "CUDA out of memory. Tried to allocate 2.00 MiB (GPU 0; 79.10 GiB total capacity; 70 GiB already";
        assert_eq!(bytes(old), Some(2_097_152));
        assert_eq!(
            bytes("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
            None
        );
        let error = ComputeError::OutOfMemory { bytes: None };
        assert!(error.to_string().starts_with("memory ran out: take fewer images at once"));
    }
}
