//! Opening the database.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use alloy::primitives::Bytes;
use redb::{Database, ReadableDatabase};

use super::{
    batch::Batch,
    current::{Limits, Shared, lock},
    log::Log,
    rows::Facts,
    snapshot::Snapshot,
    tables::{self, LAYOUT, META, META_GENERATION, META_LAYOUT},
    writer,
};
use crate::error::{NodeError, StoreError};

/// Name of the database file in the data directory.
const FILE: &str = "chain.redb";

/// The open database. Whatever ends it, nothing is lost that was committed.
pub(crate) struct Store {
    path: PathBuf,
    pub(super) shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens or creates the database in a directory, which is created too, with memory for so many bytes of its pages.
    pub(crate) fn open(dir: &Path, cache_bytes: usize) -> Result<Self, NodeError> {
        Self::open_with(dir, cache_bytes, Limits::default())
    }

    /// The same with other limits.
    pub(super) fn open_with(dir: &Path, cache_bytes: usize, limits: Limits) -> Result<Self, NodeError> {
        let unusable = |cause: String| NodeError::DataDir { path: dir.to_path_buf(), cause };
        std::fs::create_dir_all(dir).map_err(|error| unusable(error.to_string()))?;
        let path = dir.join(FILE);
        let database = Database::builder().set_cache_size(cache_bytes).create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => unusable("another node is using it".into()),
            error => unusable(error.to_string()),
        })?;
        create_tables(&database)?;
        check_layout(&database, dir)?;
        let (generation, facts) = stand(&database)?;
        let (log, found) = Log::open(dir, generation).map_err(|error| unusable(error.to_string()))?;
        let shared = Arc::new(Shared::new(database, limits, log, facts));
        let writer = writer::start(shared.clone()).map_err(|error| unusable(error.to_string()))?;
        let store = Self { path: dir.to_path_buf(), shared, writer: Some(writer) };
        if found.stray || !found.changes.is_empty() {
            store.write_whole(&found.changes)?;
            tracing::info!(changes = found.changes.len(), "wrote what the log had into the database");
        }
        Ok(store)
    }

    /// Writes the database as a whole, with changes of the log.
    fn write_whole(&self, changes: &[Bytes]) -> Result<(), StoreError> {
        let mut batch = self.begin()?;
        batch.make_whole()?;
        for change in changes {
            batch.replay(change)?;
        }
        batch.commit()
    }

    /// Writes the database as a whole, unless it was just written.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.shared.settle()?;
        let empty = lock(&self.shared.log).is_empty();
        if empty { Ok(()) } else { self.write_whole(&[]) }
    }

    /// Time that the database was written beside everything else.
    pub(crate) fn written(&self) -> Duration {
        self.shared.current().written
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a change. Only one can be in progress; dropped, it leaves no trace.
    pub(crate) fn begin(&self) -> Result<Batch, StoreError> {
        Batch::begin(&self.shared)
    }

    /// What is committed now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let current = self.shared.current();
        let read = self.shared.database.begin_read()?;
        Snapshot::new(&read, current.view(&read)?, current.waiting(), &current.facts)
    }

    /// The chain id and the newest block, if the store holds a chain.
    pub(crate) fn chain(&self) -> Option<(u64, u64)> {
        let facts = self.shared.current().facts;
        facts.chain_id.zip(facts.head)
    }

    /// The newest blocks that L1 holds, and holds for good, if they were ever noted.
    pub(crate) fn labels(&self) -> Option<(u64, u64)> {
        self.shared.current().facts.labels
    }
}

impl Drop for Store {
    /// Writes the database as a whole, so that the next start has nothing to do again.
    fn drop(&mut self) {
        #[cfg(test)]
        self.shared.gate.set(None);
        if let Err(error) = self.checkpoint() {
            tracing::warn!(%error, "what is recent stays in the log");
        }
        self.shared.close();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::warn!("the writer of the database panicked");
        }
    }
}

/// The generation of a database, and what it says about the chain.
fn stand(database: &Database) -> Result<(u64, Facts), StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok((tables::number(&meta, META_GENERATION)?.unwrap_or_default(), Facts::read(&meta)?))
}

fn check_layout(database: &Database, dir: &Path) -> Result<(), NodeError> {
    let meta = database.begin_read().map_err(StoreError::from)?.open_table(META).map_err(StoreError::from)?;
    let layout = meta.get(META_LAYOUT).map_err(StoreError::from)?.map(|value| value.value().to_vec());
    match layout.as_deref() {
        Some([LAYOUT]) => Ok(()),
        other => Err(NodeError::DataDir {
            path: dir.to_path_buf(),
            cause: format!(
                "layout {other:?} is not {LAYOUT}, the one this version reads; use the version that wrote it"
            ),
        }),
    }
}

/// Tables must exist before they can be read.
fn create_tables(database: &Database) -> Result<(), StoreError> {
    if let Ok(read) = database.begin_read()
        && read.open_table(META).is_ok()
    {
        return Ok(());
    }
    let write = database.begin_write()?;
    write.open_table(tables::STATE)?;
    write.open_table(tables::CODE)?;
    write.open_table(tables::HEADERS)?;
    write.open_table(tables::HASHES)?;
    write.open_table(tables::NUMBERS)?;
    write.open_table(tables::TRANSACTIONS)?;
    write.open_table(tables::RECEIPTS)?;
    write.open_table(tables::LOCATIONS)?;
    write.open_table(tables::UNDO)?;
    write.open_table(tables::BLOBS)?;
    write.open_table(tables::HISTORY)?;
    write.open_table(META)?.insert(META_LAYOUT, [LAYOUT].as_slice())?;
    Ok(write.commit()?)
}
