//! What each kind of process does about INT, TERM and HUP.
//!
//! The nursery is deaf to them. A child takes no notice of INT and HUP, which a terminal sends to the whole group: its root ends it
//! in order. It does so with an empty handler, which an exec resets, never by ignoring them, which programs that it starts
//! would inherit. TERM ends a child, as always. The root handles all three where `#[procession::main]` says so.

use std::io;

const HEARD: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

extern "C" fn nothing(_signal: libc::c_int) {}

fn set(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value; `handler` is SIG_IGN, SIG_DFL or `nothing`, which does nothing and so is
    // async-signal-safe; the pointers are valid for the call.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, std::ptr::null_mut())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The nursery takes no notice.
pub(crate) fn deafen() {
    for signal in HEARD {
        let _ = set(signal, libc::SIG_IGN);
    }
}

/// A child's own dispositions.
pub(crate) fn hear_again() -> io::Result<()> {
    set(libc::SIGTERM, libc::SIG_DFL)?;
    let handler = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    set(libc::SIGINT, handler)?;
    set(libc::SIGHUP, handler)
}

/// Ends this process as the signal would have, had nobody handled it.
pub(crate) fn end_by(signal: libc::c_int) -> ! {
    let _ = set(signal, libc::SIG_DFL);
    // SAFETY: raise only sends this thread a signal.
    unsafe { libc::raise(signal) };
    std::process::exit(128 + signal)
}
