//! Opening the database.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use alloy::primitives::Bytes;
use redb::{Database, ReadableDatabase};

use super::{
    batch::{Batch, Shared, lock},
    log::Log,
    snapshot::Snapshot,
    tables::{self, LAYOUT, META, META_CHAIN_ID, META_FINALIZED, META_GENERATION, META_HEAD, META_LAYOUT, META_SAFE},
};
use crate::error::{NodeError, StoreError};

/// Name of the database file in the data directory.
const FILE: &str = "chain.redb";

/// The open database. Whatever ends it, nothing is lost that was committed.
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Store {
    /// Opens or creates the database in a directory, which is created too, with memory for so many bytes of its pages.
    pub(crate) fn open(dir: &Path, cache_bytes: usize) -> Result<Self, NodeError> {
        let unusable = |cause: String| NodeError::DataDir { path: dir.to_path_buf(), cause };
        std::fs::create_dir_all(dir).map_err(|error| unusable(error.to_string()))?;
        let path = dir.join(FILE);
        let database = Database::builder().set_cache_size(cache_bytes).create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => unusable("another node is using it".into()),
            error => unusable(error.to_string()),
        })?;
        create_tables(&database)?;
        check_layout(&database, dir)?;
        let generation = number(&database, META_GENERATION)?.unwrap_or_default();
        let (log, changes) = Log::open(dir, generation).map_err(|error| unusable(error.to_string()))?;
        let shared = Shared { kept: Mutex::default(), log: Mutex::new(log), current: Mutex::default() };
        let store = Self { database, path: dir.to_path_buf(), shared: Arc::new(shared) };
        if !changes.is_empty() {
            store.write_whole(&changes)?;
            tracing::info!(changes = changes.len(), "wrote what the log had into the database");
        }
        Ok(store)
    }

    /// Writes the database as a whole, with changes of the log. A part of them may be there: blocks without their state.
    fn write_whole(&self, changes: &[Bytes]) -> Result<(), StoreError> {
        let mut batch = self.begin()?;
        batch.record = None;
        for change in changes {
            batch.replay(change)?;
        }
        batch.commit()
    }

    /// Writes the database as a whole, unless it was just written.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        let empty = lock(&self.shared.log).is_empty();
        if empty { Ok(()) } else { self.write_whole(&[]) }
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a change. Only one can be in progress; dropped, it leaves no trace.
    pub(crate) fn begin(&self) -> Result<Batch, StoreError> {
        let write = self.database.begin_write()?;
        let view = lock(&self.shared.current).view(&self.database.begin_read()?)?;
        Ok(Batch::new(write, view, self.shared.clone()))
    }

    /// What is committed now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let current = lock(&self.shared.current);
        let read = self.database.begin_read()?;
        Snapshot::new(&read, current.view(&read)?)
    }

    /// The chain id and the newest block, if the store holds a chain.
    pub(crate) fn chain(&self) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(number(&self.database, META_CHAIN_ID)?.zip(number(&self.database, META_HEAD)?))
    }

    /// The newest blocks that L1 holds, and holds for good, if they were ever noted.
    pub(crate) fn labels(&self) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(number(&self.database, META_SAFE)?.zip(number(&self.database, META_FINALIZED)?))
    }
}

impl Drop for Store {
    /// Writes the database as a whole, so that the next start has nothing to do again.
    fn drop(&mut self) {
        if let Err(error) = self.checkpoint() {
            tracing::warn!(%error, "what is recent stays in the log");
        }
    }
}

fn number(database: &Database, key: &str) -> Result<Option<u64>, StoreError> {
    tables::number(&database.begin_read()?.open_table(META)?, key)
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
