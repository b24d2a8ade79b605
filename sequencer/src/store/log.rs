//! The log: what was changed since the database was last written to disk as a whole.
//!
//! ```text
//!   record = length of the change (4 bytes, little endian) | sum | change
//!   sum    = SHA-256 of the sum of the record before and of the change; before the first stands the generation
//! ```
//!
//! A change is durable once its record is: one sequential write, however many pages of the database it touches. The
//! *generation* counts how often the database was written as a whole; the database itself says which one it is, and
//! with that step all records of an earlier generation become void, though they stay in the file until others take
//! their place. A killed node leaves a torn end, which the sums tell from a record.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use alloy::primitives::Bytes;
use sha2::{Digest, Sha256};

/// Name of the file in the data directory.
const FILE: &str = "chain.log";

/// Bytes before each change.
const HEAD: usize = 36;

/// Size in bytes from which the log is full: what a start after a kill does again, at most.
const FULL_BYTES: u64 = 64 << 20;

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// Of the database that the records build on.
    generation: u64,
    end: End,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    offset: u64,
    /// The sum before it.
    sum: [u8; 32],
}

impl End {
    fn start(generation: u64) -> Self {
        Self { offset: 0, sum: Sha256::digest(generation.to_le_bytes()).into() }
    }

    fn after(&self, change: &[u8]) -> Self {
        Self {
            offset: self.offset + (HEAD + change.len()) as u64,
            sum: Sha256::new().chain_update(self.sum).chain_update(change).finalize().into(),
        }
    }
}

impl Log {
    /// Opens or creates the log in a directory. Returns the changes since the database was at `generation`, oldest
    /// first.
    pub(super) fn open(dir: &Path, generation: u64) -> io::Result<(Self, Vec<Bytes>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(FILE))?;
        // The name must survive as well as the records.
        File::open(dir)?.sync_all()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (changes, end) = changes(&bytes.into(), generation);
        Ok((Self { file, generation, end }, changes))
    }

    /// How often the database was written as a whole.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it has no record.
    pub(super) fn is_empty(&self) -> bool {
        self.end.offset == 0
    }

    /// Whether the database should be written as a whole instead of adding to the log.
    pub(super) fn is_full(&self) -> bool {
        self.end.offset >= FULL_BYTES
    }

    /// Writes a change durably and returns what to [`Log::keep`] once the database has it too. If it never does, the next
    /// record takes its place.
    pub(super) fn append(&mut self, change: &[u8]) -> io::Result<End> {
        let length = u32::try_from(change.len()).map_err(|_| io::Error::other("a change of 4 GiB"))?;
        let end = self.end.after(change);
        self.file.seek(SeekFrom::Start(self.end.offset))?;
        self.file.write_all(&[length.to_le_bytes().as_slice(), &end.sum].concat())?;
        self.file.write_all(change)?;
        self.file.sync_data()?;
        Ok(end)
    }

    /// Later records follow the one that ends here.
    pub(super) fn keep(&mut self, end: End) {
        self.end = end;
    }

    /// The database was written as a whole: all records are void.
    pub(super) fn restart(&mut self, generation: u64) {
        (self.generation, self.end) = (generation, End::start(generation));
    }
}

/// The changes in a log's valid records, and where these end.
fn changes(bytes: &Bytes, generation: u64) -> (Vec<Bytes>, End) {
    let (mut found, mut end) = (Vec::new(), End::start(generation));
    loop {
        let at = end.offset as usize;
        let Some(head) = bytes.get(at..at + HEAD) else { return (found, end) };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(change) = bytes.get(at + HEAD..at + HEAD + length) else { return (found, end) };
        let next = end.after(change);
        if head[4..] != next.sum {
            return (found, end);
        }
        found.push(bytes.slice(at + HEAD..at + HEAD + length));
        end = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(log: &mut Log, change: &[u8]) {
        let appended = log.append(change).unwrap();
        log.keep(appended);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever the byte at which a kill cuts the file off, or that a disk changes, all records before it come back, and
        /// the log goes on.
        #[test]
        fn a_torn_end_costs_only_the_last_records(
            changes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10),
            at in any::<prop::sample::Index>(), cut in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (mut log, _) = Log::open(dir.path(), 7).unwrap();
            let mut ends = vec![0];
            for change in &changes {
                add(&mut log, change);
                ends.push(log.end.offset);
            }
            let path = dir.path().join(FILE);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 }
            std::fs::write(&path, bytes).unwrap();
            let whole = ends.iter().filter(|end| **end <= at as u64).count() - 1;
            let (mut log, found) = Log::open(dir.path(), 7).unwrap();
            prop_assert_eq!(&found, &changes[..whole].iter().cloned().map(Bytes::from).collect::<Vec<_>>());
            add(&mut log, b"more");
            let (_, found) = Log::open(dir.path(), 7).unwrap();
            prop_assert_eq!(found.len(), whole + 1);
            prop_assert_eq!(&found[whole][..], b"more");
        }
    }

    #[test]
    fn records_of_another_generation_are_void_and_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), 0).unwrap();
        for change in [b"one", b"two", b"six"] {
            add(&mut log, change);
        }
        log.restart(1);
        assert_eq!(Log::open(dir.path(), 1).unwrap().1.len(), 0);
        // As long as the first, so that the second stands where a record would follow.
        add(&mut log, b"new");
        assert_eq!(Log::open(dir.path(), 1).unwrap().1, [Bytes::from_static(b"new")]);
        assert_eq!(Log::open(dir.path(), 0).unwrap().1.len(), 0);
    }

    #[test]
    fn a_record_that_was_not_kept_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), 0).unwrap();
        add(&mut log, b"one");
        let _ = log.append(b"never in the database").unwrap();
        add(&mut log, b"two");
        assert_eq!(Log::open(dir.path(), 0).unwrap().1, ["one", "two"].map(Bytes::from));
    }
}
