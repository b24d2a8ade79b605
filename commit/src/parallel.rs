//! Hashing on several threads: items are taken one by one, so that a thread that is held up does not hold up the others.

use std::{
    num::NonZeroUsize,
    sync::{LazyLock, Mutex, PoisonError},
    thread,
};

/// Bytes of hashed data below which another thread costs more than it brings.
const BYTES_PER_THREAD: usize = 1 << 20;

/// Threads of the machine.
static MACHINE: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));

/// Threads that hashing so many bytes is worth.
pub(crate) fn threads_for(bytes: usize) -> usize {
    (bytes / BYTES_PER_THREAD).clamp(1, *MACHINE)
}

/// Calls `work` on every item, on so many threads.
pub(crate) fn for_each<T: Send>(threads: usize, items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    if threads <= 1 {
        items.for_each(work);
        return;
    }
    let items = Mutex::new(items);
    let take = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(item) = take() {
            work(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for threads in [1, 2, 5] {
            let mut slots = vec![0u32; 1000];
            for_each(threads, slots.iter_mut().enumerate(), |(i, slot)| *slot += i as u32);
            assert!(slots.iter().zip(0..).all(|(&got, i)| got == i), "{threads} threads");
        }
    }

    #[test]
    fn little_work_stays_on_one_thread() {
        assert_eq!((threads_for(0), threads_for(BYTES_PER_THREAD)), (1, 1));
        assert!(threads_for(usize::MAX) >= 1);
    }
}
