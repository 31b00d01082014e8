//! How an actor's process ended, as a value.
//!
//! An [`ExitReport`] is made once, in the root, from two sources: the last frame that the process sent (it returned, failed or
//! panicked) and the wait status that the nursery read when it reaped it. Everybody who waited for that process gets the
//! same report: `join`, every pending ask, the pool. Its `Display` is a sentence; its serde form is stable: fields are only
//! ever added.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Identity of one run of an actor within its family.
///
/// A slot is never used twice in a family's life; the generation counts the incarnations of a restarted actor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ActorId {
    /// The family's root process.
    pub const ROOT: ActorId = ActorId { slot: 0, generation: 0 };

    /// The actor's place in the family: 0 for the root, then counting births.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// Which incarnation of the actor this is, counting from 0.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.generation == 0 { write!(f, "#{}", self.slot) } else { write!(f, "#{}.{}", self.slot, self.generation) }
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How one actor's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExitReport {
    /// The actor's identity in its family.
    pub id: ActorId,
    /// The actor's name: its builder's, or its function's with its slot.
    pub name: String,
    /// The process id, or 0 where the process could not be created.
    pub pid: u32,
    /// What happened.
    pub outcome: Outcome,
    /// How far a `stop` had to go, where one was asked for.
    pub stop: Option<StopStep>,
    /// With `capture_output`, the end of what the process wrote to its standard error.
    pub stderr: Option<String>,
}

/// What happened to an actor's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// The function returned a value.
    Returned,
    /// The function returned an error that cannot travel as itself; this is its chain of texts.
    Failed(ErrorChain),
    /// The function panicked.
    Panicked(Panic),
    /// The process exited by itself with this code, without its function returning.
    Exited(i32),
    /// A signal that this library did not send ended the process.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel wrote a core dump.
        core: bool,
    },
    /// This library ended the process.
    Killed {
        /// The signal that ended it.
        signal: i32,
        /// Why it was sent.
        reason: KillReason,
    },
    /// The process could not be started, or could not be set up before its function ran.
    NotStarted(String),
    /// The process is gone, and how it ended cannot be known: the nursery that would have been told was killed.
    Lost,
}

/// Why this library ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KillReason {
    /// `terminate` was called on its handle.
    Terminated,
    /// `kill` was called on its handle.
    Killed,
    /// It did not end within the grace that `stop` gave it.
    StopEscalated,
    /// It was a pool's worker, and its task went on after its time was up, or after it was cancelled.
    TaskEscalated,
    /// The process that owned it ended.
    OwnerEnded,
    /// It did not complete the handshake in time, or completed it wrongly.
    Handshake,
    /// It went past its memory limit.
    MemoryLimit {
        /// The limit, in bytes.
        limit: u64,
        /// What it was found to use, in bytes; `None` where an allocation was refused, and it ended by that.
        used: Option<u64>,
    },
    /// It used up its CPU time limit.
    CpuTimeLimit {
        /// The limit.
        limit: Duration,
    },
}

/// How far a `stop` had to go until the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StopStep {
    /// It was asked to stop, and did.
    Asked,
    /// It was sent SIGTERM when its grace was over.
    Terminated,
    /// It was sent SIGKILL when SIGTERM had not helped.
    Killed,
}

/// A panic that ended an actor's function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Panic {
    /// The panic's message.
    pub message: String,
    /// `file:line:column` of the panic, where it is known.
    pub place: Option<String>,
    /// The stack at the panic, as `std::backtrace` prints it.
    pub backtrace: String,
}

/// An error from another process: its texts, from the outermost to its root cause, and the name of its type.
///
/// Errors such as `anyhow::Error` or `Box<dyn Error>` cannot be sent as themselves. A function that returns one gives its
/// caller an `ErrorChain` in its place; [`source`](std::error::Error::source) walks the causes as it did at home.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorChain {
    type_name: String,
    message: String,
    source: Option<Box<ErrorChain>>,
}

impl ErrorChain {
    /// Takes an error's chain of texts.
    pub fn new<E: Into<Box<dyn StdError>>>(error: E) -> ErrorChain {
        let error: Box<dyn StdError> = error.into();
        ErrorChain::of(&*error, std::any::type_name::<E>())
    }

    fn of(error: &dyn StdError, type_name: &str) -> ErrorChain {
        // Deepest first, so that a long chain needs no recursion; a chain that loops is cut.
        let mut chain = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next.filter(|_| chain.len() < 64) {
            chain.push(error.to_string());
            next = error.source();
        }
        let mut built: Option<Box<ErrorChain>> = None;
        for (depth, message) in chain.into_iter().enumerate().rev() {
            let type_name = if depth == 0 { type_name.to_owned() } else { String::new() };
            built = Some(Box::new(ErrorChain { type_name, message, source: built.take() }));
        }
        built.map_or_else(|| ErrorChain { type_name: type_name.to_owned(), message: error.to_string(), source: None }, |b| *b)
    }

    /// The name of the error's type in the process that it comes from.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The texts, from the outermost error to the root cause.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self), |e| e.source.as_deref()).map(|e| e.message.as_str())
    }
}

impl fmt::Display for ErrorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The whole chain on one line: this is what a `main` that returns the error prints.
impl fmt::Debug for ErrorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut messages = self.messages();
        f.write_str(messages.next().unwrap_or_default())?;
        messages.try_for_each(|message| write!(f, ": {message}"))?;
        write!(f, " ({})", self.type_name)
    }
}

impl StdError for ErrorChain {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

impl ExitReport {
    /// Whether the function ran to its end and returned.
    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Returned
    }

    /// The signal that ended the process, if one did.
    pub fn signal(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Signalled { signal, .. } | Outcome::Killed { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// The exit code in Python's sense: 0 when the function returned, the code, or minus the signal's number.
    pub fn code(&self) -> Option<i32> {
        match &self.outcome {
            Outcome::Returned => Some(0),
            Outcome::Failed(_) | Outcome::Panicked(_) => Some(1),
            Outcome::Exited(code) => Some(*code),
            Outcome::Signalled { signal, .. } | Outcome::Killed { signal, .. } => Some(-signal),
            Outcome::NotStarted(_) | Outcome::Lost => None,
        }
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "actor `{}` (pid {}) {}", self.name, self.pid, self.outcome)?;
        match self.stderr.as_deref().map(str::trim_end) {
            Some(tail) if !tail.is_empty() => write!(f, "; the end of its stderr:\n{tail}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Returned => f.write_str("returned"),
            Outcome::Failed(chain) => write!(f, "failed: {chain:?}"),
            Outcome::Panicked(panic) => {
                f.write_str("panicked")?;
                if let Some(place) = &panic.place {
                    write!(f, " at {place}")?;
                }
                write!(f, ": {}", panic.message)
            }
            Outcome::Exited(code) => write!(f, "exited with code {code} before its function returned"),
            Outcome::Signalled { signal, core } => {
                write!(f, "was ended by {}", SignalName(*signal))?;
                if *core { f.write_str(" and left a core dump") } else { Ok(()) }
            }
            Outcome::Killed { signal, reason: KillReason::MemoryLimit { limit, used: None } } => {
                let (limit, signal) = (Bytes(*limit), SignalName(*signal));
                write!(f, "ran out of its memory limit of {limit}: an allocation failed, and it was ended by {signal}")
            }
            Outcome::Killed { signal, reason } => write!(f, "was ended by us with {} because {reason}", SignalName(*signal)),
            Outcome::NotStarted(why) => write!(f, "could not be started: {why}"),
            Outcome::Lost => f.write_str("is gone, and how it ended is not known (the nursery was killed while it ran)"),
        }
    }
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            KillReason::Terminated => "`terminate` was called",
            KillReason::Killed => "`kill` was called",
            KillReason::StopEscalated => "it did not stop within its grace",
            KillReason::TaskEscalated => "its task did not stop when it was asked to",
            KillReason::OwnerEnded => "its owner ended",
            KillReason::Handshake => "it did not complete its start-up in time",
            KillReason::MemoryLimit { limit, used: Some(used) } => {
                return write!(f, "it used {}, more than its memory limit of {}", Bytes(used), Bytes(limit));
            }
            KillReason::MemoryLimit { limit, used: None } => {
                return write!(f, "an allocation failed at its memory limit of {}", Bytes(limit));
            }
            KillReason::CpuTimeLimit { limit } => return write!(f, "it used up its CPU time limit of {limit:?}"),
        })
    }
}

impl fmt::Display for StopStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopStep::Asked => "stopped when asked",
            StopStep::Terminated => "stopped by SIGTERM after its grace",
            StopStep::Killed => "stopped by SIGKILL after SIGTERM",
        })
    }
}

/// An amount of memory, for people; rounded up, so that what is more than a limit also reads like more.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..=1023 => return write!(f, "{} bytes", self.0),
            1024..=1_048_575 => (1u64 << 10, "KiB"),
            1_048_576..=1_073_741_823 => (1 << 20, "MiB"),
            _ => (1 << 30, "GiB"),
        };
        // Tenths, without an overflow near the end of the numbers.
        let tenths = (u128::from(self.0) * 10).div_ceil(u128::from(unit));
        match tenths % 10 {
            0 => write!(f, "{} {name}", tenths / 10),
            tenth => write!(f, "{}.{tenth} {name}", tenths / 10),
        }
    }
}

/// A signal's number with its name, for people.
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::SIGHUP => "SIGHUP",
            libc::SIGINT => "SIGINT",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGILL => "SIGILL (illegal instruction)",
            libc::SIGTRAP => "SIGTRAP",
            libc::SIGABRT => "SIGABRT (abort)",
            libc::SIGBUS => "SIGBUS (bus error)",
            libc::SIGFPE => "SIGFPE (arithmetic error)",
            libc::SIGKILL => "SIGKILL",
            libc::SIGUSR1 => "SIGUSR1",
            libc::SIGSEGV => "SIGSEGV (segmentation fault)",
            libc::SIGUSR2 => "SIGUSR2",
            libc::SIGPIPE => "SIGPIPE",
            libc::SIGALRM => "SIGALRM",
            libc::SIGTERM => "SIGTERM",
            libc::SIGXCPU => "SIGXCPU (cpu time limit)",
            libc::SIGXFSZ => "SIGXFSZ (file size limit)",
            libc::SIGSYS => "SIGSYS (forbidden system call)",
            other => return write!(f, "signal {other}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> ExitReport {
        let id = ActorId { slot: 3, generation: 0 };
        ExitReport { id, name: "parse-3".into(), pid: 71, outcome, stop: None, stderr: None }
    }

    #[test]
    fn reads_like_a_sentence() {
        assert_eq!(
            report(Outcome::Signalled { signal: 11, core: false }).to_string(),
            "actor `parse-3` (pid 71) was ended by SIGSEGV (segmentation fault)"
        );
        let panic = Panic { message: "no".into(), place: Some("a.rs:1:2".into()), backtrace: String::new() };
        assert_eq!(report(Outcome::Panicked(panic)).to_string(), "actor `parse-3` (pid 71) panicked at a.rs:1:2: no");
        let mut with_tail = report(Outcome::Exited(3));
        with_tail.stderr = Some("last words\n".into());
        assert_eq!(
            with_tail.to_string(),
            "actor `parse-3` (pid 71) exited with code 3 before its function returned; the end of its stderr:\nlast words"
        );
    }

    #[test]
    fn limits_are_named_with_their_amounts() {
        let killed = |signal, reason| Outcome::Killed { signal, reason }.to_string();
        let limit = 256 << 20;
        assert_eq!(
            killed(9, KillReason::MemoryLimit { limit, used: Some(300 << 20) }),
            "was ended by us with SIGKILL because it used 300 MiB, more than its memory limit of 256 MiB"
        );
        assert!(killed(9, KillReason::MemoryLimit { limit, used: Some(limit + 1) }).contains("it used 256.1 MiB, more"));
        assert_eq!(
            killed(6, KillReason::MemoryLimit { limit, used: None }),
            "ran out of its memory limit of 256 MiB: an allocation failed, and it was ended by SIGABRT (abort)"
        );
        assert_eq!(
            killed(24, KillReason::CpuTimeLimit { limit: Duration::from_millis(1500) }),
            "was ended by us with SIGXCPU (cpu time limit) because it used up its CPU time limit of 1.5s"
        );
        let amounts = [0, 1023, 1024, 1025, 1 << 30, u64::MAX].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(amounts, ["0 bytes", "1023 bytes", "1 KiB", "1.1 KiB", "1 GiB", "17179869184 GiB"]);
    }

    #[test]
    fn serde_form_is_stable() {
        let text = serde_json::to_string(&report(Outcome::Killed { signal: 9, reason: KillReason::Killed })).unwrap();
        assert_eq!(
            text,
            r#"{"id":{"slot":3,"generation":0},"name":"parse-3","pid":71,"outcome":{"Killed":{"signal":9,"reason":"Killed"}},"stop":null,"stderr":null}"#
        );
        assert_eq!(serde_json::from_str::<ExitReport>(&text).unwrap().code(), Some(-9));
    }

    #[test]
    fn a_chain_keeps_its_causes() {
        let inner = std::io::Error::other("disk on fire");
        let outer = std::io::Error::other(inner);
        let chain = ErrorChain::new(outer);
        assert_eq!(chain.messages().next(), Some("disk on fire"));
        assert!(chain.type_name().contains("io::error::Error"));
    }
}
