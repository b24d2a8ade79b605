//! Micro-kernels: one tile of the output over one leaf block of the fold, all accumulators in registers.

use crate::Isa;

use super::{
    aside::Aside,
    pack::{Shape, Word},
    pattern::Kind,
    stretches::{Stretch, of_tile, whole},
};

/// How a tile is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no micro-kernel to choose"))]
enum Code {
    Float6x16,
    Float12x32,
    Pairs6x16,
    Pairs12x32,
    Quads12x32,
}

/// Which micro-kernel, and the size of its tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micro {
    code: Code,
    pub(super) mr: usize,
    pub(super) nr: usize,
}

/// What happens to a tile.
pub(super) struct Tile<'a> {
    /// What every accumulator starts from.
    pub(super) init: u32,
    /// They start from what is there instead.
    pub(super) resume: bool,
    /// Whether it is added to what is there, or overwrites it.
    pub(super) add: bool,
    /// Whether NaNs become canonical.
    pub(super) canonical: bool,
    /// Elements from one row of the output to the next.
    pub(super) stride: usize,
    /// What [`Micro::excess`] says of the panel of `B`.
    pub(super) excess: &'a Excess,
}

/// What the left factor's offset adds to each column of a tile, taken off what its accumulators start from.
pub(super) type Excess = [i32; 32];

/// Largest tile of any micro-kernel.
const MAX_TILE: usize = 12 * 32;

impl Micro {
    /// The micro-kernel for such products with these instructions, if there is one.
    pub(crate) fn new(isa: Isa, kind: Kind) -> Option<Self> {
        let code = match (isa, kind) {
            (Isa::Portable, _) => return None,
            (Isa::Avx2, Kind::Float) => Code::Float6x16,
            (Isa::Avx2, Kind::Bytes) => Code::Pairs6x16,
            (Isa::Avx512, Kind::Float) => Code::Float12x32,
            (Isa::Avx512, Kind::Bytes) if has_vnni() => Code::Quads12x32,
            (Isa::Avx512, Kind::Bytes) => Code::Pairs12x32,
        };
        let (mr, nr) = if isa == Isa::Avx2 { (6, 16) } else { (12, 32) };
        Some(Self { code, mr, nr })
    }

    /// The panels of `A`, and those of `B`.
    pub(super) fn shapes(self) -> [Shape; 2] {
        let wide = !matches!(self.code, Code::Float6x16 | Code::Pairs6x16);
        [(self.mr, self.left()), (self.nr, self.right())].map(|(width, word)| Shape { width, word, wide })
    }

    /// What a word of a panel of `A` holds.
    pub(super) fn left(self) -> Word {
        match self.code {
            Code::Float6x16 | Code::Float12x32 => Word::Float,
            Code::Pairs6x16 | Code::Pairs12x32 => Word::Pair,
            // The instruction takes unsigned bytes on this side: `x + 128`.
            Code::Quads12x32 => Word::Quad(0x80),
        }
    }

    /// What a word of a panel of `B` holds.
    fn right(self) -> Word {
        if self.code == Code::Quads12x32 { Word::Quad(0) } else { self.left() }
    }

    /// Words of a panel's row or column for so many fold positions.
    pub(super) fn words(self, positions: usize) -> usize {
        positions.div_ceil(self.left().positions())
    }

    /// What a panel of `B` gets too much of, where the instruction multiplies `x + 128`: the same for all panels of `A`.
    pub(super) fn excess(self, b: &[u32]) -> Excess {
        #[cfg(target_arch = "x86_64")]
        if self.code == Code::Quads12x32 {
            #[allow(unsafe_code, reason = "instructions that were found to be there")]
            // SAFETY: a `Micro` is only made where its instructions are.
            return unsafe { bytes::excess(b.as_chunks().0) };
        }
        [0; 32]
    }

    /// Multiplies a panel of `A` with one of `B`, in their stretches, and leaves the `size.0 × size.1` corner of the tile at the start of `c`.
    pub(super) fn run(
        self,
        [a, b]: [&[u32]; 2],
        stretches: [&[Stretch]; 2],
        c: &mut [u8],
        size: (usize, usize),
        tile: &Tile<'_>,
        aside: &mut Aside<'_>,
    ) {
        let c = c.as_chunks_mut::<4>().0;
        if stretches == [&[], &[]] && self.takes(size) {
            return self.tile([a, b], c, size, tile, aside);
        }
        self.part([a, b], stretches, c, size, tile, aside);
    }

    /// Whether there is a micro-kernel for this corner of a tile.
    fn takes(self, size: (usize, usize)) -> bool {
        match self.code {
            Code::Float12x32 => true,
            Code::Float6x16 => size.1 == self.nr,
            Code::Pairs6x16 | Code::Pairs12x32 | Code::Quads12x32 => size == (self.mr, self.nr),
        }
    }

    fn full(self, panels: [&[u32]; 2], c: &mut [[u8; 4]], tile: &Tile<'_>, aside: &mut Aside<'_>) {
        self.tile(panels, c, (self.mr, self.nr), tile, aside);
    }

    /// A corner without a micro-kernel, or a tile of which something is left out, by way of a buffer.
    #[cold]
    fn part(
        self,
        panels: [&[u32]; 2],
        stretches: [&[Stretch]; 2],
        c: &mut [[u8; 4]],
        size: (usize, usize),
        tile: &Tile<'_>,
        aside: &mut Aside<'_>,
    ) {
        let mut buffer = [tile.init.to_le_bytes(); MAX_TILE];
        self.stretches(panels, stretches, &mut buffer, tile, aside);
        let float = self.left() == Word::Float;
        let sum = |x: u32, y: u32| {
            if float { (f32::from_bits(x) + f32::from_bits(y)).to_bits() } else { x.wrapping_add(y) }
        };
        for (row, values) in c.chunks_mut(tile.stride).zip(buffer.chunks(self.nr)).take(size.0) {
            for (slot, &value) in row.iter_mut().zip(values).take(size.1) {
                let value = u32::from_le_bytes(value);
                let bits = if tile.add { sum(u32::from_le_bytes(*slot), value) } else { value };
                let bits = if float && tile.canonical { lockstep_ir::number::canonical(bits) } else { bits };
                *slot = bits.to_le_bytes();
            }
        }
    }

    /// A tile, stretch by stretch, from accumulators that hold `init` already.
    fn stretches(
        self,
        [a, b]: [&[u32]; 2],
        stretches: [&[Stretch]; 2],
        acc: &mut [[u8; 4]; MAX_TILE],
        tile: &Tile<'_>,
        aside: &mut Aside<'_>,
    ) {
        let tile = Tile { add: false, canonical: false, stride: self.nr, ..*tile };
        if stretches == [&[], &[]] {
            return self.full([a, b], acc, &tile, aside);
        }
        let tile = Tile { resume: true, ..tile };
        for (at, [rows, columns]) in of_tile(stretches, a.len() / self.mr) {
            let panels = [&a[at.start * self.mr..at.end * self.mr], &b[at.start * self.nr..at.end * self.nr]];
            let some = rows & whole(self.mr) != whole(self.mr) || columns & whole(self.nr) != whole(self.nr);
            if rows == 0 || columns == 0 {
                continue;
            }
            let before = some.then_some(*acc);
            self.full(panels, acc, &tile, aside);
            let Some(before) = before else { continue };
            for (i, (row, before)) in acc.chunks_mut(self.nr).zip(before.chunks(self.nr)).enumerate().take(self.mr) {
                if rows >> i & 1 == 0 {
                    row.copy_from_slice(before);
                } else if columns & whole(self.nr) != whole(self.nr) {
                    let kept = row.iter_mut().zip(before).enumerate().filter(|(j, _)| columns >> j & 1 == 0);
                    kept.for_each(|(_, (slot, &value))| *slot = value);
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "vector loads and stores through pointers, bounds checked before")]
    fn tile(
        self,
        [a, b]: [&[u32]; 2],
        c: &mut [[u8; 4]],
        size: (usize, usize),
        tile: &Tile<'_>,
        aside: &mut Aside<'_>,
    ) {
        let (words, (rows, columns)) = (a.len() / self.mr, size);
        assert!(a.len() == words * self.mr && b.len() == words * self.nr);
        assert!((1..=self.mr).contains(&rows) && (1..=self.nr).contains(&columns) && self.takes(size));
        assert!(tile.stride >= columns && c.len() >= (rows - 1) * tile.stride + columns);
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        // SAFETY: the panels hold so many words, `c` holds the corner, for which there is a micro-kernel (all checked above), and a
        // `Micro` is only made where its instructions are. Loads and stores need no alignment.
        unsafe {
            match self.code {
                Code::Float6x16 => floats::TILES_6X16[rows - 1](words, a.cast(), b.cast(), c.cast(), tile, aside),
                Code::Float12x32 => {
                    floats::TILES_12X32[rows - 1](words, a.cast(), b.cast(), c.cast(), columns, tile, aside);
                }
                Code::Pairs6x16 => bytes::pairs_6x16(words, a.cast(), b.cast(), c.cast(), tile, aside),
                Code::Pairs12x32 => bytes::pairs_12x32(words, a.cast(), b.cast(), c.cast(), tile, aside),
                Code::Quads12x32 => bytes::quads_12x32(words, a.cast(), b.cast(), c.cast(), tile, aside),
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn tile(self, _: [&[u32]; 2], _: &mut [[u8; 4]], _: (usize, usize), _: &Tile, _: &mut Aside<'_>) {
        unreachable!("`Micro::new` gives no micro-kernel for this target");
    }
}

#[cfg(target_arch = "x86_64")]
fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_vnni() -> bool {
    false
}

/// Words of the panels between two bits of what is done beside a tile.
pub(super) const AT_ONCE: usize = 8;

/// What is done while a tile is computed.
#[cfg(target_arch = "x86_64")]
struct Beside<'a, 'b> {
    /// The next of the tile's own rows in the output: there when the accumulators are done.
    c: *const u32,
    rows: usize,
    columns: usize,
    stride: usize,
    aside: &'a mut Aside<'b>,
}

#[cfg(target_arch = "x86_64")]
impl<'a, 'b> Beside<'a, 'b> {
    #[inline(always)]
    fn new<T>(c: *const T, rows: usize, columns: usize, tile: &Tile<'_>, aside: &'a mut Aside<'b>) -> Self {
        Self { c: c.cast(), rows, columns, stride: tile.stride, aside }
    }

    /// Does something so many times, and a bit of the rest after each so many; panels of `B` have `W` columns.
    #[inline(always)]
    fn during<const W: usize>(mut self, times: usize, each: usize, mut work: impl FnMut()) {
        let mut left = times;
        while left > 0 {
            // As many as there are: of a number that it knows, a compiler would load everything first, and keep it in memory.
            let now = left.min(each);
            (0..now).for_each(|_| work());
            self.step::<W>();
            left -= now;
        }
    }

    #[inline(always)]
    fn step<const W: usize>(&mut self) {
        self.aside.step::<W>();
        if self.rows > 0 {
            super::fetch::words(self.c, self.columns);
            self.c = self.c.wrapping_add(self.stride);
            self.rows -= 1;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod bytes;
#[cfg(target_arch = "x86_64")]
mod floats;
