//! The state's table, and what it will hold once it is written: changes that so far only the log and memory have.
//!
//! ```text
//!   read:   changes of the batch --> recent changes --> frozen changes --> table
//!   commit: changes of the batch --> recent changes                   (with a record in the log)
//!   freeze:                          recent changes --> frozen changes --> table, by the writer
//!           changes of the batch, recent changes -----------------------> table (when the database is written as a whole)
//! ```
//!
//! Slots, and the lower branches of a trie, lie in random order, so every block touches about as many pages as it changes of
//! them; written together, the changes of many blocks share pages.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use alloy::primitives::{Bytes, map::HashMap};
use redb::{ReadOnlyTable, ReadTransaction, Table};

use super::tables::STATE;
use crate::error::StoreError;

/// What an entry takes in memory beside its bytes, about.
const ENTRY_BYTES: usize = 120;

/// New values by key; `None` is none any more.
pub(super) type Changes = HashMap<Vec<u8>, Option<Bytes>>;

/// Changes that the table does not have. Readers see those up to a number.
#[derive(Debug, Default)]
pub(super) struct Recent(RwLock<Versions>);

#[derive(Debug, Default)]
struct Versions {
    entries: HashMap<Vec<u8>, Entry>,
    bytes: usize,
}

/// The values that a key had, each with the number of its change.
#[derive(Debug, Default)]
struct Entry {
    newest: (u64, Option<Bytes>),
    /// Oldest first.
    before: Vec<(u64, Option<Bytes>)>,
}

impl Entry {
    /// The value as of a change, if it was set by then.
    fn at(&self, number: u64) -> Option<&Option<Bytes>> {
        let all = self.before.iter().chain([&self.newest]);
        all.rev().find(|(set, _)| (1..=number).contains(set)).map(|(_, value)| value)
    }

    fn set(&mut self, number: u64, value: Option<Bytes>) {
        let before = mem::replace(&mut self.newest, (number, value));
        if before.0 > 0 {
            self.before.push(before);
        }
    }
}

impl Recent {
    fn read(&self) -> RwLockReadGuard<'_, Versions> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes them, and later ones, into the table.
    pub(super) fn write(
        &self,
        later: &Changes,
        table: &mut Table<'_, &'static [u8], &'static [u8]>,
    ) -> Result<(), StoreError> {
        let versions = self.read();
        let recent = versions.entries.iter().filter(|(key, _)| !later.contains_key(*key));
        let recent = recent.map(|(key, entry)| (key, &entry.newest.1));
        let mut all: Vec<(&Vec<u8>, &Option<Bytes>)> = recent.chain(later).collect();
        // In the order of the table, so that each of its pages is visited once.
        all.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in all {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_ref())?,
                None => table.remove(key.as_slice())?,
            };
        }
        Ok(())
    }
}

/// What lies over the table, as of a change.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    recent: Arc<Recent>,
    /// The number of the newest change that shows.
    newest: u64,
    /// Under `recent`: changes that are being written. All show.
    frozen: Option<Arc<Recent>>,
}

impl Layers {
    /// Adds a change. Copies of before do not see it.
    pub(super) fn add(&mut self, changes: Changes) {
        self.newest += 1;
        let mut versions = self.recent.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            versions.bytes += ENTRY_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
            versions.entries.entry(key).or_default().set(self.newest, value);
        }
    }

    /// Size in bytes of the recent changes.
    pub(super) fn bytes(&self) -> usize {
        self.recent.read().bytes
    }

    /// Freezes the recent changes. No others may be frozen.
    pub(super) fn freeze(&mut self) {
        self.frozen = Some(mem::take(&mut self.recent));
        self.newest = 0;
    }

    /// The frozen changes.
    pub(super) fn frozen(&self) -> Option<Arc<Recent>> {
        self.frozen.clone()
    }

    /// The table has the frozen changes.
    pub(super) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// Writes the recent changes, and later ones, into a table that has the frozen ones.
    pub(super) fn write(
        &self,
        later: &Changes,
        table: &mut Table<'_, &'static [u8], &'static [u8]>,
    ) -> Result<(), StoreError> {
        self.recent.write(later, table)
    }
}

/// Entries of the state, wherever they are.
pub(super) trait Entries {
    /// Reads the value of a key.
    fn read<T>(&self, key: &[u8], decode: impl FnOnce(&[u8]) -> Result<T, StoreError>)
    -> Result<Option<T>, StoreError>;
}

/// The state as of one change. Later ones do not show.
pub(super) struct View {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    layers: Layers,
}

impl View {
    /// What `layers` show over a table that is as new as the oldest of them, or newer.
    pub(super) fn new(read: &ReadTransaction, layers: Layers) -> Result<Self, StoreError> {
        Ok(Self { table: read.open_table(STATE)?, layers })
    }

    /// Everything under a prefix of keys.
    pub(super) fn scan(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Bytes>, StoreError> {
        let mut found = BTreeMap::new();
        for entry in self.table.range(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.insert(key.value().to_vec(), Bytes::copy_from_slice(value.value()));
        }
        let layers = self.layers.frozen.iter().map(|frozen| (frozen, u64::MAX));
        for (layer, newest) in layers.chain([(&self.layers.recent, self.layers.newest)]) {
            let versions = layer.read();
            for (key, entry) in versions.entries.iter().filter(|(key, _)| key.starts_with(prefix)) {
                match entry.at(newest) {
                    Some(Some(value)) => found.insert(key.clone(), value.clone()),
                    Some(None) => found.remove(key),
                    None => None,
                };
            }
        }
        Ok(found)
    }
}

impl Entries for View {
    fn read<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        {
            let versions = self.layers.recent.read();
            if let Some(value) = versions.entries.get(key).and_then(|entry| entry.at(self.layers.newest)) {
                return value.as_ref().map(|value| decode(value)).transpose();
            }
        }
        if let Some(frozen) = &self.layers.frozen {
            let versions = frozen.read();
            if let Some(entry) = versions.entries.get(key) {
                return entry.newest.1.as_ref().map(|value| decode(value)).transpose();
            }
        }
        self.table.get(key)?.map(|value| decode(value.value())).transpose()
    }
}

/// The state as a batch sees and changes it.
pub(super) struct Working {
    view: View,
    changes: Changes,
}

impl Working {
    /// Starts from a view.
    pub(super) fn new(view: View) -> Self {
        Self { view, changes: Changes::default() }
    }

    /// Sets or removes the value of a key.
    pub(super) fn set(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        self.changes.insert(key, value);
    }

    /// Removes everything under a prefix of keys and returns it.
    pub(super) fn clear(&mut self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Bytes>, StoreError> {
        let mut found = self.view.scan(prefix)?;
        for (key, value) in self.changes.iter().filter(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        self.changes.extend(found.keys().map(|key| (key.clone(), None)));
        Ok(found)
    }

    /// How many keys were changed.
    pub(super) fn changed(&self) -> usize {
        self.changes.len()
    }

    /// The keys that were changed.
    #[cfg(test)]
    pub(super) fn changed_keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.changes.keys()
    }

    /// What was changed.
    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl Entries for Working {
    fn read<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.changes.get(key) {
            Some(value) => value.as_ref().map(|value| decode(value)).transpose(),
            None => self.view.read(key, decode),
        }
    }
}
