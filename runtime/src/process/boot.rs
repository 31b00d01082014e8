//! A child, from the fork to its function and to its end.
//!
//! The first frames on its control link say what it is ([`Boot`]); once that is applied it says hello, and its spawner has a
//! handle. What its function returns, or how it panicked, is the last frame. Everything that is still queued is written before
//! the process exits, within a bound, so that what it told others arrives.

use std::any::Any;
use std::backtrace::Backtrace;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::control::{Boot, Hello, LastWords, say};
use super::limits::size_at_birth;
use super::member::Member;
use super::nursery::Newborn;
use super::starved;
use crate::actor::current::{self, Identity, Parent};
use crate::actor::definition::{self, Finished, Life, LifeError};
use crate::actor::family;
use crate::actor::mailbox::{Capacity, Door};
use crate::exit::Panic;
use crate::link::assemble::{Assembler, Body};
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Header, Kind};
use crate::link::library::lock;
use crate::link::socket::{self, Received, Wait};
use crate::link::value;
use crate::link::wire::{self, Wire};

/// The exit code of a child that could not even say what was wrong.
pub(crate) const UNSETTLED: i32 = 70;
/// The exit code after a panic, as everywhere in Rust.
const PANICKED: i32 = 101;
/// How long an ending process tries to write what is still queued.
const FLUSH: Duration = Duration::from_secs(5);

/// Lives. The lifeline's descriptor has to stay open for as long.
pub(crate) fn live(newborn: Newborn) -> ! {
    let Newborn { control, lifeline } = newborn;
    std::mem::forget(lifeline);
    let mut assembler = Assembler::new(FRAME_CAP);
    let boot = match first_frame(control.as_fd(), &mut assembler) {
        Ok(boot) => boot,
        Err(_) => std::process::exit(UNSETTLED),
    };
    let wire = Wire::new(control);
    let code = match settle(boot, &wire, assembler) {
        Ok((entry, life)) => run(entry, life, &wire),
        Err(why) => {
            let _ = say(&wire, Kind::Failed, 0, &LastWords::NotStarted(why));
            UNSETTLED
        }
    };
    wire::flush_all(Instant::now() + FLUSH);
    std::process::exit(code)
}

fn first_frame(control: std::os::fd::BorrowedFd<'_>, assembler: &mut Assembler) -> io::Result<Boot> {
    loop {
        if let Some(frame) = assembler.next().map_err(io::Error::other)? {
            let decoded = match frame.body {
                Body::Borrowed(bytes) => value::decode(frame.header.flags, bytes, frame.descriptors),
                Body::Owned(bytes) => value::decode_owned(frame.header.flags, bytes, frame.descriptors),
            };
            return decoded.map_err(io::Error::other);
        }
        if socket::receive(control, assembler, Wait::Yes)? == Received::End {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Applies what the spawner set, joins the family, says hello.
fn settle(boot: Boot, wire: &Arc<Wire>, assembler: Assembler) -> Result<(&'static definition::Entry, Life), String> {
    boot.hello.check()?;
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let title: Vec<u8> = boot.name.bytes().filter(|&byte| byte != 0).take(15).collect();
    if let Ok(title) = std::ffi::CString::new(title) {
        let _ = rustix::thread::set_name(&title);
    }
    if let Some(current) = boot.open_files {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..getrlimit(Resource::Nofile) });
    }
    let birth = boot.birth;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(birth.umask));
    for (name, value) in &birth.environment {
        let name = OsStr::from_bytes(name);
        // SAFETY: this process has no other thread that could read the environment (the test harness's own did not survive the fork).
        unsafe {
            match value {
                Some(value) => std::env::set_var(name, OsStr::from_bytes(value)),
                None => std::env::remove_var(name),
            }
        }
    }
    let entry = definition::entry(birth.entry).ok_or("its function is not in this program's table")?;
    let (id, name, pid) = boot.parent;
    current::set(Identity { id: boot.id, name: boot.name, parent: Some(Parent { id, name, pid }) });
    let door = Door::new();
    let member = Member::join(boot.id, wire.clone(), assembler, door.clone());
    family::join(member);
    install_panic_hook(wire.clone());
    // SAFETY: registers a function that stays valid for the whole life of the process.
    unsafe { libc::atexit(flush_at_exit) };
    let mut hello = Hello::mine();
    if let Some(Attached(mark)) = boot.mark {
        starved::leave_mark_on(mark);
        hello.at_birth = size_at_birth().map_err(|error| format!("its memory cannot be limited: {error}"))?;
    }
    birth.limits.put_on()?;
    let said = say(wire, Kind::Hello, 0, &hello).map_err(|error| error.to_string())?;
    said.map_err(|_| "the root is gone".to_owned())?;
    let capacity = Capacity { messages: birth.mailbox_messages.max(1), bytes: birth.mailbox_bytes.max(1) };
    Ok((entry, Life { arguments: birth.arguments, key: boot.key, door, capacity, threads: birth.threads }))
}

/// What it told others arrives, also where its code calls `exit`.
extern "C" fn flush_at_exit() {
    wire::flush_at_exit(Instant::now() + FLUSH);
}

/// Runs the function and says how it ended.
fn run(entry: &definition::Entry, life: Life, wire: &Arc<Wire>) -> i32 {
    match panic::catch_unwind(AssertUnwindSafe(|| entry.live(life))) {
        Ok(Ok(Finished { value, failure })) => {
            // What it told others comes before the news of its end.
            wire::flush_all(Instant::now() + FLUSH);
            let code = i32::from(failure.is_some());
            if let Some(chain) = failure {
                let _ = say(wire, Kind::Failed, 1, &chain);
            }
            let _ = wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Returned, 0), value));
            code
        }
        Ok(Err(error @ (LifeError::Arguments(_) | LifeError::Runtime(_)))) => {
            let _ = say(wire, Kind::Failed, 0, &LastWords::NotStarted(error.to_string()));
            UNSETTLED
        }
        Ok(Err(error @ LifeError::Value(_))) => {
            let _ = say(wire, Kind::Failed, 1, &crate::exit::ErrorChain::new(error));
            1
        }
        Err(payload) => {
            let panic = caught(&*payload);
            let _ = say(wire, Kind::Panicked, 0, &LastWords::Panicked(panic));
            PANICKED
        }
    }
}

static LAST_PANIC: Mutex<Option<Panic>> = Mutex::new(None);

/// What is known of the panic that was caught with this payload.
pub(crate) fn caught(payload: &(dyn Any + Send)) -> Panic {
    lock(&LAST_PANIC).take().unwrap_or_else(|| Panic {
        // A panic without its hook: resumed by the user's own code.
        message: message_of(payload),
        place: None,
        backtrace: String::new(),
    })
}

/// Notes each panic before the usual message is printed. Where a panic aborts, this is the process's last word.
fn install_panic_hook(wire: Arc<Wire>) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let panic = Panic {
            message: message_of(info.payload()),
            place: info.location().map(ToString::to_string),
            backtrace: Backtrace::force_capture().to_string(),
        };
        before(info);
        if cfg!(panic = "abort") {
            let _ = say(&wire, Kind::Panicked, 0, &LastWords::Panicked(panic));
            let _ = wire.flush(Some(Instant::now() + FLUSH));
        } else {
            *lock(&LAST_PANIC) = Some(panic);
        }
    }));
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a value that is no text".to_owned(),
    }
}
