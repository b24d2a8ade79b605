//! Work on pieces of an output, on several threads.

use std::sync::{Mutex, PoisonError};

use crate::{Error, isa::check_control_word};

/// Operations below which a thread costs more than it brings.
const WORK_PER_THREAD: u64 = 400_000;
/// Pieces per thread, so that a thread that was held up does not hold up the others.
const PIECES_PER_THREAD: u64 = 4;

/// How an output is cut for threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    threads: u64,
    /// Units (of the caller's choice) per piece.
    pub(crate) units: u64,
}

impl Split {
    /// For `units` units that take `work` operations in all.
    pub(crate) fn new(units: u64, work: u64, threads: usize) -> Self {
        Self::cut(units, work, threads, PIECES_PER_THREAD)
    }

    /// One piece per thread, for work that has a cost per piece.
    pub(crate) fn coarse(units: u64, work: u64, threads: usize) -> Self {
        Self::cut(units, work, threads, 1)
    }

    fn cut(units: u64, work: u64, threads: usize, pieces_per_thread: u64) -> Self {
        let threads = (work / WORK_PER_THREAD).clamp(1, threads as u64).min(units.max(1));
        let pieces = if threads == 1 { 1 } else { threads * pieces_per_thread };
        Self { threads, units: units.div_ceil(pieces).max(1) }
    }

    /// Calls what `start` makes on each thread with pieces of `piece_bytes` of `out`: their number and their bytes.
    pub(crate) fn run<F>(self, out: &mut [u8], piece_bytes: usize, start: impl Fn() -> F + Sync) -> Result<(), Error>
    where
        F: FnMut(u64, &mut [u8]),
    {
        self.each(out.chunks_mut(piece_bytes.max(1)), start)
    }

    /// The same with several outputs, each with its bytes per piece.
    pub(crate) fn run_all<F>(self, outs: Vec<(&mut [u8], usize)>, start: impl Fn() -> F + Sync) -> Result<(), Error>
    where
        F: FnMut(u64, Vec<&mut [u8]>),
    {
        let mut chunks: Vec<_> = outs.into_iter().map(|(out, bytes)| out.chunks_mut(bytes.max(1))).collect();
        let pieces = std::iter::from_fn(move || chunks.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>());
        self.each(pieces, start)
    }

    fn each<P, F>(self, pieces: impl Iterator<Item = P> + Send, start: impl Fn() -> F + Sync) -> Result<(), Error>
    where
        P: Send,
        F: FnMut(u64, P),
    {
        let pieces = Mutex::new((0..).zip(pieces));
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            check_control_word()?;
            let mut evaluate = start();
            while let Some((i, piece)) = next() {
                evaluate(i, piece);
            }
            Ok(())
        };
        if self.threads == 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            let mine = work();
            let join =
                |h: std::thread::ScopedJoinHandle<'_, _>| h.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
            others.into_iter().map(join).fold(mine, Result::and)
        })
    }
}
