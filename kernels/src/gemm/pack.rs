//! Factors copied into the order in which the micro-kernel reads them.

use crate::{
    access::affine,
    memory::{Read, with_elements},
};

use super::pattern::Factor;

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
#[derive(Default)]
pub(super) struct Packed {
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
        self.values.resize(outer.1.div_ceil(width) * width * k.1, 0.0);
        let panels = Panels { values: &mut self.values, outer: &self.outer, k: &self.k, width };
        with_elements(source.factor.dtype, source.bytes, panels);
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

impl Read for Panels<'_> {
    fn run<const N: usize>(self, items: &[[u8; N]], widen: impl Fn([u8; N]) -> u32) {
        let get = |x: [u8; N]| f32::from_bits(widen(x));
        let deep = is_run(self.k);
        let panels = self.values.chunks_exact_mut(self.width * self.k.len());
        for (panel, outer) in panels.zip(self.outer.chunks(self.width)) {
            if outer.len() < self.width {
                panel.fill(0.0);
            }
            if is_run(outer) {
                for (slots, &k) in panel.chunks_exact_mut(self.width).zip(self.k) {
                    let row = &items[(outer[0] + k) as usize..][..outer.len()];
                    slots.iter_mut().zip(row).for_each(|(s, &x)| *s = get(x));
                }
            } else if deep {
                for (i, &o) in outer.iter().enumerate() {
                    let row = &items[(o + self.k[0]) as usize..][..self.k.len()];
                    let slots = panel[i..].iter_mut().step_by(self.width);
                    slots.zip(row).for_each(|(s, &x)| *s = get(x));
                }
            } else {
                for (slots, &k) in panel.chunks_exact_mut(self.width).zip(self.k) {
                    slots.iter_mut().zip(outer).for_each(|(s, &o)| *s = get(items[(o + k) as usize]));
                }
            }
        }
    }
}
