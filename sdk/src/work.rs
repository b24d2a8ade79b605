//! The loop that every daemon is: look at the numbered things of a contract, give each one that is not over a worker of its own,
//! and let workers try again when that can help.

use std::{collections::BTreeSet, future::Future, time::Duration};

use tokio::{sync::watch, task::JoinSet};

use crate::error::{Class, Error};

/// Tells daemons to stop.
pub type Stop = watch::Receiver<bool>;

/// A stop signal and what sends it.
#[must_use]
pub fn stop_channel() -> (watch::Sender<bool>, Stop) {
    watch::channel(false)
}

/// Resolves when the daemon is told to stop, or when nobody can tell it any more.
pub async fn stopped(stop: &Stop) {
    let mut stop = stop.clone();
    // An error means that the sender is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again at once.
    Again,
    /// Look again after the poll interval.
    Wait,
    /// The thing is over, or none of this party's business.
    Done,
}

/// Longest pause between tries: deadlines of a dispute are minutes.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Tells of trouble once, not at every try, and when it is over.
#[derive(Debug)]
pub struct Trouble {
    doing: &'static str,
    told: Option<String>,
}

impl Trouble {
    /// No trouble yet with what is being done.
    #[must_use]
    pub fn new(doing: &'static str) -> Self {
        Self { doing, told: None }
    }

    /// An attempt failed.
    pub fn failed(&mut self, e: &Error) {
        let words = e.to_string();
        if self.told.as_ref() != Some(&words) {
            tracing::warn!("{}, trying again: {words}", self.doing);
            self.told = Some(words);
        }
    }

    /// An attempt succeeded.
    pub fn over(&mut self) {
        if self.told.take().is_some() {
            tracing::warn!("{}: works again", self.doing);
        }
    }
}

/// Calls `look` until it is done. Errors worth a retry are logged and retried; others end the worker.
///
/// # Errors
/// The first error that a retry cannot mend.
pub async fn drive<F, Fut>(poll: Duration, stop: &Stop, mut look: F) -> Result<(), Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Next, Error>>,
{
    let mut failures = 0u32;
    let mut trouble = Trouble::new("working");
    while !*stop.borrow() {
        let pause = match look().await {
            Ok(Next::Done) => return Ok(()),
            Ok(next) => {
                failures = 0;
                trouble.over();
                if next == Next::Again {
                    continue;
                }
                poll
            }
            Err(e) if retriable(&e) => {
                failures = failures.saturating_add(1);
                // The loop that looks for work tells that the chain is away, once for all workers.
                if !matches!(e, Error::Unreachable { .. }) {
                    trouble.failed(&e);
                }
                (poll * 2u32.saturating_pow(failures.min(6))).min(MAX_PAUSE.max(poll))
            }
            Err(e) => return Err(e),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(stop) => {}
        }
    }
    Ok(())
}

/// Whether a loop should try again after `e`: if its class says so, and after a revert.
///
/// A revert is worth another look, too: it says that the chain moved on between looking and acting.
#[must_use]
pub fn retriable(e: &Error) -> bool {
    e.class() == Class::Retry || matches!(e, Error::Reverted { .. })
}

/// Watches things numbered 1, 2, … and starts `work` for each one.
///
/// # Errors
/// None but those of a broken task; counting errors are logged and retried.
pub async fn watch_numbered<C, CF, W, WF>(poll: Duration, stop: Stop, count: C, work: W) -> Result<(), Error>
where
    C: Fn() -> CF,
    CF: Future<Output = Result<u64, Error>>,
    W: Fn(u64) -> WF,
    WF: Future<Output = ()> + Send + 'static,
{
    let mut trouble = Trouble::new("looking for work");
    let mut seen = BTreeSet::new();
    let mut workers = JoinSet::new();
    while !*stop.borrow() {
        match count().await {
            Ok(count) => {
                trouble.over();
                for id in 1..=count {
                    if seen.insert(id) {
                        workers.spawn(work(id));
                    }
                }
            }
            Err(e) => trouble.failed(&e),
        }
        while let Some(ended) = workers.try_join_next() {
            if let Err(e) = ended {
                tracing::error!("a worker stopped: {e}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = stopped(&stop) => {}
        }
    }
    while workers.join_next().await.is_some() {}
    Ok(())
}
