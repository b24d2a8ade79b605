//! What is committed, and how far the database is behind it.
//!
//! ```text
//!   Batch::commit --> log        (durable)
//!                 \-> recent     the state's changes  --(full)--> frozen --> table, in one durable transaction
//!                 \-> waiting    rows of other tables ------------------------> their tables, at once
//!                                                                   the writer, on a thread of its own
//! ```
//!
//! The database therefore is on disk as it was at one moment, that of a freeze: whatever became visible in it since then is lost
//! in a kill, and made again from the log.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redb::{Database, ReadTransaction};

use super::{
    batch::KeptTries,
    log::Log,
    recent::{Changes, Layers, Recent, View},
    rows::{Facts, Rows, Waiting},
};
use crate::error::StoreError;

/// From where on the database is written, and how much may wait for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a segment of the log: twice as many are what a start after a kill does again, at most.
    pub(super) log_bytes: u64,
    /// Bytes of recent changes in memory. As many again may be frozen.
    pub(super) recent_bytes: usize,
    /// Bytes of the log whose rows may wait.
    pub(super) waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { log_bytes: 64 << 20, recent_bytes: 256 << 20, waiting_bytes: 64 << 20 }
    }
}

/// What a store's batches and its writer share.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) limits: Limits,
    pub(super) kept: Mutex<KeptTries>,
    /// Locked before `current`, by whoever locks both.
    pub(super) log: Mutex<Log>,
    current: Mutex<Current>,
    changed: Condvar,
    #[cfg(test)]
    pub(super) gate: super::writer::Gate,
}

/// Locks; what a panic left is whole, as nothing here panics halfway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is committed.
#[derive(Debug, Default)]
pub(super) struct Current {
    /// The state over the database's.
    layers: Layers,
    /// What becomes of the frozen layer.
    freeze: Option<Freeze>,
    waiting: Waiting,
    waiting_bytes: usize,
    pub(super) facts: Facts,
    /// Whether a batch is in progress.
    busy: bool,
    /// Why the writer can do no more.
    failed: Option<StoreError>,
    closed: bool,
    /// Time that writing the database has taken.
    pub(super) written: Duration,
}

/// The moment at which the state was frozen.
#[derive(Clone, Copy, Debug)]
struct Freeze {
    /// What the database's generation will be.
    generation: u64,
    /// How many of the waiting rows are from before.
    rows: usize,
}

/// What the writer has to do next.
pub(super) struct Job {
    /// Rows, oldest first.
    pub(super) rows: Vec<Arc<Rows>>,
    /// The frozen state and the generation that the database reaches with it.
    pub(super) state: Option<(Arc<Recent>, u64)>,
}

impl Current {
    /// The state as of now. `read` must not be older.
    pub(super) fn view(&self, read: &ReadTransaction) -> Result<View, StoreError> {
        View::new(read, self.layers.clone())
    }

    /// Rows that the database may not have yet.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Adds a change. Views that exist do not see it.
    pub(super) fn add(&mut self, changes: Changes, rows: Rows) {
        self.layers.add(changes);
        self.facts = rows.facts;
        self.waiting_bytes += rows.bytes;
        self.waiting.0.push_back(Arc::new(rows));
    }

    /// The state over the database's.
    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The database has everything.
    pub(super) fn written_whole(&mut self, facts: Facts, took: Duration) {
        (self.layers, self.facts) = (Layers::default(), facts);
        self.written += took;
    }

    fn freeze(&mut self, generation: u64) {
        self.freeze = Some(Freeze { generation, rows: self.waiting.0.len() });
        self.layers.freeze();
    }

    fn is_settled(&self) -> bool {
        self.freeze.is_none() && self.waiting.0.is_empty()
    }

    /// What the writer has to do.
    fn job(&self) -> Option<Job> {
        let rows = self.freeze.map_or(self.waiting.0.len(), |freeze| freeze.rows);
        let state = self.freeze.and_then(|freeze| Some((self.layers.frozen()?, freeze.generation)));
        let some = self.failed.is_none() && !self.is_settled();
        some.then(|| Job { rows: self.waiting.0.iter().take(rows).cloned().collect(), state })
    }

    fn done(&mut self, job: &Job) {
        self.waiting_bytes -= job.rows.iter().map(|rows| rows.bytes).sum::<usize>();
        self.waiting.0.drain(..job.rows.len());
        if job.state.is_some() {
            self.freeze = None;
            self.layers.thaw();
        } else if let Some(freeze) = &mut self.freeze {
            // It came while the writer was at it.
            freeze.rows -= job.rows.len();
        }
    }
}

impl Shared {
    pub(super) fn new(database: Database, limits: Limits, log: Log, facts: Facts) -> Self {
        Self {
            database,
            limits,
            kept: Mutex::default(),
            log: Mutex::new(log),
            current: Mutex::new(Current { facts, ..Current::default() }),
            changed: Condvar::new(),
            #[cfg(test)]
            gate: super::writer::Gate::default(),
        }
    }

    /// What is committed now.
    pub(super) fn current(&self) -> MutexGuard<'_, Current> {
        lock(&self.current)
    }

    fn changed<'a>(&'a self, current: MutexGuard<'a, Current>) -> MutexGuard<'a, Current> {
        self.changed.wait(current).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the database has all rows, and the frozen state.
    ///
    /// # Errors
    /// Whatever the writer could not do.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let mut current = self.current();
        while !current.is_settled() {
            if let Some(error) = &current.failed {
                return Err(error.clone());
            }
            current = self.changed(current);
        }
        Ok(())
    }

    /// Makes room for one more change: freezes what is recent if that or the log is full. Waits for the writer only if it is
    /// more than everything that fits into memory behind.
    ///
    /// # Errors
    /// Whatever the writer could not do.
    pub(super) fn make_room(&self, log: &mut Log) -> Result<(), StoreError> {
        let mut current = self.current();
        loop {
            if let Some(error) = &current.failed {
                return Err(error.clone());
            }
            let full = log.bytes() >= self.limits.log_bytes || current.layers.bytes() >= self.limits.recent_bytes;
            let full = full && !log.is_empty();
            if full && current.freeze.is_none() {
                current.freeze(log.next_generation());
                log.begin_segment();
                self.changed.notify_all();
            } else if full || current.waiting_bytes >= self.limits.waiting_bytes {
                current = self.changed(current);
            } else {
                return Ok(());
            }
        }
    }

    /// Tells the writer, and whoever waits.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// What the writer has to do next; waits for it. `None` once the store is closed.
    pub(super) fn next_job(&self) -> Option<Job> {
        let mut current = self.current();
        loop {
            match current.job() {
                Some(job) => return Some(job),
                None if current.closed => return None,
                None => current = self.changed(current),
            }
        }
    }

    /// Notes what became of a job.
    pub(super) fn finish(&self, job: &Job, done: Result<(), StoreError>, took: Duration) {
        let mut current = self.current();
        match done {
            Ok(()) => current.done(job),
            Err(error) => current.failed = Some(error),
        }
        current.written += took;
        self.notify();
    }

    /// The writer can do no more.
    pub(super) fn fail(&self, error: StoreError) {
        self.current().failed = Some(error);
        self.notify();
    }

    /// Lets the writer end.
    pub(super) fn close(&self) {
        self.current().closed = true;
        self.notify();
    }

    /// Whether the next change would have to wait for the writer, if it does nothing.
    #[cfg(test)]
    pub(super) fn is_behind(&self) -> bool {
        let log_bytes = lock(&self.log).bytes();
        let current = self.current();
        let full = log_bytes >= self.limits.log_bytes || current.layers.bytes() >= self.limits.recent_bytes;
        full && current.freeze.is_some()
    }

    /// Whether the writer has nothing to do.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.current().job().is_none()
    }

    /// Whether the state is frozen and not yet in the database.
    #[cfg(test)]
    pub(super) fn is_frozen(&self) -> bool {
        self.current().freeze.is_some()
    }
}

/// The right to make a change.
pub(super) struct Turn(Arc<Shared>);

impl Turn {
    /// Waits until nobody else has it.
    pub(super) fn take(shared: &Arc<Shared>) -> Self {
        let mut current = shared.current();
        while mem::replace(&mut current.busy, true) {
            current = shared.changed(current);
        }
        drop(current);
        Self(shared.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.current().busy = false;
        self.0.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The durable transaction has the rows up to the freeze and no later ones, also if the writer was busy with the first of
    /// them when it came.
    #[test]
    fn a_freeze_while_rows_are_written_takes_only_those_before_it() {
        let mut current = Current::default();
        let add = |current: &mut Current, head| {
            let facts = Facts { head: Some(head), ..Facts::default() };
            current.add(Changes::default(), Rows { facts, bytes: 10, ..Rows::default() });
        };
        let heads = |job: &Job| job.rows.iter().filter_map(|rows| rows.facts.head).collect::<Vec<_>>();
        add(&mut current, 1);
        add(&mut current, 2);
        let first = current.job().unwrap();
        assert_eq!(heads(&first), [1, 2]);
        add(&mut current, 3);
        current.freeze(7);
        add(&mut current, 4);
        current.done(&first);
        let second = current.job().unwrap();
        assert_eq!((heads(&second), second.state.as_ref().map(|(_, generation)| *generation)), (vec![3], Some(7)));
        add(&mut current, 5);
        current.done(&second);
        let third = current.job().unwrap();
        assert_eq!((heads(&third), third.state.is_none()), (vec![4, 5], true));
        current.done(&third);
        assert!(current.is_settled() && current.waiting_bytes == 0);
    }
}
