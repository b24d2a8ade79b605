//! What a tile does aside, a little every few positions: all at once it would keep the lines of its panels waiting.

mod turn;

use super::fetch::{LINE, line, words};
use turn::Turn;
pub(super) use turn::{Columns, TIMES};

/// Rows that are copied, columns that are turned, or lines that are fetched, while a tile is computed.
pub(super) enum Aside<'a> {
    Copy(Rows<'a>),
    Turn(Turn<'a>),
    Fetch(Ahead<'a>),
}

impl Aside<'_> {
    /// Does the next bit of it, of rows of `W` words.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no micro-kernel"))]
    #[inline(always)]
    pub(super) fn step<const W: usize>(&mut self) {
        match self {
            Self::Copy(rows) => rows.step::<W>(),
            // Others have no registers left.
            Self::Turn(turn) if W == 32 => turn.step(),
            Self::Turn(_) => {}
            Self::Fetch(ahead) => ahead.step(),
        }
    }

    /// Does what there was no time for, of panels of `width` columns.
    pub(super) fn finish(self, width: usize) {
        match self {
            Self::Copy(mut rows) => {
                while rows.at < rows.end {
                    if width == 16 { rows.step::<16>() } else { rows.step::<32>() }
                }
            }
            Self::Turn(mut turn) => turn.finish(),
            Self::Fetch(_) => {}
        }
    }
}

/// Fold positions of a panel of neighbouring columns.
pub(super) struct Rows<'a> {
    pub(super) items: &'a [[u8; 4]],
    /// Element index of the first column at fold position 0.
    pub(super) first: i64,
    /// What each fold position of the panel adds.
    pub(super) k: &'a [i64],
    /// Those that are to be copied.
    pub(super) at: usize,
    pub(super) end: usize,
    /// The whole panel.
    pub(super) to: &'a mut [u32],
}

/// Rows that are fetched before they are copied: each lies in a page of its own, where the hardware sees no stream.
const AHEAD: usize = 16;

impl Rows<'_> {
    #[inline(always)]
    fn step<const W: usize>(&mut self) {
        if self.at == self.end {
            return;
        }
        put(&mut self.to.as_chunks_mut::<W>().0[self.at], self.items, self.first.wrapping_add(self.k[self.at]));
        // After the last row come the first ones of the next panel.
        let ahead = self.at + AHEAD;
        let next = match self.k.get(ahead) {
            Some(k) => self.first.wrapping_add(*k),
            None => self.first.wrapping_add(W as i64).wrapping_add(self.k[(ahead - self.k.len()).min(self.at)]),
        };
        words(self.items.as_ptr().wrapping_add(next as usize).cast(), W);
        self.at += 1;
    }
}

/// Copies neighbouring values as a whole, where a compiler would move word after word.
#[allow(unsafe_code, reason = "words as the bytes that they are")]
#[inline(always)]
pub(super) fn put<const W: usize>(to: &mut [u32; W], items: &[[u8; 4]], at: i64) {
    let from = &items[at as usize..].as_chunks::<W>().0[0];
    if cfg!(target_endian = "little") {
        // SAFETY: words have as many bytes, any of which make one.
        let bytes: &mut [[u8; 4]; W] = unsafe { &mut *std::ptr::from_mut(to).cast() };
        *bytes = *from;
    } else {
        *to = from.map(u32::from_le_bytes);
    }
}

/// Lines that are going to be read, from places of one stride or of none, and lines that are going to be written, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// Bytes that are read.
    pub(super) from: *const u8,
    /// Where in them, in elements of so many bytes.
    pub(super) offsets: &'a [i64],
    pub(super) size: usize,
    /// Bytes that are read at each, 1 at least.
    pub(super) span: usize,
    /// Where words are written.
    pub(super) to: *const u32,
    /// Words that are written for each.
    pub(super) words: usize,
}

impl Ahead<'_> {
    pub(super) const NOTHING: Self =
        Self { from: std::ptr::null(), offsets: &[], size: 1, span: 1, to: std::ptr::null(), words: 0 };

    /// Fetches those of the next place, three lines of what is read at the most.
    #[inline(always)]
    fn step(&mut self) {
        let Some((&first, rest)) = self.offsets.split_first() else { return };
        let at = self.from.wrapping_add((first as usize).wrapping_mul(self.size));
        line(at);
        line(at.wrapping_add(self.span.min(4 * LINE)));
        line(at.wrapping_add(self.span - 1));
        line(self.to);
        line(self.to.wrapping_add(self.words / 2));
        self.to = self.to.wrapping_add(self.words);
        self.offsets = rest;
    }
}
