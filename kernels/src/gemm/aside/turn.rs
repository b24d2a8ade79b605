//! Columns that lie along the fold, turned by a tile: sixteen of them and four words of each at a time, for which it has registers left.

use std::ops::Range;

use super::super::{
    fetch::{LINE, line},
    pack::{Source, Starts, Word},
};

/// Columns of a panel: those of the micro-kernels with AVX-512.
const WIDTH: usize = 32;
/// Columns that are turned at a time,
const COLUMNS: usize = 16;
/// and words of each.
const WORDS: usize = 4;
/// Times that something is turned for a line of all columns: one after the other, for columns may be so far apart that few of their
/// lines are kept.
pub(in super::super) const TIMES: usize = LINE / WORDS * (WIDTH / COLUMNS);

/// Columns of a panel whose words lie one after the other.
pub(in super::super) struct Columns<'a> {
    bytes: &'a [u8],
    /// Byte at which each starts, and those that are fetched when it ends.
    now: [usize; WIDTH],
    next: [usize; WIDTH],
    /// Words of each.
    words: usize,
}

impl<'a> Columns<'a> {
    /// A full panel of `words` words; none if that is not what these are, or a tile cannot turn them.
    pub(in super::super) fn new(
        source: &Source<'a>,
        columns: &Range<usize>,
        depth: &Range<usize>,
        words: usize,
    ) -> Option<Self> {
        let Source { bytes, factor, at, shape } = *source;
        let words_are_there = source.is_plain() || (shape.word == Word::Quad(0) && !source.is_tested());
        let whole =
            columns.len() == WIDTH && words.is_multiple_of(LINE) && words * shape.word.positions() == depth.len();
        if !(shape.wide && words_are_there && whole && at.k.run(depth.start, depth.end) == depth.end) {
            return None;
        }
        let starts = Starts::new(at, columns, at.outer.len(), depth.clone());
        let [now, next] = starts.both().map(|starts| {
            let mut bytes = [0; WIDTH];
            bytes.iter_mut().zip(starts).for_each(|(b, start)| *b = start.wrapping_mul(factor.dtype.size()));
            bytes
        });
        let last = bytes.len().checked_sub(words * size_of::<u32>())?;
        assert!(now.iter().all(|&start| start <= last), "a column ends beyond its tensor");
        Some(Self { bytes, now, next, words })
    }

    /// Turns some of their words, whole lines, into those of a panel, during so many steps.
    pub(in super::super) fn turn<'b>(&'b self, words: Range<usize>, to: &'b mut [u32], steps: usize) -> Turn<'b> {
        assert!(to.len() == self.words * WIDTH && words.end <= self.words);
        let (time, end) = (words.start / LINE * TIMES, words.end / LINE * TIMES);
        let every = (steps / (end - time).max(1)).max(1);
        Turn { columns: self, to, time, end, every, wait: every }
    }
}

/// Lines of them that are turned, and where to.
pub(in super::super) struct Turn<'a> {
    columns: &'a Columns<'a>,
    /// The panel, a word of every column after the other.
    to: &'a mut [u32],
    /// What is turned next: [`TIMES`] for every line.
    time: usize,
    end: usize,
    /// Steps from one time to the next, and those until then.
    every: usize,
    wait: usize,
}

impl Turn<'_> {
    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.wait -= 1;
        if self.wait == 0 {
            self.wait = self.every;
            if self.time < self.end {
                self.some();
            }
        }
    }

    /// Turns what is left.
    pub(super) fn finish(&mut self) {
        while self.time < self.end {
            self.some();
        }
    }

    /// Turns four words of sixteen columns, and fetches what is going to be read and written at the same time of the next line.
    #[allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]
    #[inline(always)]
    fn some(&mut self) {
        let Columns { bytes, now, next, words } = self.columns;
        let (line_at, time) = (self.time / TIMES * LINE, self.time % TIMES);
        let (group, word) = (time / (LINE / WORDS), line_at + time % (LINE / WORDS) * WORDS);
        let to = self.to.as_mut_ptr().wrapping_add(word * WIDTH + group * COLUMNS);
        let later = line_at + LINE;
        let (starts, later) = if later < *words {
            (0..WORDS).for_each(|i| line(to.wrapping_add((LINE + i) * WIDTH)));
            (now, later * size_of::<u32>())
        } else {
            (next, 0)
        };
        for start in &starts.as_chunks::<{ WIDTH / TIMES }>().0[time] {
            line(bytes.as_ptr().wrapping_add(*start).wrapping_add(later));
        }
        let from = bytes.as_ptr().wrapping_add(word * size_of::<u32>());
        let starts = &now.as_chunks().0[group];
        // SAFETY: all columns have these words, and the panel has room for them, as was checked when `self` and its columns were made;
        // those are for micro-kernels with AVX-512, which are only made where that is.
        unsafe { turn(from, starts, to) };
        self.time += 1;
    }
}

/// Turns the four words at these bytes after `from` into four vectors, a row of the panel apart. In assembly, for of intrinsics a
/// compiler would make more vectors than there are registers beside a tile's accumulators.
///
/// # Safety
/// Those words are there, and so is room for the vectors, and AVX-512.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector loads and stores through pointers")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn turn(from: *const u8, starts: &[usize; COLUMNS], to: *mut u32) {
    const { assert!(WIDTH * size_of::<u32>() == 128) };
    // SAFETY: by the caller's promise.
    unsafe {
        std::arch::asm!(
            // Columns i, i + 4, i + 8 and i + 12 beside each other in vector i,
            "mov {t}, [{rows} + 0]", "vmovups {x:x}, [{from} + {t}]",
            "mov {t}, [{rows} + 8]", "vmovups {y:x}, [{from} + {t}]",
            "mov {t}, [{rows} + 16]", "vmovups {z:x}, [{from} + {t}]",
            "mov {t}, [{rows} + 24]", "vmovups {u:x}, [{from} + {t}]",
            "mov {t}, [{rows} + 32]", "vinsertf32x4 {x}, {x}, [{from} + {t}], 1",
            "mov {t}, [{rows} + 40]", "vinsertf32x4 {y}, {y}, [{from} + {t}], 1",
            "mov {t}, [{rows} + 48]", "vinsertf32x4 {z}, {z}, [{from} + {t}], 1",
            "mov {t}, [{rows} + 56]", "vinsertf32x4 {u}, {u}, [{from} + {t}], 1",
            "mov {t}, [{rows} + 64]", "vinsertf32x4 {x}, {x}, [{from} + {t}], 2",
            "mov {t}, [{rows} + 72]", "vinsertf32x4 {y}, {y}, [{from} + {t}], 2",
            "mov {t}, [{rows} + 80]", "vinsertf32x4 {z}, {z}, [{from} + {t}], 2",
            "mov {t}, [{rows} + 88]", "vinsertf32x4 {u}, {u}, [{from} + {t}], 2",
            "mov {t}, [{rows} + 96]", "vinsertf32x4 {x}, {x}, [{from} + {t}], 3",
            "mov {t}, [{rows} + 104]", "vinsertf32x4 {y}, {y}, [{from} + {t}], 3",
            "mov {t}, [{rows} + 112]", "vinsertf32x4 {z}, {z}, [{from} + {t}], 3",
            "mov {t}, [{rows} + 120]", "vinsertf32x4 {u}, {u}, [{from} + {t}], 3",
            // then a transposition within each quarter.
            "vunpcklps {v}, {x}, {y}", "vunpckhps {x}, {x}, {y}",
            "vunpcklps {y}, {z}, {u}", "vunpckhps {z}, {z}, {u}",
            "vunpcklpd {u}, {v}, {y}", "vmovups [{to}], {u}",
            "vunpckhpd {v}, {v}, {y}", "vmovups [{to} + 128], {v}",
            "vunpcklpd {y}, {x}, {z}", "vmovups [{to} + 256], {y}",
            "vunpckhpd {x}, {x}, {z}", "vmovups [{to} + 384], {x}",
            from = in(reg) from, rows = in(reg) starts, to = in(reg) to, t = out(reg) _,
            x = out(zmm_reg) _, y = out(zmm_reg) _, z = out(zmm_reg) _, u = out(zmm_reg) _, v = out(zmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "as where there are micro-kernels")]
unsafe fn turn(_: *const u8, _: &[usize; COLUMNS], _: *mut u32) {
    unreachable!("`Micro::new` gives no micro-kernel for this target");
}
