//! Opening the database.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use redb::{Database, Durability, ReadableDatabase};

use super::{
    batch::{Batch, KeptTries},
    snapshot::Snapshot,
    tables::{self, LAYOUT, META, META_CHAIN_ID, META_FINALIZED, META_HEAD, META_LAYOUT, META_SAFE},
};
use crate::error::{NodeError, StoreError};

/// Name of the database file in the data directory.
const FILE: &str = "chain.redb";

/// Memory for cached pages in bytes.
const CACHE_BYTES: usize = 256 << 20;

/// The open database. Dropping it at any time loses nothing that was committed.
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
    kept: Arc<Mutex<KeptTries>>,
}

impl Store {
    /// Opens or creates the database in a directory, which is created too.
    pub(crate) fn open(dir: &Path) -> Result<Self, NodeError> {
        let unusable = |cause: String| NodeError::DataDir { path: dir.to_path_buf(), cause };
        std::fs::create_dir_all(dir).map_err(|error| unusable(error.to_string()))?;
        let path = dir.join(FILE);
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => unusable("another node is using it".into()),
            error => unusable(error.to_string()),
        })?;
        let store = Self { database, path: dir.to_path_buf(), kept: Arc::default() };
        store.create_tables()?;
        store.check_layout()?;
        Ok(store)
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a change. Only one can be in progress; dropped, it leaves no trace.
    pub(crate) fn begin(&self) -> Result<Batch, StoreError> {
        let mut write = self.database.begin_write()?;
        // A block that was announced must survive a crash.
        write
            .set_durability(Durability::Immediate)
            .map_err(|error| StoreError::Corrupt(format!("durability was refused: {error}")))?;
        // Restarting after a kill must not walk the whole file.
        write.set_quick_repair(true);
        Ok(Batch::new(write, &self.kept))
    }

    /// What is committed now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::new(&self.database.begin_read()?)
    }

    /// The chain id and the newest block, if the store holds a chain.
    pub(crate) fn chain(&self) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(self.number(META_CHAIN_ID)?.zip(self.number(META_HEAD)?))
    }

    /// The newest blocks that L1 holds, and holds for good, if they were ever noted.
    pub(crate) fn labels(&self) -> Result<Option<(u64, u64)>, StoreError> {
        Ok(self.number(META_SAFE)?.zip(self.number(META_FINALIZED)?))
    }

    fn number(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let meta = self.database.begin_read()?.open_table(META)?;
        let Some(value) = meta.get(key)? else { return Ok(None) };
        let bytes = value.value().try_into();
        let bytes = bytes.map_err(|_| StoreError::Corrupt(format!("meta value {key} is malformed")))?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    fn check_layout(&self) -> Result<(), NodeError> {
        let meta = self.database.begin_read().map_err(StoreError::from)?.open_table(META).map_err(StoreError::from)?;
        let layout = meta.get(META_LAYOUT).map_err(StoreError::from)?.map(|value| value.value().to_vec());
        match layout.as_deref() {
            Some([LAYOUT]) => Ok(()),
            other => Err(NodeError::DataDir {
                path: self.path.clone(),
                cause: format!(
                    "layout {other:?} is not {LAYOUT}, the one this version reads; use the version that wrote it"
                ),
            }),
        }
    }

    /// Tables must exist before they can be read.
    fn create_tables(&self) -> Result<(), StoreError> {
        if let Ok(read) = self.database.begin_read()
            && read.open_table(META).is_ok()
        {
            return Ok(());
        }
        let write = self.database.begin_write()?;
        write.open_table(tables::ACCOUNTS)?;
        write.open_table(tables::STORAGE)?;
        write.open_table(tables::CODE)?;
        write.open_table(tables::ACCOUNT_TRIE)?;
        write.open_table(tables::STORAGE_TRIE)?;
        write.open_table(tables::HEADERS)?;
        write.open_table(tables::HASHES)?;
        write.open_table(tables::NUMBERS)?;
        write.open_table(tables::TRANSACTIONS)?;
        write.open_table(tables::RECEIPTS)?;
        write.open_table(tables::LOCATIONS)?;
        write.open_table(tables::UNDO)?;
        write.open_table(tables::BLOBS)?;
        write.open_table(META)?.insert(META_LAYOUT, [LAYOUT].as_slice())?;
        Ok(write.commit()?)
    }
}
