//! Work on pieces of an output, on several threads.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::{Error, isa::check_control_word};

/// Operations below which a thread costs more than it brings.
const WORK_PER_THREAD: u64 = 400_000;
/// Pieces per thread, so that a thread that was held up does not hold up the others.
const PIECES_PER_THREAD: u64 = 4;

/// How many of `threads` so many operations are worth.
pub(crate) fn threads_for(work: u64, threads: usize) -> u64 {
    (work / WORK_PER_THREAD).clamp(1, threads.max(1) as u64)
}

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
        let threads = threads_for(work, threads).min(units.max(1));
        let pieces = if threads == 1 { 1 } else { threads * PIECES_PER_THREAD };
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
            let mut evaluate = start();
            while let Some((i, piece)) = next() {
                evaluate(i, piece);
            }
        };
        together(self.threads, work)
    }
}

/// Calls `work` on this thread and on up to `threads - 1` others, which are kept from call to call.
///
/// # Errors
/// A thread's floating-point control word is wrong.
pub(crate) fn together(threads: u64, work: impl Fn() + Sync) -> Result<(), Error> {
    let work = || check_control_word().map(|()| work());
    if threads <= 1 {
        return work();
    }
    let failed = OnceLock::new();
    let work = || work().unwrap_or_else(|e| _ = failed.set(e));
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
    });
    failed.into_inner().map_or(Ok(()), Err)
}
