//! An artifact while it arrives: a file that outlives broken connections and crashes, and the hash of what is in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use lockstep_commit::B256;

use super::error::{ArtifactError, MirrorFault};
use super::item::{Check, Item, Unrooted};
use super::store::{Store, disk, feed};

/// The only writer of a part file, across processes: it holds the file's lock.
#[derive(Debug)]
pub(super) struct Part {
    store: Store,
    item: Item,
    path: PathBuf,
    file: File,
    check: Check,
    len: u64,
    /// Some bytes came from another mirror, or from an earlier run: a wrong root does not tell who sent wrong bytes.
    mixed: bool,
    adopted: bool,
}

/// Why bytes were not taken.
#[derive(Debug)]
pub(super) enum Untaken {
    Mirror(MirrorFault),
    Local(ArtifactError),
}

impl Part {
    /// Opens the part of an artifact, as far as it came before; `None` while someone else is writing it.
    /// Reads and hashes what is there: blocks.
    pub(super) fn open(store: &Store, item: &Item) -> Result<Option<Self>, ArtifactError> {
        let path = store.part_path(item);
        let failed = |e| disk("open", &path, e);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(disk("lock", &path, e)),
        }
        // Whoever held the lock before may have moved or removed the file since it was opened here.
        let opened = file.metadata().map_err(failed)?;
        match fs::metadata(&path) {
            Ok(named) if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => return Ok(None),
        }
        let (store, item) = (store.clone(), item.clone());
        let check = Check::new(&item);
        let mut part = Self { store, item, path, file, check, len: opened.len(), mixed: false, adopted: false };
        part.hash_again()?;
        Ok(Some(part))
    }

    fn hash_again(&mut self) -> Result<(), ArtifactError> {
        if self.len > self.item.max_bytes() {
            return self.reset();
        }
        let fed = feed(&mut self.file, &mut self.check).map_err(|e| disk("read", &self.path, e))?;
        if fed.is_err() { self.reset() } else { Ok(()) }
    }

    pub(super) fn item(&self) -> &Item {
        &self.item
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_complete(&self) -> bool {
        self.item.exact_bytes() == Some(self.len)
    }

    pub(super) fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// From here on the bytes come from another mirror.
    pub(super) fn next_source(&mut self) {
        self.mixed = self.len > 0;
    }

    /// Forgets all bytes.
    pub(super) fn reset(&mut self) -> Result<(), ArtifactError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|e| disk("empty", &self.path, e))?;
        self.check = Check::new(&self.item);
        (self.len, self.mixed) = (0, false);
        Ok(())
    }

    /// Takes the next bytes, but none beyond what is allowed. Hashes and writes to the page cache: short, so it may be
    /// called from a task.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Untaken> {
        let (actual_bytes, max_bytes) = (self.len + bytes.len() as u64, self.item.max_bytes());
        if actual_bytes > max_bytes {
            self.reset().map_err(Untaken::Local)?;
            return Err(Untaken::Mirror(MirrorFault::TooLong { max_bytes, actual_bytes }));
        }
        self.file.write_all(bytes).map_err(|e| Untaken::Local(disk("write", &self.path, e)))?;
        self.len = actual_bytes;
        self.check.push(bytes).map_err(|e| Untaken::Mirror(fault(e)))
    }

    /// Moves the file into the store if its root is right, else forgets all bytes. Hashes, waits for the disk: blocks.
    pub(super) fn conclude(&mut self) -> Result<(), Untaken> {
        let check = std::mem::replace(&mut self.check, Check::new(&self.item));
        let refused = match check.finish() {
            Ok(root) if root == self.item.root => return self.adopt().map_err(Untaken::Local),
            Ok(root) => self.wrong_root(root),
            Err(e) => fault(e),
        };
        self.reset().map_err(Untaken::Local)?;
        Err(Untaken::Mirror(refused))
    }

    fn adopt(&mut self) -> Result<(), ArtifactError> {
        self.file.sync_all().map_err(|e| disk("write", &self.path, e))?;
        self.store.adopt(&self.path, &self.item)?;
        self.adopted = true;
        Ok(())
    }

    fn wrong_root(&self, got: B256) -> MirrorFault {
        MirrorFault::WrongRoot { expected: self.item.root, got }
    }
}

impl Drop for Part {
    /// Leaves no empty file behind. It still holds the lock, so nobody else writes to it.
    fn drop(&mut self) {
        if self.len == 0 && !self.adopted {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn fault(unrooted: Unrooted) -> MirrorFault {
    match unrooted {
        Unrooted::Program(e) => MirrorFault::NotAProgram(e),
        Unrooted::ByteCount(lockstep_commit::Error::WrongByteCount { expected, actual }) if actual < expected => {
            MirrorFault::TooShort { expected_bytes: expected, actual_bytes: actual }
        }
        Unrooted::ByteCount(lockstep_commit::Error::WrongByteCount { expected, actual }) => {
            MirrorFault::TooLong { max_bytes: expected, actual_bytes: actual }
        }
        Unrooted::ByteCount(e) => MirrorFault::Content(e),
    }
}
