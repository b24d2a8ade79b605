//! The mempool's journal: what waits, on disk, so that it waits again after a restart.
//!
//! ```text
//!   record = length (4 bytes, little endian) | first 4 bytes of the transaction's hash | transaction as it was sent
//! ```
//!
//! Records are only ever appended; once most of them are about transactions that no longer wait, the file is written
//! anew beside the old one and takes its place. A node killed in the middle of a record leaves a torn end, which is
//! cut off at the next start. The journal is not forced to the disk: a machine that loses its power may forget what
//! arrived in the last seconds, and blocks, which are, never depend on it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use alloy::primitives::{B256, Bytes, keccak256};

/// Name of the file in the data directory.
const FILE: &str = "mempool.journal";

/// Bytes before each transaction.
const HEAD: usize = 8;

/// A journal of fewer records is never rewritten.
const SMALL: usize = 1000;

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    records: usize,
}

impl Journal {
    /// Opens or creates the journal in a directory. Returns the transactions it holds, oldest first.
    pub(crate) fn open(dir: &Path, tx_bytes: usize) -> io::Result<(Self, Vec<Bytes>)> {
        let path = dir.join(FILE);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (found, whole) = records(&bytes, tx_bytes);
        if whole < bytes.len() {
            tracing::warn!(path = %path.display(), bytes = bytes.len() - whole, "cut a torn end off the mempool's journal");
            file.set_len(whole as u64)?;
        }
        Ok((Self { path, file, records: found.len() }, found))
    }

    /// Adds transactions, each with its hash.
    pub(crate) fn append<'a>(&mut self, txs: impl Iterator<Item = (B256, &'a [u8])>) -> io::Result<()> {
        let (bytes, records) = encode(txs);
        // One write, so that records of a killed node are whole except for the last.
        self.file.write_all(&bytes)?;
        self.records += records;
        Ok(())
    }

    /// Whether most records are about transactions that no longer wait, if `waiting` do.
    pub(crate) fn is_stale(&self, waiting: usize) -> bool {
        self.records > SMALL && self.records > waiting.saturating_mul(2)
    }

    /// Replaces the records by those of the transactions that wait, each with its hash.
    pub(crate) fn rewrite<'a>(&mut self, waiting: impl Iterator<Item = (B256, &'a [u8])>) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let (bytes, records) = encode(waiting);
        fs::write(&beside, &bytes)?;
        fs::rename(&beside, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.records = records;
        Ok(())
    }
}

/// The records of transactions, one after the other, and how many these are.
fn encode<'a>(txs: impl Iterator<Item = (B256, &'a [u8])>) -> (Vec<u8>, usize) {
    let (mut bytes, mut records) = (Vec::new(), 0);
    for (hash, raw) in txs {
        let length = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&hash[..4]);
        bytes.extend_from_slice(raw);
        records += 1;
    }
    (bytes, records)
}

/// The transactions in a journal, and how many of its bytes are whole records.
fn records(bytes: &[u8], tx_bytes: usize) -> (Vec<Bytes>, usize) {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_at_checked(HEAD) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > tx_bytes {
            break;
        }
        let Some((raw, tail)) = tail.split_at_checked(length) else { break };
        if keccak256(raw)[..4] != head[4..] {
            break;
        }
        found.push(Bytes::copy_from_slice(raw));
        rest = tail;
    }
    (found, bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1000;

    fn hashed(raw: &[u8]) -> (B256, &[u8]) {
        (keccak256(raw), raw)
    }

    impl Journal {
        fn append_one(&mut self, raw: &[u8]) {
            self.append([hashed(raw)].into_iter()).unwrap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever the byte at which a kill cuts the file off, all whole records before it come back, and the journal goes on.
        #[test]
        fn a_torn_end_costs_only_the_last_record(
            raws in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10), cut in any::<prop::sample::Index>()
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (mut journal, _) = Journal::open(dir.path(), LIMIT).unwrap();
            let mut ends = vec![0];
            for raw in &raws {
                journal.append_one(raw);
                ends.push(ends[ends.len() - 1] + HEAD + raw.len());
            }
            let length = cut.index(ends[raws.len()] + 1);
            journal.file.set_len(length as u64).unwrap();
            drop(journal);
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            let (mut journal, found) = Journal::open(dir.path(), LIMIT).unwrap();
            prop_assert_eq!(&found, &raws[..whole].iter().cloned().map(Bytes::from).collect::<Vec<_>>());
            journal.append_one(b"more");
            let (_, found) = Journal::open(dir.path(), LIMIT).unwrap();
            prop_assert_eq!(found.len(), whole + 1);
            prop_assert_eq!(&found[whole][..], b"more");
        }
    }

    #[test]
    fn a_damaged_record_ends_the_journal_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), LIMIT).unwrap();
        for raw in [&b"one"[..], b"two", b"three"] {
            journal.append_one(raw);
        }
        let mut bytes = fs::read(&journal.path).unwrap();
        bytes[2 * HEAD + 4] ^= 1;
        fs::write(&journal.path, bytes).unwrap();
        assert_eq!(Journal::open(dir.path(), LIMIT).unwrap().1, [Bytes::from_static(b"one")]);
    }

    #[test]
    fn a_rewritten_journal_holds_what_waits_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), LIMIT).unwrap();
        for index in 0..=SMALL as u32 {
            journal.append_one(&index.to_be_bytes());
        }
        assert!(journal.is_stale(3) && !journal.is_stale(SMALL));
        journal.rewrite([&b"a"[..], b"b"].map(hashed).into_iter()).unwrap();
        journal.append_one(b"c");
        assert!(!journal.is_stale(0));
        assert_eq!(Journal::open(dir.path(), LIMIT).unwrap().1, ["a", "b", "c"].map(Bytes::from));
    }
}
