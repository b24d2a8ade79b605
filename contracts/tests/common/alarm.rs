//! Ends the threads of a test when one of them fails: contracts that are broken on purpose are found in seconds.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Shared by the threads of a test.
#[derive(Default)]
pub(crate) struct Alarm(AtomicBool);

/// One thread's hold on it.
pub(crate) struct Watch<'a>(&'a Alarm);

impl Alarm {
    /// To be held while a thread works.
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch(self)
    }
}

impl Watch<'_> {
    /// Whether another thread has failed.
    pub(crate) fn rings(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }
}
