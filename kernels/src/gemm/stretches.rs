//! Fold positions that are left out of some rows or columns.
//!
//! A position that is left out is not a zero: `fma(0, w, acc)` changes a −0, and 0 · ∞ is a NaN. So a tile goes over a leaf block in
//! stretches along which the same of its rows and columns take part, and what does not take part keeps what it had.

/// Fold positions from the end of the stretch before, or 0, over which these of a panel's rows (or columns) take part, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    pub(super) end: usize,
    pub(super) takes: u32,
}

/// The stretches of a packed block, panel by panel.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    all: Vec<Stretch>,
    /// How many of `all` each panel and those before it have.
    ends: Vec<usize>,
}

impl Stretches {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
    }

    /// The panel that is being packed goes on up to position `end`, where these take part.
    pub(super) fn push(&mut self, end: usize, takes: u32) {
        let first = self.ends.last().copied().unwrap_or(0);
        match self.all[first..].last_mut() {
            Some(last) if last.takes == takes => last.end = end,
            _ => self.all.push(Stretch { end, takes }),
        }
    }

    /// Ends a panel of which `whole` is everything.
    pub(super) fn end_panel(&mut self, whole: u32) {
        let first = self.ends.last().copied().unwrap_or(0);
        if self.all[first..].iter().all(|s| s.takes == whole) {
            self.all.truncate(first);
        }
        self.ends.push(self.all.len());
    }

    /// The stretches of a panel; none if nothing is left out of it.
    pub(super) fn panel(&self, i: usize) -> &[Stretch] {
        let Some(&end) = self.ends.get(i) else { return &[] };
        let first = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.all[first..end]
    }
}

/// One bit for each of `n` rows or columns.
pub(super) fn whole(n: usize) -> u32 {
    u32::MAX >> (32 - n)
}

/// The stretches of a tile of two panels: fold positions, and which rows and columns take part.
pub(super) fn of_tile(
    panels: [&[Stretch]; 2],
    depth: usize,
) -> impl Iterator<Item = (std::ops::Range<usize>, [u32; 2])> {
    let (mut left, mut from) = (panels, 0);
    std::iter::from_fn(move || {
        (from < depth).then(|| {
            let now = left.map(|p| p.first().copied().unwrap_or(Stretch { end: depth, takes: u32::MAX }));
            let end = now[0].end.min(now[1].end);
            left = left.map(|p| if p.first().is_some_and(|s| s.end == end) { &p[1..] } else { p });
            let positions = from..end;
            from = end;
            (positions, now.map(|s| s.takes))
        })
    })
}
