//! What judging the worst unit of a node takes: chunks of operands, and gas of the referee (docs/protocol.md, section 2.3).

use alloc::{collections::BTreeSet, vec::Vec};

use crate::{
    eval::CHUNK_BYTES,
    program::{BLOCK, Node, Operand},
    scalar::{Instr, Op},
    types::{coordinates, element_count, shape_text},
    validate::Rule,
};

/// Most distinct (operand, chunk) pairs that a unit may read.
pub const MAX_CHUNKS: u64 = 16;
/// Most gas of one application of `body` or `combine`.
pub const MAX_BODY_GAS: u64 = 3_000;
/// Most different block patterns of one fold that are enumerated.
const MAX_PATTERNS: u64 = 4_096;

/// Worst case of judging a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Chunks read by the unit that reads most.
    pub chunks: u64,
    /// Gas of the dearest unit's scalar work; proofs and calldata come on top.
    pub gas: u64,
}

/// Whether the address of operand `i`, without its gathers, depends on the fold position.
#[must_use]
pub fn depends_on_fold(n: &Node, i: usize) -> bool {
    let (ro, rk) = (n.domain.len(), n.fold_factors().len());
    n.operands[i].access.chunks_exact(1 + ro + rk).any(|row| row[1 + ro..].iter().any(|&c| c != 0))
}

/// Operands a scalar program reads, with those it gathers through.
fn read_by(n: &Node, code: &[Instr]) -> BTreeSet<usize> {
    let mut read = BTreeSet::new();
    for instr in code {
        if let Instr::Op { op: Op::Load, a, .. } = *instr {
            read.insert(usize::from(a));
            read.extend(n.operands[usize::from(a)].gathers.iter().map(|g| usize::from(g.operand)));
        }
    }
    read
}

fn gas(code: &[Instr]) -> u64 {
    code.iter().map(|i| i.gas()).sum()
}

/// Worst case over all units of a node whose types and addresses are right.
///
/// # Errors
/// The node is not judgeable.
pub fn cost(n: &Node) -> Result<Cost, Rule> {
    let finish = read_by(n, &n.finish);
    let finish_gas = gas(&n.finish);
    let Some(fold) = &n.fold else {
        return within(Cost { chunks: finish.len() as u64, gas: finish_gas });
    };
    let (body_gas, combine_gas) = (gas(&fold.body), gas(&fold.combine));
    for (program, got) in [("body", body_gas), ("combine", combine_gas)] {
        if got > MAX_BODY_GAS {
            return Err(Rule::Gas { program, got });
        }
    }
    // A skipping operand is located for every k, whether or not the body loads it.
    let mut body = read_by(n, &fold.body);
    body.extend((0..n.operands.len()).filter(|&i| n.operands[i].skip));
    let mut leaf = 0;
    for &i in &body {
        leaf += leaf_chunks(n, i)?;
    }
    let length = n.fold_length();
    let leaf_gas = length.min(BLOCK) * body_gas + 15 * combine_gas;
    let top_gas = length.div_ceil(BLOCK).min(BLOCK) * combine_gas + finish_gas;
    if length <= BLOCK {
        // One unit does both; what the body read already is not read again.
        let more = finish.difference(&body).count() as u64;
        within(Cost { chunks: leaf + more, gas: leaf_gas + finish_gas })
    } else {
        within(Cost { chunks: leaf.max(finish.len() as u64), gas: leaf_gas.max(top_gas) })
    }
}

fn within(cost: Cost) -> Result<Cost, Rule> {
    if cost.chunks > MAX_CHUNKS { Err(Rule::Chunks { got: cost.chunks }) } else { Ok(cost) }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Element strides of an operand: per domain coordinate, per fold factor, per gather.
struct Strides {
    domain: Vec<i128>,
    fold: Vec<i128>,
    gathers: Vec<i128>,
}

fn strides(n: &Node, op: &Operand) -> Strides {
    let (ro, rk) = (n.domain.len(), n.fold_factors().len());
    let mut out = Strides { domain: alloc::vec![0; ro], fold: alloc::vec![0; rk], gathers: Vec::new() };
    let mut stride = 1i128;
    for (dim, row) in op.access.chunks_exact(1 + ro + rk).enumerate().rev() {
        let (o, k) = row[1..].split_at(ro);
        out.domain.iter_mut().zip(o).for_each(|(s, &c)| *s += stride * i128::from(c));
        out.fold.iter_mut().zip(k).for_each(|(s, &c)| *s += stride * i128::from(c));
        let here = op.gathers.iter().filter(|g| usize::from(g.dim) == dim);
        out.gathers.extend(here.map(|g| stride * i128::from(g.stride)));
        stride *= i128::from(op.view[dim]);
    }
    out
}

/// Most chunks of operand `i` that one leaf block reads, from the image of its address over the block; bounds tests can only
/// take reads away.
fn leaf_chunks(n: &Node, i: usize) -> Result<u64, Rule> {
    let op = &n.operands[i];
    let length = n.fold_length();
    let per_chunk = CHUNK_BYTES / op.decl.dtype.size() as u64;
    let tensor_chunks = element_count(&op.decl.shape).unwrap_or(1).div_ceil(per_chunk);
    if op.gathers.iter().any(|g| depends_on_fold(n, usize::from(g.operand))) {
        return Ok(length.min(BLOCK).min(tensor_chunks));
    }
    if !depends_on_fold(n, i) {
        return Ok(1);
    }
    let s = strides(n, op);
    let factors = n.fold_factors();
    let inner: u64 = factors[1..].iter().map(|&f| u64::from(f)).product();
    let period = (inner / gcd(inner, BLOCK)).max(1);
    let blocks = length.div_ceil(BLOCK);
    let patterns = period.min(blocks);
    if patterns > MAX_PATTERNS {
        return Err(Rule::Patterns(shape_text(factors)));
    }
    // Every start that the element, the gathers and the outermost fold factor can give is a multiple of `step` away.
    let step = (s.domain.iter().chain(&s.gathers).chain(&s.fold[..1]))
        .fold(per_chunk, |g, &x| gcd(g, (x.unsigned_abs() % u128::from(per_chunk)) as u64));
    let worst = (0..patterns).map(|block| {
        let ks = block * BLOCK..length.min((block + 1) * BLOCK);
        let image: BTreeSet<i128> = ks.map(|k| place(k, factors, &s.fold)).collect();
        let starts = (0..per_chunk).step_by(step as usize);
        starts.map(|start| distinct_chunks(&image, start + offset(n, op, per_chunk), per_chunk)).max().unwrap_or(1)
    });
    Ok(worst.max().unwrap_or(1).min(tensor_chunks))
}

fn place(k: u64, factors: &[u32], strides: &[i128]) -> i128 {
    coordinates(k, factors).iter().zip(strides).map(|(&x, &s)| i128::from(x) * s).sum()
}

/// The constant part of the element index, modulo a chunk.
fn offset(n: &Node, op: &Operand, per_chunk: u64) -> u64 {
    let width = 1 + n.domain.len() + n.fold_factors().len();
    let mut stride = 1i128;
    let mut sum = 0i128;
    for (row, &extent) in op.access.chunks_exact(width).zip(&op.view).rev() {
        sum += stride * i128::from(row[0]);
        stride *= i128::from(extent);
    }
    sum.rem_euclid(i128::from(per_chunk)) as u64
}

fn distinct_chunks(image: &BTreeSet<i128>, start: u64, per_chunk: u64) -> u64 {
    let mut last = None;
    let mut count = 0;
    for &at in image {
        let chunk = Some((at + i128::from(start)).div_euclid(i128::from(per_chunk)));
        count += u64::from(chunk != last);
        last = chunk;
    }
    count
}
