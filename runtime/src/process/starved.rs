//! How the death by an allocation that failed is told from any other.
//!
//! A process at its memory limit gets no more memory: `mmap` and `malloc` fail. Rust's standard library aborts then, and C code
//! often uses the null pointer, so all that is left is a SIGABRT or a SIGSEGV that says nothing of memory. But the thread's `errno`
//! still says ENOMEM: nothing between the failure and the death calls the system and fails. So a process with a memory limit
//! looks at it when it dies of such a signal, and leaves a mark on an eventfd, which its root reads once it is gone. A write to an
//! eventfd may be made in a signal handler, at any moment, and cannot mix with frames.
//!
//! With `RUST_BACKTRACE` set, std prints the stack before it aborts, and `errno` is lost in that. Then, and only then, the handler
//! walks the stack itself and looks for the function by which std gives up on an allocation.
//!
//! An earlier ENOMEM that the program had coped with may still stand in `errno` when it dies of something else; that is why the report
//! says that an allocation failed, which is true, and names the signal too.
//!
//! Whatever handled the signal before (std's notice of a stack overflow, a preload's own handler) is put back and gets it next.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

/// What a failed allocation ends in.
pub(crate) const SIGNALS: [libc::c_int; 3] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS];

struct Witness {
    mark: OwnedFd,
    /// A process that this one forks is not this one.
    pid: u32,
    /// Whether std prints the stack where an allocation fails.
    walks: bool,
    before: [libc::sigaction; SIGNALS.len()],
}

static WITNESS: OnceLock<Witness> = OnceLock::new();

/// From now on this process leaves its mark where it dies of a failed allocation.
pub(crate) fn leave_mark_on(mark: OwnedFd) {
    let before = SIGNALS.map(|signal| {
        let mut action = MaybeUninit::zeroed();
        // SAFETY: asks for the signal's action; `action` is valid for the call, and all zero bytes, which is its default, where it fails.
        unsafe {
            libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
            action.assume_init()
        }
    });
    let walks = std::env::var_os("RUST_BACKTRACE").is_some_and(|set| set != "0");
    if WITNESS.set(Witness { mark, pid: std::process::id(), walks, before }).is_err() {
        return;
    }
    for signal in SIGNALS {
        // SAFETY: an all-zero sigaction is a valid value, `dying` calls nothing that a signal handler may not, and the pointers are valid
        // for the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = dying as extern "C" fn(_, _, _) as libc::sighandler_t;
            // An abort has the whole stack to be looked into; after a fault there may be none left but the other one.
            action.sa_flags = if signal == libc::SIGABRT { libc::SA_SIGINFO } else { libc::SA_SIGINFO | libc::SA_ONSTACK };
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

extern "C" fn dying(signal: libc::c_int, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // Reading an initialised `OnceLock` is one atomic load.
    let Some(witness) = WITNESS.get() else { return };
    // SAFETY: `errno` is this thread's own; `write` (of 8 bytes that are there), `getpid`, `sigaction` and `raise` may be called in a
    // signal handler; the kernel gives every handler that asks for it a valid siginfo; a SIGABRT of std's is raised between two
    // calls, where the stack can be walked.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let starved = before == libc::ENOMEM || (witness.walks && signal == libc::SIGABRT && has_room() && std_gave_up());
        if starved && libc::getpid().cast_unsigned() == witness.pid {
            libc::write(witness.mark.as_raw_fd(), (&raw const ONE).cast(), size_of::<u64>());
        }
        if let Some(index) = SIGNALS.iter().position(|candidate| *candidate == signal) {
            libc::sigaction(signal, &witness.before[index], std::ptr::null_mut());
        }
        // A fault happens again on return; what was sent has to be sent again, and is delivered on return.
        if (*information).si_code <= 0 {
            libc::raise(signal);
        }
        *errno = before;
    }
}

static ONE: u64 = 1;

/// Whether this thread is on its ordinary stack: the other one, on which std says that a stack overflowed, is too small for a walk.
fn has_room() -> bool {
    let mut other = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: asks for the thread's other stack; may be called in a signal handler; all zero bytes are a valid value.
    unsafe { libc::sigaltstack(std::ptr::null(), other.as_mut_ptr()) == 0 && other.assume_init().ss_flags & libc::SS_ONSTACK == 0 }
}

/// The unwinder's view of one frame.
#[repr(C)]
struct Frame {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn _Unwind_Backtrace(look: extern "C" fn(*mut Frame, *mut libc::c_void) -> libc::c_int, found: *mut libc::c_void) -> libc::c_int;
    fn _Unwind_GetRegionStart(frame: *mut Frame) -> usize;
}

/// Whether this thread is inside std's end of an allocation that failed. The walk takes no memory.
///
/// # Safety
///
/// The thread must not hold a lock of the dynamic linker's.
unsafe fn std_gave_up() -> bool {
    extern "C" fn look(frame: *mut Frame, found: *mut libc::c_void) -> libc::c_int {
        /// Any other code than this ends the walk.
        const GO_ON: libc::c_int = 0;
        const NORMAL_STOP: libc::c_int = 4;
        let gives_up = std::alloc::handle_alloc_error as fn(std::alloc::Layout) -> ! as usize;
        // SAFETY: the unwinder gives a frame that is valid during this call; `found` is the caller's own.
        unsafe {
            if _Unwind_GetRegionStart(frame) != gives_up {
                return GO_ON;
            }
            *found.cast::<bool>() = true;
        }
        NORMAL_STOP
    }
    let mut found = false;
    // SAFETY: the caller's promise; `found` outlives the call.
    unsafe { _Unwind_Backtrace(look, (&raw mut found).cast()) };
    found
}
