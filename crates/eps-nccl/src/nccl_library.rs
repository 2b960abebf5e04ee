//! NCCL's functions, found when the program runs.
//!
//! Names, types and numbers are those of `nccl.h`, which are the same since NCCL 2.7.

#![expect(unsafe_code, reason = "NCCL's functions are those of a C library")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;

use libloading::{Library, Symbol};

/// What the processes of a communicator know each other by.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

/// A communicator of NCCL.
pub(super) type Communicator = *mut c_void;

/// CUDA's own stream, on which libtorch computes unless it is told otherwise.
const DEFAULT_STREAM: *mut c_void = std::ptr::null_mut();

/// `ncclFloat32`
const FLOAT: c_int = 7;

/// The library, under the names that it has; it stays loaded, as threads of its own may be at work.
#[derive(Debug)]
pub(super) struct Nccl(ManuallyDrop<Library>);

const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];

const FUNCTIONS: [&str; 8] = [
    "ncclGetErrorString",
    "ncclGetUniqueId",
    "ncclCommInitRank",
    "ncclCommDestroy",
    "ncclGroupStart",
    "ncclGroupEnd",
    "ncclSend",
    "ncclRecv",
];

impl Nccl {
    /// Finds it where the loader looks: libtorch for CUDA has loaded it already.
    pub(super) fn load() -> Result<Self, String> {
        let mut first = None;
        for name in NAMES {
            // SAFETY: the library's initialisers are those of NCCL, which libtorch runs too.
            match unsafe { Library::new(name) } {
                Ok(library) => return Self(ManuallyDrop::new(library)).complete(),
                Err(error) => _ = first.get_or_insert(error.to_string()),
            }
        }
        Err(first.unwrap_or_default())
    }

    /// The library, where it has all functions that are called.
    fn complete(self) -> Result<Self, String> {
        for name in FUNCTIONS {
            self.function::<unsafe extern "C" fn()>(name)?;
        }
        Ok(self)
    }

    /// A function by its name.
    fn function<T>(&self, name: &str) -> Result<Symbol<'_, T>, String> {
        // SAFETY: whoever calls it names the type that `nccl.h` has for it.
        unsafe { self.0.get(name.as_bytes()) }.map_err(|error| error.to_string())
    }

    fn outcome(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        type Text = unsafe extern "C" fn(c_int) -> *const c_char;
        let text = self.function::<Text>("ncclGetErrorString");
        // SAFETY: the function returns a text that lives as long as the library.
        let text = text.map(|text| unsafe { CStr::from_ptr(text(code)) }.to_string_lossy().into());
        Err(text.unwrap_or_else(|_| format!("error {code}")))
    }

    pub(super) fn unique_id(&self) -> Result<UniqueId, String> {
        type Function = unsafe extern "C" fn(*mut UniqueId) -> c_int;
        let mut id = UniqueId([0; 128]);
        let function = self.function::<Function>("ncclGetUniqueId")?;
        // SAFETY: it writes 128 bytes.
        self.outcome(unsafe { function(&raw mut id) })?;
        Ok(id)
    }

    /// Waits for all processes.
    pub(super) fn communicator(
        &self,
        id: UniqueId,
        (rank, size): (usize, usize),
    ) -> Result<Communicator, String> {
        type Function = unsafe extern "C" fn(*mut Communicator, c_int, UniqueId, c_int) -> c_int;
        let mut communicator = std::ptr::null_mut();
        let function = self.function::<Function>("ncclCommInitRank")?;
        let [rank, size] = [rank, size].map(number);
        // SAFETY: it writes a pointer.
        self.outcome(unsafe { function(&raw mut communicator, size?, id, rank?) })?;
        Ok(communicator)
    }

    /// Gives a communicator back.
    ///
    /// # Safety
    /// It was made by this library, and is used no more.
    pub(super) unsafe fn destroy(&self, communicator: Communicator) {
        type Function = unsafe extern "C" fn(Communicator) -> c_int;
        if let Ok(function) = self.function::<Function>("ncclCommDestroy") {
            // SAFETY: as it is asked of the caller.
            unsafe { function(communicator) };
        }
    }

    /// Sends `send[k]` to process k and receives `receive[k]` from it, pointers to values with how many there are, all at once. The work
    /// is in the stream when the function returns.
    ///
    /// # Safety
    /// The pointers are of memory of the communicator's GPU, which is not used for anything else before that work is done.
    pub(super) unsafe fn exchange(
        &self,
        communicator: Communicator,
        send: &[(*mut c_void, usize)],
        receive: &[(*mut c_void, usize)],
    ) -> Result<(), String> {
        type Group = unsafe extern "C" fn() -> c_int;
        type Move = unsafe extern "C" fn(
            *mut c_void,
            usize,
            c_int,
            c_int,
            Communicator,
            *mut c_void,
        ) -> c_int;
        let begin = self.function::<Group>("ncclGroupStart")?;
        let end = self.function::<Group>("ncclGroupEnd")?;
        // SAFETY: neither has arguments.
        self.outcome(unsafe { begin() })?;
        let moved = [("ncclSend", send), ("ncclRecv", receive)].into_iter().try_for_each(
            |(name, pieces)| {
                let function = self.function::<Move>(name)?;
                let some = pieces.iter().enumerate().filter(|(_, (_, count))| *count > 0);
                for (peer, (values, count)) in some {
                    let peer = number(peer)?;
                    // SAFETY: as it is asked of the caller.
                    self.outcome(unsafe {
                        function(*values, *count, FLOAT, peer, communicator, DEFAULT_STREAM)
                    })?;
                }
                Ok(())
            },
        );
        // SAFETY: as above. A group that was begun is ended, also after an error.
        moved.and(self.outcome(unsafe { end() }))
    }
}

fn number(value: usize) -> Result<c_int, String> {
    c_int::try_from(value).map_err(|_| format!("{value} processes are too many for NCCL"))
}
