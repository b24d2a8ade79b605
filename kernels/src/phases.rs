//! Work in phases that several threads share: no piece of a phase starts before all pieces of the phases before it are done.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Hands out pieces, phase by phase. A thread that is late finds fewer of them, and one that never comes is not missed.
pub(crate) struct Phases {
    /// Pieces of each phase and of all before it.
    ends: Vec<usize>,
    next: AtomicUsize,
    done: AtomicUsize,
}

/// A piece that is worked on; done when it is dropped, so that a panic does not leave others waiting.
pub(crate) struct Piece<'a> {
    pub(crate) phase: usize,
    /// Among those of its phase.
    pub(crate) index: usize,
    phases: &'a Phases,
}

/// Looks at a counter before a waiting thread lets others run: some ten microseconds.
const SPINS: u32 = 500;

impl Phases {
    /// Phases of so many pieces each.
    pub(crate) fn new(pieces: impl Iterator<Item = usize>) -> Self {
        let sum = |total: &mut usize, n| {
            *total += n;
            Some(*total)
        };
        Self { ends: pieces.scan(0, sum).collect(), next: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }

    /// The next piece, once all phases before it are done. Pieces are taken in order, so whoever is waited for is at work.
    pub(crate) fn take(&self) -> Option<Piece<'_>> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let phase = self.ends.partition_point(|&end| end <= at);
        if phase == self.ends.len() {
            return None;
        }
        let before = if phase == 0 { 0 } else { self.ends[phase - 1] };
        let mut spins = 0;
        while self.done.load(Ordering::Acquire) < before {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Some(Piece { phase, index: at - before, phases: self })
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        self.phases.done.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_phase_starts_when_the_ones_before_it_are_done() {
        let sizes = [3, 0, 5, 1, 200];
        for threads in [1, 2, 4] {
            let (phases, log) = (Phases::new(sizes.into_iter()), Mutex::new(Vec::new()));
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while let Some(piece) = phases.take() {
                            log.lock().unwrap().push((piece.phase, piece.index, false));
                            std::thread::yield_now();
                            log.lock().unwrap().push((piece.phase, piece.index, true));
                        }
                    });
                }
            });
            let log = log.into_inner().unwrap();
            for (phase, &size) in sizes.iter().enumerate() {
                let ended = |before: usize| log.iter().rposition(|l| l.0 < before && l.2).unwrap_or(0);
                let mut found: Vec<usize> = log.iter().filter(|l| l.0 == phase && !l.2).map(|l| l.1).collect();
                found.sort_unstable();
                assert_eq!(found, (0..size).collect::<Vec<_>>(), "{threads} threads, phase {phase}");
                if let Some(start) = log.iter().position(|l| l.0 == phase) {
                    assert!(start >= ended(phase), "{threads} threads, phase {phase}");
                }
            }
        }
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let phases = Phases::new([2, 2].into_iter());
        let caught = std::panic::catch_unwind(|| {
            let _piece = phases.take();
            panic!("on purpose");
        });
        assert!(caught.is_err());
        let rest: Vec<_> = std::iter::from_fn(|| phases.take().map(|p| (p.phase, p.index))).collect();
        assert_eq!(rest, [(0, 1), (1, 0), (1, 1)]);
    }
}
