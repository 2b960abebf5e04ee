//! Values under names that all processes see: libtorch's store.

#![expect(unsafe_code, reason = "functions of C++")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Duration;

unsafe extern "C" {
    fn eps_store_open(
        host: *const c_char,
        port: u16,
        serves: bool,
        processes: usize,
        milliseconds: u64,
        store: *mut *mut c_void,
    ) -> *mut c_char;
    fn eps_store_close(store: *mut c_void);
    fn eps_store_set(
        store: *mut c_void,
        key: *const c_char,
        bytes: *const u8,
        length: usize,
    ) -> *mut c_char;
    fn eps_store_get(
        store: *mut c_void,
        key: *const c_char,
        milliseconds: u64,
        bytes: *mut *mut u8,
        length: *mut usize,
    ) -> *mut c_char;
    fn eps_store_has(store: *mut c_void, key: *const c_char, has: *mut bool) -> *mut c_char;
    fn eps_store_forget(store: *mut c_void, key: *const c_char) -> *mut c_char;
    fn eps_use_gpu(index: i8) -> *mut c_char;
    fn eps_free(memory: *mut c_void);
    fn eps_end(code: c_int) -> !;
}

/// What libtorch says went wrong.
type Problem = String;

/// The text of an error, where there is one.
fn outcome(error: *mut c_char) -> Result<(), Problem> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the functions of store.cpp return a text of C that is ours.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().trim().to_owned();
    // SAFETY: as above; nobody else frees it.
    unsafe { eps_free(error.cast()) };
    Err(text)
}

/// A name or address for C: up to its first 0.
fn text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// A connection to the store.
#[derive(Debug)]
pub(crate) struct Store {
    store: *mut c_void,
}

impl Store {
    /// Connects to the store at an address, or keeps it there for all.
    pub(crate) fn open(
        (host, port): (&str, u16),
        serves: bool,
        processes: usize,
        patience: Duration,
    ) -> Result<Self, Problem> {
        let (host, mut store) = (text(host), std::ptr::null_mut());
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: the address is a text of C, and the store is written before the function returns nothing.
        outcome(unsafe {
            eps_store_open(host.as_ptr(), port, serves, processes, patience, &raw mut store)
        })?;
        Ok(Self { store })
    }

    /// Puts a value under a name.
    pub(crate) fn set(&self, name: &str, value: &[u8]) -> Result<(), Problem> {
        let name = text(name);
        // SAFETY: the store lives as long as self, and the value is only read.
        outcome(unsafe { eps_store_set(self.store, name.as_ptr(), value.as_ptr(), value.len()) })
    }

    /// The value under a name, waiting so long for it; none where it does not come.
    pub(crate) fn get(&self, name: &str, patience: Duration) -> Result<Option<Vec<u8>>, Problem> {
        let (name, mut bytes, mut length) = (text(name), std::ptr::null_mut(), 0);
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: the store lives as long as self; both results are written.
        outcome(unsafe {
            eps_store_get(self.store, name.as_ptr(), patience, &raw mut bytes, &raw mut length)
        })?;
        if bytes.is_null() {
            return Ok(None);
        }
        // SAFETY: store.cpp allocated as many bytes and wrote them.
        let value = unsafe { std::slice::from_raw_parts(bytes, length) }.to_vec();
        // SAFETY: they are ours, and copied.
        unsafe { eps_free(bytes.cast()) };
        Ok(Some(value))
    }

    /// Whether there is a value under a name.
    pub(crate) fn has(&self, name: &str) -> Result<bool, Problem> {
        let (name, mut has) = (text(name), false);
        // SAFETY: the store lives as long as self.
        outcome(unsafe { eps_store_has(self.store, name.as_ptr(), &raw mut has) })?;
        Ok(has)
    }

    /// Takes the value under a name away.
    pub(crate) fn forget(&self, name: &str) -> Result<(), Problem> {
        let name = text(name);
        // SAFETY: the store lives as long as self.
        outcome(unsafe { eps_store_forget(self.store, name.as_ptr()) })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it was opened, and is closed once.
        unsafe { eps_store_close(self.store) };
    }
}

/// Ends this process with an error, whatever its other threads wait for, in libtorch or in NCCL.
pub(crate) fn end_now() -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { eps_end(1) }
}

/// Makes a GPU the one that this thread's calls of NCCL are about.
pub(crate) fn use_gpu(index: usize) -> Result<(), Problem> {
    let index = i8::try_from(index).map_err(|_| format!("there is no GPU {index}"))?;
    // SAFETY: it takes a number and catches what libtorch throws.
    outcome(unsafe { eps_use_gpu(index) })
}
