//! How much memory of its own a process has resident: what is in memory, without what it shares with files and other processes.
//!
//! The kernel's page for it is kept open: reading it again is one system call, and it stays the same process's even if its number is
//! given to another.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// One process's page.
#[derive(Debug)]
pub(crate) struct Resident(File);

impl Resident {
    /// The process that has this number now.
    pub(crate) fn of(pid: u32) -> io::Result<Resident> {
        File::open(format!("/proc/{pid}/statm")).map(Resident)
    }

    /// In bytes; 0 for one that has ended and was not reaped, an error for one that was.
    pub(crate) fn read(&self) -> io::Result<u64> {
        // Seven numbers of at most 20 digits.
        let mut page = [0; 160];
        let length = self.0.read_at(&mut page, 0)?;
        private(&page[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Resident without shared, in bytes: the second and the third number, which are in pages.
fn private(page: &[u8]) -> Option<u64> {
    let mut numbers = std::str::from_utf8(page).ok()?.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    resident.saturating_sub(shared).checked_mul(rustix::param::page_size() as u64)
}

/// This process's own, in bytes. Takes a descriptor for good, the first time. Not for the nursery: its children would read its page.
pub(crate) fn resident() -> io::Result<u64> {
    static OWN: OnceLock<Resident> = OnceLock::new();
    match OWN.get() {
        Some(own) => own.read(),
        None => {
            let own = Resident::of(std::process::id())?;
            OWN.get_or_init(|| own).read()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_pages_do_not_count() {
        assert_eq!(private(b"5000 300 100 4 0 700 0\n"), Some(200 * rustix::param::page_size() as u64));
        assert_eq!(private(b"0 0 0 0 0 0 0\n"), Some(0));
        assert_eq!(private(b"5000 x"), None);
        assert_eq!(private(b""), None);
    }

    #[test]
    fn memory_in_use_counts() {
        let before = resident().unwrap();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = resident().unwrap();
        assert!(after > before + (48 << 20), "{before} {after}");
        drop(block);
    }
}
