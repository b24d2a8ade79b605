//! The log: what was changed since the database was last written to disk as a whole.
//!
//! ```text
//!   segment = generation (8 bytes) | sum before (32) | SHA-256 of both | records
//!   record  = length of the change (4 bytes) | sum | change
//!   sum     = SHA-256 of the sum of the record before, or of the segment's head, and of the change
//!
//!   chain.log.0:  [ segment of generation 6 ..................... ]
//!   chain.log.1:      [ segment of generation 7, from the sum at which the other ended ... ]
//! ```
//!
//! A change is durable once its record is: one sequential write, however many pages of the database it touches. The
//! *generation* counts how often the database was written as a whole; the database itself says which one it is, and
//! with that step the segments of earlier generations become void, though they stay in their file until others take
//! their place. While the database is being written, changes go into the next segment; killed then, a node makes those of both
//! again. The next segment says at which sum it went on, so it never follows a part of the one before. A killed node leaves a torn
//! end, which the sums tell from a record. Numbers are little endian.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use alloy::primitives::Bytes;
use sha2::{Digest, Sha256};

/// Names of the files in the data directory: even generations, and odd ones.
pub(super) const FILES: [&str; 2] = ["chain.log.0", "chain.log.1"];

/// Bytes before the records of a segment.
const SEGMENT_HEAD: usize = 72;

/// Bytes before each change.
const RECORD_HEAD: usize = 36;

type Sum = [u8; 32];

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    files: [File; 2],
    /// Of the segment that grows.
    generation: u64,
    /// What stands before its first record.
    head: Vec<u8>,
    end: End,
    /// No segment on disk is of a later generation.
    newest: u64,
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    offset: u64,
    /// The sum before it.
    sum: Sum,
}

impl End {
    fn after(&self, change: &[u8]) -> Self {
        Self {
            offset: self.offset + (RECORD_HEAD + change.len()) as u64,
            sum: Sha256::new().chain_update(self.sum).chain_update(change).finalize().into(),
        }
    }
}

/// What stands before a segment's records, and where the first of these goes.
fn head(generation: u64, before: Sum) -> (Vec<u8>, End) {
    let mut head = generation.to_le_bytes().to_vec();
    head.extend(before);
    let sum: Sum = Sha256::digest(&head).into();
    head.extend(sum);
    (head, End { offset: SEGMENT_HEAD as u64, sum })
}

/// What a start finds.
#[derive(Debug)]
pub(super) struct Found {
    /// The changes since the database was written, oldest first.
    pub(super) changes: Vec<Bytes>,
    /// Whether a later segment is there that does not follow them. The database must be written before the log goes on.
    pub(super) stray: bool,
}

impl Log {
    /// Opens or creates the log in a directory. The database is at `generation`.
    pub(super) fn open(dir: &Path, generation: u64) -> io::Result<(Self, Found)> {
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(false);
        let mut files = [open.open(dir.join(FILES[0]))?, open.open(dir.join(FILES[1]))?];
        // The names must survive as well as the records.
        File::open(dir)?.sync_all()?;
        let mut segments = Vec::new();
        for file in &mut files {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            segments.extend(Segment::read(&bytes.into()));
        }
        let newest = segments.iter().map(|segment| segment.generation).max().unwrap_or_default().max(generation);
        let of = |generation| segments.iter().find(|segment| segment.generation == generation);
        let (head, end) = head(generation, [0; 32]);
        let mut log = Self { files, generation, head, end, newest };
        let mut changes = Vec::new();
        if let Some(current) = of(generation) {
            changes = current.changes();
            log.go_on(current);
            if let Some((next, followed)) =
                of(generation + 1).and_then(|next| Some((next, current.until(next.before)?)))
            {
                changes.truncate(followed);
                changes.extend(next.changes());
                log.go_on(next);
            }
        }
        let stray = newest > log.generation;
        Ok((log, Found { changes, stray }))
    }

    /// Goes on where a segment ends.
    fn go_on(&mut self, segment: &Segment) {
        (self.generation, self.end) = (segment.generation, segment.end);
        self.head = head(segment.generation, segment.before).0;
    }

    /// The generation that the database will have when it is written.
    pub(super) fn next_generation(&self) -> u64 {
        self.newest + 1
    }

    /// Whether the segment that grows has no record.
    pub(super) fn is_empty(&self) -> bool {
        self.end.offset == SEGMENT_HEAD as u64
    }

    /// Bytes of the segment that grows.
    pub(super) fn bytes(&self) -> u64 {
        self.end.offset
    }

    /// Writes a change durably and returns what to [`Log::keep`] once memory has it too. If it never does, the next
    /// record takes its place.
    pub(super) fn append(&mut self, change: &[u8]) -> io::Result<End> {
        let length = u32::try_from(change.len()).map_err(|_| io::Error::other("a change of 4 GiB"))?;
        let end = self.end.after(change);
        let first = self.is_empty();
        let file = &mut self.files[(self.generation % 2) as usize];
        file.seek(SeekFrom::Start(if first { 0 } else { self.end.offset }))?;
        let head = if first { self.head.as_slice() } else { &[] };
        file.write_all(&[head, &length.to_le_bytes(), &end.sum].concat())?;
        file.write_all(change)?;
        file.sync_data()?;
        Ok(end)
    }

    /// Later records follow the one that ends here.
    pub(super) fn keep(&mut self, end: End) {
        self.end = end;
    }

    /// Begins the segment of the next generation, in the file of the last but one. That must be void: the database is at the
    /// generation of the last, or already at the next.
    pub(super) fn begin_segment(&mut self) {
        self.generation = self.next_generation();
        self.newest = self.generation;
        (self.head, self.end) = head(self.generation, self.end.sum);
    }
}

/// A segment as it was found, up to its torn end.
struct Segment {
    generation: u64,
    before: Sum,
    /// The sum of the head.
    start: Sum,
    /// Changes with their sums.
    records: Vec<(Bytes, Sum)>,
    end: End,
}

impl Segment {
    /// `None` if there is none or its head is torn.
    fn read(bytes: &Bytes) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk::<8>()?;
        let (before, _) = rest.split_first_chunk::<32>()?;
        let (generation, before) = (u64::from_le_bytes(*generation), *before);
        let (head, mut end) = head(generation, before);
        if !bytes.starts_with(&head) {
            return None;
        }
        let (start, mut records) = (end.sum, Vec::new());
        while let Some((change, next)) = record(bytes, &end) {
            records.push((change, next.sum));
            end = next;
        }
        Some(Self { generation, before, start, records, end })
    }

    fn changes(&self) -> Vec<Bytes> {
        self.records.iter().map(|(change, _)| change.clone()).collect()
    }

    /// How many of its records stand before a sum; `None` if it does not have the sum. Later ones were never kept.
    fn until(&self, sum: Sum) -> Option<usize> {
        let mut sums = [self.start].into_iter().chain(self.records.iter().map(|(_, sum)| *sum));
        sums.position(|found| found == sum)
    }
}

/// The record that begins where another ends, if it is whole.
fn record(bytes: &Bytes, end: &End) -> Option<(Bytes, End)> {
    let at = usize::try_from(end.offset).ok()?;
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<32>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let next = end.after(rest.get(..length)?);
    let from = at + RECORD_HEAD;
    (*sum == next.sum).then(|| (bytes.slice(from..from + length), next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(log: &mut Log, change: &[u8]) {
        let appended = log.append(change).unwrap();
        log.keep(appended);
    }

    /// What a start finds if the database is at a generation.
    fn found(dir: &Path, generation: u64) -> Vec<Bytes> {
        Log::open(dir, generation).unwrap().1.changes
    }

    fn bytes(changes: &[Vec<u8>]) -> Vec<Bytes> {
        changes.iter().cloned().map(Bytes::from).collect()
    }

    fn many() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever the byte at which a kill cuts the file off, or that a disk changes, all records before it come back, and
        /// the log goes on.
        #[test]
        fn a_torn_end_costs_only_the_last_records(
            changes in many(), at in any::<prop::sample::Index>(), cut in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (mut log, _) = Log::open(dir.path(), 7).unwrap();
            let mut ends = vec![SEGMENT_HEAD as u64];
            for change in &changes {
                add(&mut log, change);
                ends.push(log.end.offset);
            }
            let path = dir.path().join(FILES[1]);
            let mut file = std::fs::read(&path).unwrap();
            let at = at.index(file.len());
            if cut { file.truncate(at) } else { file[at] ^= 1 }
            std::fs::write(&path, file).unwrap();
            let whole = ends.iter().filter(|end| **end <= at as u64).count().saturating_sub(1);
            let (mut log, start) = Log::open(dir.path(), 7).unwrap();
            prop_assert_eq!(&start.changes, &bytes(&changes[..whole]));
            add(&mut log, b"more");
            let after = found(dir.path(), 7);
            prop_assert_eq!(after.len(), whole + 1);
            prop_assert_eq!(&after[whole][..], b"more");
        }

        /// While the database is not written, both segments come back; if the older is torn, nothing of the newer follows it; once
        /// the database is written, only the newer comes back, whatever became of the older.
        #[test]
        fn a_newer_segment_never_follows_a_part_of_the_older(
            older in many(), newer in many(), torn in prop::option::of((any::<prop::sample::Index>(), any::<bool>())),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (mut log, _) = Log::open(dir.path(), 3).unwrap();
            // What was there before in both files is void.
            add(&mut log, &[1; 500]);
            log.begin_segment();
            add(&mut log, &[2; 500]);
            log.begin_segment();
            older.iter().for_each(|change| add(&mut log, change));
            let older_bytes = log.bytes() as usize;
            // A record that was never kept, as memory did not take it.
            let _ = log.append(b"not kept").unwrap();
            log.begin_segment();
            newer.iter().for_each(|change| add(&mut log, change));
            if let Some((at, cut)) = torn {
                let path = dir.path().join(FILES[1]);
                let mut file = std::fs::read(&path).unwrap();
                let at = at.index(older_bytes);
                if cut { file.truncate(at) } else { file[at] ^= 1 }
                std::fs::write(&path, file).unwrap();
            }
            let (log, start) = Log::open(dir.path(), 5).unwrap();
            let all = bytes(&[older, newer.clone()].concat());
            if torn.is_some() {
                prop_assert!(start.stray && start.changes.len() < all.len() - newer.len());
                prop_assert!(all.starts_with(&start.changes));
                prop_assert_eq!(log.next_generation(), 7);
            } else {
                prop_assert_eq!((&start.changes, start.stray), (&all, false));
            }
            prop_assert_eq!(found(dir.path(), 6), bytes(&newer));
            prop_assert_eq!(found(dir.path(), 7).len(), 0);
        }
    }

    #[test]
    fn records_of_another_generation_are_void_and_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), 0).unwrap();
        for change in [b"one", b"two", b"six"] {
            add(&mut log, change);
        }
        log.begin_segment();
        assert_eq!(found(dir.path(), 1).len(), 0);
        log.begin_segment();
        // As long as the first, so that the second stands where a record would follow.
        add(&mut log, b"new");
        assert_eq!(found(dir.path(), 2), [Bytes::from_static(b"new")]);
        assert_eq!(found(dir.path(), 0).len(), 0);
    }

    /// A segment that was refused must not come back when the database reaches its generation without it.
    #[test]
    fn a_generation_is_never_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), 0).unwrap();
        add(&mut log, b"old");
        log.begin_segment();
        add(&mut log, b"new");
        std::fs::write(dir.path().join(FILES[0]), b"").unwrap();
        let (mut log, start) = Log::open(dir.path(), 0).unwrap();
        assert!(start.changes.is_empty() && start.stray);
        let written = log.next_generation();
        assert_eq!(written, 2);
        log.begin_segment();
        assert_eq!(found(dir.path(), written).len(), 0);
    }

    #[test]
    fn a_record_that_was_not_kept_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), 0).unwrap();
        add(&mut log, b"one");
        let _ = log.append(b"never in the database").unwrap();
        add(&mut log, b"two");
        assert_eq!(found(dir.path(), 0), ["one", "two"].map(Bytes::from));
    }
}
