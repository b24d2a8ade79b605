//! The thread that writes into the database what is already durable in the log.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use redb::{Durability, WriteTransaction};

use super::{
    current::{Job, Shared},
    recent::{Changes, Recent},
    tables::{self, META_GENERATION},
};
use crate::error::StoreError;

/// Starts the thread. It ends when the store is closed.
pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("store".into()).spawn(move || run(&shared))
}

fn run(shared: &Shared) {
    let _panicked = Panicked(shared);
    // Freeing a million entries takes time that whoever drops the last snapshot of them should not have to spend.
    let mut old: Vec<Arc<Recent>> = Vec::new();
    while let Some(job) = shared.next_job() {
        let start = Instant::now();
        let done = write(shared, &job);
        shared.finish(&job, done, start.elapsed());
        old.extend(job.state.map(|(state, _)| state));
        old.retain(|state| Arc::strong_count(state) > 1);
    }
}

fn write(shared: &Shared, job: &Job) -> Result<(), StoreError> {
    #[cfg(test)]
    shared.gate.pass(Stage::Begin, job);
    let mut write = shared.database.begin_write()?;
    for rows in &job.rows {
        rows.write(&write)?;
    }
    match &job.state {
        None => set_durability(&mut write, Durability::None)?,
        Some((state, generation)) => {
            state.write(&Changes::default(), &mut write.open_table(tables::STATE)?)?;
            set_generation(&mut write, *generation)?;
        }
    }
    #[cfg(test)]
    shared.gate.pass(Stage::Commit, job);
    write.commit()?;
    #[cfg(test)]
    shared.gate.pass(Stage::End, job);
    Ok(())
}

/// The transaction writes the database as a whole: with it, the log begins anew.
pub(super) fn set_generation(write: &mut WriteTransaction, generation: u64) -> Result<(), StoreError> {
    write.open_table(tables::META)?.insert(META_GENERATION, generation.to_be_bytes().as_slice())?;
    // Restarting after a kill must not walk the whole file.
    write.set_quick_repair(true);
    set_durability(write, Durability::Immediate)
}

fn set_durability(write: &mut WriteTransaction, durability: Durability) -> Result<(), StoreError> {
    let refused = |error| StoreError::Corrupt(format!("durability was refused: {error}"));
    write.set_durability(durability).map_err(refused)
}

/// Nobody waits for a thread that is no more.
struct Panicked<'a>(&'a Shared);

impl Drop for Panicked<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(StoreError::Corrupt("the writer of the database panicked".into()));
        }
    }
}

/// Where the writer can be stopped, to see what a kill would leave.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is written.
    Begin,
    /// All is written, nothing committed.
    Commit,
    /// All is committed, and nobody knows.
    End,
}

/// Stops the writer while it writes a frozen state.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Gate {
    /// Where it stops, and whether it has.
    stop: std::sync::Mutex<(Option<Stage>, bool)>,
    changed: std::sync::Condvar,
}

#[cfg(test)]
impl Gate {
    fn pass(&self, stage: Stage, job: &Job) {
        let mut stop = self.stop.lock().unwrap();
        while job.state.is_some() && stop.0 == Some(stage) {
            stop.1 = true;
            self.changed.notify_all();
            stop = self.changed.wait(stop).unwrap();
        }
    }

    /// From now on the writer stops at this stage, or nowhere.
    pub(super) fn set(&self, stop: Option<Stage>) {
        *self.stop.lock().unwrap() = (stop, false);
        self.changed.notify_all();
    }

    /// Waits until nothing is being written: the writer has stopped, or has nothing to do.
    pub(super) fn still(&self, shared: &Shared) {
        let mut stop = self.stop.lock().unwrap();
        while !stop.1 && !shared.is_idle() {
            stop = self.changed.wait_timeout(stop, std::time::Duration::from_millis(2)).unwrap().0;
        }
    }
}
