//! How many chunks of an operand one leaf block can touch: from the image of its address, not from a rule of thumb.
//!
//! The element index that block `b` reads at its `j`-th value is `start + image_b(j)`. `start` collects what is fixed in a
//! block: offset, domain, gathers, and where in the tensor the block lies. Blocks whose `image` is the same up to `start`
//! repeat, so few of them are looked at; `start` matters modulo a chunk only. Bounds tests can only take reads away.

use alloc::{vec, vec::Vec};

use super::{MAX_PATTERNS, depends_on_fold};
use crate::{
    eval::CHUNK_BYTES,
    program::{BLOCK, Node, Operand},
    types::{element_count, shape_text},
    validate::Rule,
};

/// The worst block of an operand.
pub(super) struct Worst {
    /// Chunks that it reads.
    pub(super) chunks: u64,
    /// Blocks that were looked at.
    pub(super) patterns: u64,
}

/// Most chunks of operand `i` that one leaf block reads.
pub(super) fn leaf_chunks(n: &Node, i: usize) -> Result<Worst, Rule> {
    let op = &n.operands[i];
    let length = n.fold_length();
    let per_chunk = CHUNK_BYTES / op.decl.dtype.size() as u64;
    let tensor_chunks = element_count(&op.decl.shape).unwrap_or(1).div_ceil(per_chunk);
    let at_most = |chunks: u64, patterns| Worst { chunks: chunks.min(tensor_chunks), patterns };
    if op.gathers.iter().any(|g| depends_on_fold(n, usize::from(g.operand))) {
        return Ok(at_most(length.min(BLOCK), 0));
    }
    if !depends_on_fold(n, i) {
        return Ok(at_most(1, 0));
    }
    let strides = Strides::new(n, op);
    let axes = merged(n.fold_factors(), &strides.fold);
    let inner: u64 = axes.iter().skip(1).map(|a| a.factor).product();
    let (period, blocks) = (inner / gcd(inner, BLOCK), length.div_ceil(BLOCK));
    let patterns = period.min(blocks);
    if patterns > MAX_PATTERNS {
        return Err(Rule::Patterns(shape_text(n.fold_factors())));
    }
    // Every start is the offset and a multiple of this. A period of blocks is a whole number of steps of the outermost axis.
    let steps = i128::from(period * BLOCK / inner);
    let outer = axes.first().map(|a| a.stride * steps).filter(|_| period < blocks);
    let step = (strides.starts.iter().copied().chain(outer))
        .fold(per_chunk, |g, s| gcd(g, (s.unsigned_abs() % u128::from(per_chunk)) as u64));
    let offset = strides.offset.rem_euclid(i128::from(per_chunk)) as u64;
    let mut odometer = Odometer::new(&axes);
    let mut count = Counter::new(per_chunk, offset % step, step);
    let mut chunks = 1;
    for block in 0..patterns {
        let values = length.min((block + 1) * BLOCK) - block * BLOCK;
        let image = (0..values).map(|_| odometer.next()).collect();
        chunks = chunks.max(count.worst(image));
    }
    Ok(at_most(chunks, patterns))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How the element index of an operand moves. Coordinates stay in `i64`, as the validator proves, and there are at most 2^40
/// elements, so nothing here leaves `i128`.
struct Strides {
    /// By every fold factor.
    fold: Vec<i128>,
    /// By everything that is fixed in a block: domain and gathers.
    starts: Vec<i128>,
    /// The constant part.
    offset: i128,
}

impl Strides {
    fn new(n: &Node, op: &Operand) -> Self {
        let (ro, rk) = (n.domain.len(), n.fold_factors().len());
        let mut out = Self { fold: vec![0; rk], starts: vec![0; ro], offset: 0 };
        let mut stride = 1i128;
        for (dim, row) in op.access.chunks_exact(1 + ro + rk).enumerate().rev() {
            let (o, k) = row[1..].split_at(ro);
            out.offset += stride * i128::from(row[0]);
            out.starts.iter_mut().zip(o).for_each(|(s, &c)| *s += stride * i128::from(c));
            out.fold.iter_mut().zip(k).for_each(|(s, &c)| *s += stride * i128::from(c));
            let here = op.gathers.iter().filter(|g| usize::from(g.dim) == dim);
            out.starts.extend(here.map(|g| stride * i128::from(g.stride)));
            stride *= i128::from(op.view[dim]);
        }
        // A coordinate that is always 0 moves nothing.
        out.starts.iter_mut().zip(&n.domain).filter(|(_, d)| **d == 1).for_each(|(s, _)| *s = 0);
        out
    }
}

/// A fold factor and how far one step of it moves the element index.
#[derive(Clone, Copy)]
struct Axis {
    factor: u64,
    stride: i128,
}

/// The fold with factors of 1 dropped and factors joined that move as one: what is contiguous has no inner factor.
fn merged(factors: &[u32], strides: &[i128]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::new();
    for (&factor, &stride) in factors.iter().zip(strides).filter(|(f, _)| **f > 1) {
        let factor = u64::from(factor);
        match axes.last_mut() {
            Some(last) if last.stride == stride * i128::from(factor) => {
                *last = Axis { factor: last.factor * factor, stride };
            }
            _ => axes.push(Axis { factor, stride }),
        }
    }
    axes
}

/// Walks `k` in order.
struct Odometer<'a> {
    axes: &'a [Axis],
    at: Vec<u64>,
    index: i128,
}

impl<'a> Odometer<'a> {
    fn new(axes: &'a [Axis]) -> Self {
        Self { axes, at: vec![0; axes.len()], index: 0 }
    }

    /// The element index here; then one step.
    fn next(&mut self) -> i128 {
        let here = self.index;
        for (at, axis) in self.at.iter_mut().zip(self.axes).rev() {
            *at += 1;
            self.index += axis.stride;
            if *at < axis.factor {
                break;
            }
            self.index -= axis.stride * i128::from(axis.factor);
            *at = 0;
        }
        here
    }
}

/// Counts the chunks that an image touches, for every start at once.
struct Counter {
    per_chunk: u64,
    first: usize,
    step: usize,
    /// Change in the number of chunk borders between neighbours of the image, from one start to the next.
    changes: Vec<i64>,
}

impl Counter {
    fn new(per_chunk: u64, first: u64, step: u64) -> Self {
        Self { per_chunk, first: first as usize, step: step as usize, changes: vec![0; per_chunk as usize + 1] }
    }

    fn worst(&mut self, mut image: Vec<i128>) -> u64 {
        image.sort_unstable();
        image.dedup();
        let size = self.per_chunk as usize;
        let mut always = 1;
        self.changes.fill(0);
        for pair in image.windows(2) {
            let gap = pair[1] - pair[0];
            if gap >= i128::from(self.per_chunk) {
                always += 1;
                continue;
            }
            // A border lies between them for the starts that put the second one on the first `gap` places of a chunk.
            let from = (-pair[1]).rem_euclid(i128::from(self.per_chunk)) as usize;
            let to = from + gap as usize;
            self.changes[from] += 1;
            self.changes[to.min(size)] -= 1;
            if to > size {
                self.changes[0] += 1;
                self.changes[to - size] -= 1;
            }
        }
        let mut borders = 0;
        let mut most = 0;
        for (start, change) in self.changes[..size].iter().enumerate() {
            borders += change;
            if start % self.step == self.first {
                most = most.max(borders);
            }
        }
        always + most as u64
    }
}
