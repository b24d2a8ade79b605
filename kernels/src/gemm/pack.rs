//! Factors copied into the order in which the micro-kernel reads them.

use lockstep_ir::DType;

use crate::{
    access::affine,
    memory::{Read, with_elements},
};

use super::{
    pattern::Factor,
    transpose::{self, SLACK},
};

/// One factor of one product of the batch.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
    factor: &'a Factor,
    base: i64,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8], factor: &'a Factor, batch: i64) -> Self {
        Self { bytes, factor, base: factor.base + batch }
    }
}

/// Panels of `width` rows (or columns): for each fold position, `width` values. What is missing in the last panel is 0.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    values: Vec<f32>,
    outer: Vec<i64>,
    k: Vec<i64>,
}

impl Packed {
    /// Packs `outer` = (first, count) rows by `k` = (first, count) fold positions.
    pub(super) fn fill(
        &mut self,
        source: &Source<'_>,
        outer_sizes: &[u64],
        outer: (u64, usize),
        k_sizes: &[u64],
        k: (u64, usize),
        width: usize,
    ) {
        self.outer.resize(outer.1, 0);
        affine(outer_sizes, &source.factor.outer, source.base, outer.0, &mut self.outer);
        self.k.resize(k.1, 0);
        affine(k_sizes, &source.factor.k, 0, k.0, &mut self.k);
        let size = outer.1.div_ceil(width) * width * k.1 + SLACK;
        if self.values.len() < size {
            self.values.resize(size, 0.0);
        }
        let panels = Panels { values: &mut self.values[..size], outer: &self.outer, k: &self.k, width };
        if source.factor.dtype == DType::F32 {
            panels.floats(source.bytes.as_chunks::<4>().0);
        } else {
            with_elements(source.factor.dtype, source.bytes, panels);
        }
    }

    pub(super) fn panels(&self, size: usize) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(size)
    }
}

struct Panels<'a> {
    values: &'a mut [f32],
    outer: &'a [i64],
    k: &'a [i64],
    width: usize,
}

fn is_run(offsets: &[i64]) -> bool {
    offsets.windows(2).all(|w| w[1] - w[0] == 1)
}

impl Panels<'_> {
    /// Packs a tensor of `f32`: full panels whose rows or columns are contiguous the fast way.
    fn floats(self, items: &[[u8; 4]]) {
        let (size, deep) = (self.width * self.k.len(), is_run(self.k));
        let mut starts = Vec::with_capacity(self.width);
        for (i, outer) in self.outer.chunks(self.width).enumerate() {
            let panel = &mut self.values[i * size..];
            let full = outer.len() == self.width;
            if full && is_run(outer) {
                match self.width {
                    6 => columns::<6>(items, outer[0], self.k, panel),
                    12 => columns::<12>(items, outer[0], self.k, panel),
                    16 => columns::<16>(items, outer[0], self.k, panel),
                    _ => columns::<32>(items, outer[0], self.k, panel),
                }
            } else if full && deep {
                starts.clear();
                starts.extend(outer.iter().map(|&o| (o + self.k[0]) as usize));
                transpose::panel(items, &starts, self.k.len(), &mut panel[..size + SLACK]);
            } else {
                one_panel(items, f32::from_le_bytes, outer, self.k, self.width, &mut panel[..size]);
            }
        }
    }
}

/// Copies `W` neighbouring values per fold position.
fn columns<const W: usize>(items: &[[u8; 4]], first: i64, k: &[i64], panel: &mut [f32]) {
    for (slots, &k) in panel.as_chunks_mut::<W>().0.iter_mut().zip(k) {
        if let Some(row) = items[(first + k) as usize..].first_chunk::<W>() {
            *slots = row.map(f32::from_le_bytes);
        }
    }
}

impl Read for Panels<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let panels = self.values.chunks_exact_mut(self.width * self.k.len());
        for (panel, outer) in panels.zip(self.outer.chunks(self.width)) {
            one_panel(items, |x| f32::from_bits(widen(x)), outer, self.k, self.width, panel);
        }
    }
}

/// Packs a panel of any layout, type and number of rows.
fn one_panel<const N: usize>(
    items: &[[u8; N]],
    get: impl Fn([u8; N]) -> f32,
    outer: &[i64],
    k: &[i64],
    width: usize,
    panel: &mut [f32],
) {
    if outer.len() < width {
        panel.fill(0.0);
    }
    for (slots, &k) in panel.chunks_exact_mut(width).zip(k) {
        slots.iter_mut().zip(outer).for_each(|(s, &o)| *s = get(items[(o + k) as usize]));
    }
}
