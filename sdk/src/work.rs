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

/// Poll intervals that pass after what only a person can mend: too few tokens, a wrong address.
const MEND_POLLS: u32 = 60;

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

/// What a daemon does about one numbered thing.
pub trait Worker: Send + 'static {
    /// Looks at the thing and does what is next.
    ///
    /// Called again after an error that a retry can mend; so it must find out anew how far it came.
    fn look(&mut self) -> impl Future<Output = Result<Next, Error>> + Send;

    /// Tells the person what became of the work, and why.
    fn tell(&self, what: &'static str, why: String);
}

/// Calls [`Worker::look`] until it is done. Errors worth a retry are logged and retried, what a person can mend is looked at again
/// now and then, and other errors end the work.
async fn drive(mut worker: impl Worker, poll: Duration, stop: Stop) {
    let mut failures = 0u32;
    let mut mend = None;
    let mut trouble = Trouble::new("working");
    while !*stop.borrow() {
        let pause = match worker.look().await {
            Ok(Next::Done) => return,
            Ok(next) => {
                failures = 0;
                mend = None;
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
            Err(e) if e.class() == Class::FixInput => {
                let (words, pause) = (e.to_string(), poll * MEND_POLLS);
                if mend.as_ref() != Some(&words) {
                    worker.tell("waiting", format!("{words}; looks again every {:.0} s", pause.as_secs_f64()));
                    mend = Some(words);
                }
                pause
            }
            Err(e) => return worker.tell("gave up", e.to_string()),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&stop) => {}
        }
    }
}

/// Whether a loop should try again after `e`: if its class says so, and after a revert.
///
/// A revert is worth another look, too: it says that the chain moved on between looking and acting.
#[must_use]
pub fn retriable(e: &Error) -> bool {
    e.class() == Class::Retry || matches!(e, Error::Reverted { .. })
}

/// Watches things numbered 1, 2, … until told to stop, with a worker for each one.
///
/// Errors of counting are logged and retried.
pub async fn watch_numbered<C, CF, W>(poll: Duration, stop: Stop, count: C, worker: impl Fn(u64) -> W)
where
    C: Fn() -> CF,
    CF: Future<Output = Result<u64, Error>>,
    W: Worker,
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
                        workers.spawn(drive(worker(id), poll, stop.clone()));
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
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Answers with one result after the other, and notes what it is told.
    struct Script {
        answers: Vec<Result<Next, Error>>,
        told: Arc<Mutex<Vec<(&'static str, String)>>>,
    }

    impl Worker for Script {
        async fn look(&mut self) -> Result<Next, Error> {
            self.answers.remove(0)
        }

        fn tell(&self, what: &'static str, why: String) {
            self.told.lock().unwrap().push((what, why));
        }
    }

    async fn play(answers: Vec<Result<Next, Error>>) -> Vec<(&'static str, String)> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (_tell, stop) = stop_channel();
        drive(Script { answers, told: told.clone() }, Duration::from_millis(1), stop).await;
        Arc::try_unwrap(told).unwrap().into_inner().unwrap()
    }

    fn needs_a_person() -> Error {
        Error::NoWallet("take")
    }

    #[tokio::test]
    async fn what_a_person_can_mend_is_told_once_and_looked_at_again() {
        assert_eq!(needs_a_person().class(), Class::FixInput);
        let told = play(vec![Err(needs_a_person()), Err(needs_a_person()), Ok(Next::Again), Ok(Next::Done)]).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "waiting");
    }

    #[tokio::test]
    async fn what_nothing_can_mend_ends_the_work_with_the_reason() {
        let hopeless = Error::Game { dispute_id: 7, reason: "no such phase".into() };
        assert_eq!(hopeless.class(), Class::GiveUp);
        let told = play(vec![Ok(Next::Wait), Err(hopeless)]).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].0 == "gave up" && told[0].1.contains("no such phase"), "{told:?}");
    }
}
