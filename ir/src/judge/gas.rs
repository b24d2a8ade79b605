//! Gas that judging a unit can take: one transaction to `Disputes.judge`, with all the witness that the unit needs.
//!
//! ```text
//! transaction and dispute + calldata of the node + per operand: proof, address, chunks + reading + folding + combining + finishing
//! ```
//!
//! Every term is what the contract spends at worst, as measured on hard inputs (contracts/tests/gas.rs, contracts/tests/bound.rs hold it to
//! that) under Granite's rules; docs/benchmarks/gas.md has the measurements.

use alloc::collections::BTreeSet;

use super::{DISPUTE_GAS, Sources, depends_on_fold, read_by};
use crate::{
    eval::CHUNK_BYTES,
    program::{BLOCK, Fold, LANES, Node, Order, Source},
    scalar::{Instr, Op},
    types::{DType, element_count},
};

/// The transaction itself, what `Disputes` does around the referee, and what the referee does for every unit.
const BASE: u64 = 21_000 + DISPUTE_GAS + 34_000;
/// A byte of calldata that is not zero; a zero.
const BYTE: u64 = 16;
const ZERO: u64 = 4;
/// A hash of a Merkle path: its calldata, copying it on, hashing.
const SIBLING: u64 = 32 * BYTE + 150;
/// A chunk, besides its bytes and path: its other words of calldata, checks, hashing.
const CHUNK: u64 = 3_600;
/// An operand that is opened: the same for its root.
const OPERAND: u64 = 9_000;
/// A dimension of an operand's view, each number of its row, a gather.
const ROW: u64 = 400;
const COEFFICIENT: u64 = 140;
const GATHER: u64 = 1_200;
/// Laying out an instruction.
const COMPILE: u64 = 560;
/// A run of a fold's innermost factor; each dimension in it, each factor's coefficient, cutting a dimension to its bounds.
const RUN: u64 = 1_300;
const RUN_ROW: u64 = 320;
const RUN_COEFFICIENT: u64 = 60;
const CLIP: u64 = 420;
/// A stretch of a run in one chunk, and each chunk that is looked through to find it.
const STRETCH: u64 = 480;
const LOOK: u64 = 46;
/// Eight neighbours, one element apart from its neighbours: of four bytes, of others.
const EIGHT: u64 = 270;
const WIDE: u64 = 270;
const NARROW: u64 = 420;
/// Applying a body or `combine` besides its instructions, each operand in it, keeping count of `k` and of a factor.
const APPLY: u64 = 260;
const OPERAND_WORD: u64 = 66;
const POSITION: u64 = 260;
const FACTOR: u64 = 60;
/// A term of a product or sum in its own way, and a lane of it.
const TERM: u64 = 1_630;
const LANE: u64 = 700;
/// A term of a product of integers in its own way.
const INTEGER_TERM: u64 = 110;
/// A value that `combine` takes: four bytes, and turning them around.
const VALUE: u64 = 4 * BYTE + 40;

/// Gas of the dearest unit, and which kind it is. `leaf[i]` is the number of chunks of operand `i` that a leaf block reads.
pub(super) fn worst(n: &Node, sources: &Sources, leaf: &[u64]) -> (u64, &'static str) {
    let model = Model { n, sources, leaf };
    let base = BASE + node_data(n);
    let finish = read_by(n, &n.finish);
    let Some(fold) = &n.fold else {
        let none = BTreeSet::new();
        return (base + model.opened(&none, &finish) + model.finish() + memory(&[&n.finish], 0), "an element");
    };
    let body = read_by(n, &fold.body);
    let none = BTreeSet::new();
    let length = n.fold_length();
    let leaf_memory = |more: &[Instr]| memory(&[&fold.body, &fold.combine, more], body.len() as u64);
    let block = model.leaf_block(fold);
    if length <= BLOCK {
        let element = base + model.opened(&body, &finish) + block + model.finish() + leaf_memory(&n.finish);
        return (element, "an element");
    }
    let leaf = base + model.opened(&body, &none) + block + leaf_memory(&[]);
    let combine = model.combine(fold, length.div_ceil(BLOCK).min(BLOCK));
    let top = base + model.opened(&none, &finish) + combine + model.finish() + memory(&[&fold.combine, &n.finish], 2);
    if leaf >= top { (leaf, "a leaf block") } else { (top, "the top") }
}

/// Calldata of the encoded node, and hashing and copying it.
fn node_data(n: &Node) -> u64 {
    let bytes = n.encode();
    let zeros = bytes.iter().filter(|&&byte| byte == 0).count() as u64;
    (bytes.len() as u64 - zeros) * BYTE + zeros * ZERO + bytes.len() as u64
}

/// Memory of the referee: laid out programs, values of operands, and what a dispute copies on.
fn memory(programs: &[&[Instr]], operands: u64) -> u64 {
    let instructions: u64 = programs.iter().map(|code| code.len() as u64).sum();
    let words = (instructions * 128 + operands * 1_056 + 32_768) / 32;
    3 * words + words * words / 512
}

fn run(code: &[Instr]) -> u64 {
    code.iter().map(|i| i.gas()).sum()
}

fn compile(code: &[Instr]) -> u64 {
    code.len() as u64 * COMPILE
}

struct Model<'a> {
    n: &'a Node,
    sources: &'a Sources,
    leaf: &'a [u64],
}

impl Model<'_> {
    /// Proving and laying out the operands that a body and `finish` read, with the chunks of both.
    fn opened(&self, body: &BTreeSet<usize>, finish: &BTreeSet<usize>) -> u64 {
        body.union(finish).map(|&i| self.open(i, if body.contains(&i) { self.leaf[i] } else { 1 })).sum()
    }

    fn open(&self, i: usize, chunks: u64) -> u64 {
        let op = &self.n.operands[i];
        let numbers = (1 + self.n.domain.len() + self.n.fold_factors().len()) as u64;
        let rows = op.view.len() as u64 * (ROW + numbers * COEFFICIENT) + op.gathers.len() as u64 * GATHER;
        let root = match op.source {
            Source::State(_) => self.sources.state,
            Source::Data(_) => self.sources.data,
            Source::Node(_) => self.sources.nodes,
        };
        let bytes = element_count(&op.decl.shape).unwrap_or(1) * op.decl.dtype.size() as u64;
        let path = depth(bytes.div_ceil(CHUNK_BYTES)) * SIBLING;
        OPERAND + depth(root) * SIBLING + rows + chunks * (CHUNK + bytes.min(CHUNK_BYTES) * BYTE + path)
    }

    /// Finding one place of operand `i`, gathers included, with `run` places in it.
    fn place(&self, i: usize) -> u64 {
        let op = &self.n.operands[i];
        let factors = self.n.fold_factors().len().max(1) as u64;
        let rows = op.view.len() as u64 * (RUN_ROW + factors * RUN_COEFFICIENT + CLIP);
        rows + op.gathers.iter().map(|g| self.one(usize::from(g.operand))).sum::<u64>()
    }

    /// Reading one element of operand `i`.
    fn one(&self, i: usize) -> u64 {
        RUN + self.place(i) + self.leaf[i].max(1) * LOOK + NARROW
    }

    /// Reading a block's values of operand `i`.
    fn read(&self, i: usize, values: u64) -> u64 {
        let op = &self.n.operands[i];
        let gathers_move = op.gathers.iter().any(|g| depends_on_fold(self.n, usize::from(g.operand)));
        if !gathers_move && !depends_on_fold(self.n, i) {
            return self.one(i) + values * 6 + RUN;
        }
        let inner = self.n.fold_factors().iter().rposition(|&f| f > 1).unwrap_or(0);
        let factor = u64::from(self.n.fold_factors()[inner]);
        // a block may start anywhere in a run
        let runs = if gathers_move { values } else { values.min((values + factor - 2) / factor + 1) };
        let step = self.step(i, inner);
        let size = op.decl.dtype.size() as u64;
        let span = factor.min(values).saturating_mul(step.saturating_mul(size));
        // of a run no more lies in bounds than steps fit into the tensor
        let elements = element_count(&op.decl.shape).unwrap_or(1);
        let inside = values.min(runs.saturating_mul((elements - 1) / step.max(1) + 1));
        let inside = if step == 0 { values } else { inside };
        let stretches = inside.min(runs * (span / CHUNK_BYTES + 2));
        let each = if matches!(op.decl.dtype, DType::I8 | DType::Bf16) { NARROW } else { WIDE };
        let copied = if step == 1 && !gathers_move { values * EIGHT / 8 + stretches * EIGHT } else { inside * each };
        // and what is filled in
        let filled = values * 6 + runs * 100;
        runs * (RUN + self.place(i)) + stretches * (STRETCH + self.leaf[i] * LOOK) + copied + filled
    }

    /// How many elements the innermost factor moves operand `i`.
    fn step(&self, i: usize, inner: usize) -> u64 {
        let op = &self.n.operands[i];
        let width = 1 + self.n.domain.len() + self.n.fold_factors().len();
        let column = 1 + self.n.domain.len() + inner;
        let mut stride = 1i128;
        let mut step = 0i128;
        for (&extent, row) in op.view.iter().zip(op.access.chunks_exact(width)).rev() {
            step += stride * i128::from(row[column]);
            stride *= i128::from(extent);
        }
        // backwards is read element by element
        if step < 0 { (-step).max(2) as u64 } else { step as u64 }
    }

    fn leaf_block(&self, fold: &Fold) -> u64 {
        let n = self.n;
        let values = n.fold_length().min(BLOCK);
        let loads: BTreeSet<usize> = loaded(&fold.body).collect();
        let reading: u64 = loads.iter().map(|&i| self.read(i, values)).sum();
        let lanes = if fold.order == Order::Lanes { LANES as u64 } else { 0 };
        let halving = lanes * LANE + lanes * (run(&fold.combine) + APPLY) + compile(&fold.combine);
        let folding = if is_term(&fold.body) {
            values * TERM + 6_000
        } else if lanes == 0 && is_integer_term(&fold.body) && !n.operands.iter().any(|op| op.skip) {
            values * INTEGER_TERM
        } else {
            let position = fold.body.iter().any(|i| matches!(i, Instr::Op { op: Op::K | Op::Kf, .. }));
            let position = if position { POSITION + fold.factors.len() as u64 * FACTOR } else { 0 };
            values * (run(&fold.body) + APPLY + loads.len() as u64 * OPERAND_WORD + position)
        };
        reading + compile(&fold.body) + folding + halving
    }

    fn combine(&self, fold: &Fold, values: u64) -> u64 {
        let each = if is_sum(&fold.combine) { TERM } else { run(&fold.combine) + APPLY };
        compile(&fold.combine) + values * (VALUE + each) + 6_000
    }

    fn finish(&self) -> u64 {
        let loads: u64 = loaded(&self.n.finish).collect::<BTreeSet<_>>().iter().map(|&i| self.one(i)).sum();
        compile(&self.n.finish) + run(&self.n.finish) + loads
    }
}

/// Depth of a tree over `n` leaves.
fn depth(n: u64) -> u64 {
    u64::from(n.max(1).next_power_of_two().trailing_zeros())
}

fn loaded(code: &[Instr]) -> impl Iterator<Item = usize> + '_ {
    code.iter().filter_map(|i| match *i {
        Instr::Op { op: Op::Load, a, .. } => Some(usize::from(a)),
        _ => None,
    })
}

/// What the referee runs of a program: its operations, with the inputs' names resolved.
fn steps(code: &[Instr]) -> impl Iterator<Item = (usize, Op, [Option<Instr>; 3])> + '_ {
    code.iter().enumerate().filter_map(|(at, instr)| match *instr {
        Instr::Op { op, a, b, c } if op.arity() > 0 => {
            let argument = |number: u16, i: usize| code.get(usize::from(number)).copied().filter(|_| i < op.arity());
            Some((at, op, [argument(a, 0), argument(b, 1), argument(c, 2)]))
        }
        _ => None,
    })
}

const fn is(instr: Option<Instr>, wanted: Op) -> bool {
    matches!(instr, Some(Instr::Op { op, .. }) if op as u8 == wanted as u8)
}

/// Whether the body is `fma(a, b, acc)` or `acc + a` of operands, and nothing else.
fn is_term(code: &[Instr]) -> bool {
    let mut steps = steps(code);
    let (Some((at, op, [a, b, c])), None) = (steps.next(), steps.next()) else { return false };
    let sum = (is(a, Op::Acc) && is(b, Op::Load)) || (is(a, Op::Load) && is(b, Op::Acc));
    let product = is(a, Op::Load) && is(b, Op::Load) && is(c, Op::Acc);
    at + 1 == code.len() && ((op == Op::FAdd && sum) || (op == Op::Fma && product))
}

/// Whether `combine` is the sum of its two inputs, and nothing else.
fn is_sum(code: &[Instr]) -> bool {
    let mut steps = steps(code);
    let (Some((at, Op::FAdd, [a, b, _])), None) = (steps.next(), steps.next()) else { return false };
    at + 1 == code.len() && ((is(a, Op::Acc) && is(b, Op::Rhs)) || (is(a, Op::Rhs) && is(b, Op::Acc)))
}

/// Whether the body is `acc + a * b` of integers, and nothing else.
fn is_integer_term(code: &[Instr]) -> bool {
    let mut steps = steps(code);
    let (Some((_, Op::Mul, [a, b, _])), Some((at, Op::Add, [x, y, _])), None) =
        (steps.next(), steps.next(), steps.next())
    else {
        return false;
    };
    let sum = (is(x, Op::Acc) && is(y, Op::Mul)) || (is(x, Op::Mul) && is(y, Op::Acc));
    is(a, Op::Load) && is(b, Op::Load) && sum && at + 1 == code.len()
}
