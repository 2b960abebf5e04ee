//! Memory that was freed stays with the process.

use std::ffi::c_int;

/// Lets the allocator keep what is freed, for the tensors of the next layer.
///
/// Layers on large pictures take and free tensors of many megabytes all the time. By itself glibc gives them back to the system, which
/// clears new pages for the next: at 512×512 pixels a fifth of the time that `eps restore` takes. With one arena instead of one a
/// thread small tensors are slower, so that it is for large ones alone. The most memory that is taken grows by a tenth to three.
///
/// To be called before threads are there that allocate. Other allocators are left as they are.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const NEVER: c_int = -1;
        set(libc::M_MMAP_MAX, 0);
        set(libc::M_TRIM_THRESHOLD, NEVER);
        // That of another thread holds 64 MB at most, and is given back.
        set(libc::M_ARENA_MAX, 1);
    }
}

/// Sets a number of the allocator; one that it refuses stays as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator's numbers are set by a function of C alone")]
fn set(parameter: c_int, value: c_int) {
    // SAFETY: mallopt takes two numbers, and answers 0 to what it does not know.
    unsafe { libc::mallopt(parameter, value) };
}
