//! A panel of `B`, packed a piece at a time, after every tile of the one before or during them.

use std::ops::Range;

use super::{
    aside::{Ahead, Aside, Columns, Rows, TIMES},
    fetch,
    micro::{AT_ONCE, Micro},
    pack::{Packed, Source},
};

/// Words of a piece: a line of every column, where they lie deep.
const PIECE: usize = fetch::LINE;

/// Who packs.
#[allow(clippy::large_enum_variant, reason = "one for every panel")]
enum By<'a> {
    /// Tiles, that copy rows of neighbouring columns.
    Copying,
    /// Tiles, that turn columns that lie along the fold.
    Turning(Columns<'a>),
    /// Nobody, while there is a tile, but what is going to be packed is fetched.
    Fetching,
}

/// What is left of a panel.
pub(super) struct Pieces<'a> {
    source: Source<'a>,
    columns: Range<usize>,
    /// What is left of the fold positions.
    depth: Range<usize>,
    /// Fold positions of a piece.
    each: usize,
    /// Words that are packed.
    done: usize,
    /// Words of every column, in all.
    words: usize,
    by: By<'a>,
    micro: Micro,
}

impl<'a> Pieces<'a> {
    /// So many at the most, of a panel's fold positions and columns.
    pub(super) fn new(
        source: Source<'a>,
        (depth, columns): (Range<usize>, Range<usize>),
        pieces: usize,
        micro: Micro,
        panel: &mut Packed,
    ) -> Self {
        let words = micro.words(depth.len());
        panel.start(micro.nr * words);
        let each = if source.is_tested() { words } else { words.div_ceil(pieces).next_multiple_of(PIECE) };
        let beside = source.at.outer.run(columns.start, columns.end) == columns.end && columns.len() == micro.nr;
        let by = if pieces > 1 && beside && source.is_plain() {
            By::Copying
        } else if each / PIECE * TIMES <= words / AT_ONCE {
            Columns::new(&source, &columns, &depth, words).map_or(By::Fetching, By::Turning)
        } else {
            By::Fetching
        };
        Self { source, columns, depth, each: each * micro.left().positions(), done: 0, words, by, micro }
    }

    /// The fold positions of the next one.
    fn positions(&self) -> Range<usize> {
        self.depth.start..self.depth.end.min(self.depth.start + self.each)
    }

    /// What a tile does for the next one.
    pub(super) fn aside<'b>(&'b mut self, panel: &'b mut Packed) -> Aside<'b> {
        if matches!(self.by, By::Fetching) {
            return Aside::Fetch(self.ahead(panel));
        }
        let (first, depth) = (self.done / self.micro.nr, self.take());
        let words = first..self.done / self.micro.nr;
        let to = panel.room(self.micro.nr * self.words);
        let Source { bytes, at, .. } = self.source;
        if let By::Turning(columns) = &self.by {
            return Aside::Turn(columns.turn(words, to, self.words / AT_ONCE));
        }
        Aside::Copy(Rows {
            items: bytes.as_chunks().0,
            first: at.outer[self.columns.start],
            k: &at.k[depth.start - first..self.depth.end],
            at: words.start,
            end: words.end,
            to,
        })
    }

    /// What the next one is packed from, and what into.
    fn ahead(&self, panel: &Packed) -> Ahead<'a> {
        let (Source { bytes, factor, at, .. }, depth) = (self.source, self.positions());
        if depth.is_empty() || self.source.is_tested() {
            return Ahead::NOTHING;
        }
        let size = factor.dtype.size();
        let from = |offset: i64| bytes.as_ptr().wrapping_add((offset as usize).wrapping_mul(size));
        let to = panel.slots(self.done);
        let Range { start, end } = self.columns;
        if at.outer.run(start, end) == end {
            let (from, span) = (from(at.outer[start]), (end - start) * size);
            Ahead { from, offsets: &at.k[depth], size, span, to, words: self.micro.nr }
        } else {
            let (from, span, words) = (from(at.k[depth.start]), depth.len() * size, self.micro.words(depth.len()));
            Ahead { from, offsets: &at.outer[start..end], size, span, to, words }
        }
    }

    /// Packs the next one, if there is one left and no tile does.
    pub(super) fn pack(&mut self, panel: &mut Packed) {
        if !matches!(self.by, By::Fetching) || self.depth.is_empty() {
            return;
        }
        let first = self.done;
        let depth = self.take();
        panel.fill_part(&self.source, self.columns.clone(), depth, first..self.done);
    }

    /// Takes the next one away: its fold positions.
    fn take(&mut self) -> Range<usize> {
        let depth = self.positions();
        self.depth.start = depth.end;
        self.done += self.micro.nr * self.micro.words(depth.len());
        depth
    }
}
