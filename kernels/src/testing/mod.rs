//! Random valid programs and tensors, from a seed: for comparing kernels, and the referee, with the reference evaluator.
//!
//! Not part of the public interface; `doc(hidden)`.

mod code;

use crate::{ISA_VARIABLE, Isa};
use code::{Inputs, code};
use lockstep_ir::{
    DType, Fold, Gather, Node, Operand, Order, Program, Source, SplitMix64, StateDecl, Tensor, TensorDecl, Ty,
    number::canonical,
    program::BLOCK,
    scalar::{Instr, Op},
    types::element_count,
    validate,
};

/// The instruction sets that a test compares: those that the machine has, or the one that `LOCKSTEP_ISA` forces (an emulated machine is
/// too slow for all).
///
/// # Panics
/// It forces none that is there: the test would compare nothing.
pub fn paths() -> impl Iterator<Item = Isa> {
    let forced = std::env::var_os(ISA_VARIABLE).map(|_| Isa::detect().unwrap_or_else(|e| panic!("{e}")));
    Isa::available().filter(move |&isa| forced.is_none_or(|f| f == isa))
}

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() >> 33) as usize % n.max(1)
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Values that break things, of every type.
const F32_EDGES: [u32; 24] = [
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x8080_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x3f7f_ffff,
    0x4b00_0000,
    0x4f00_0000,
    0x4f80_0000,
    0xcf00_0000,
    0x3f00_0000,
    0xbe99_999a,
    0x3380_0000,
    0x0000_4000,
];
const INTEGER_EDGES: [u32; 12] =
    [0, 1, 2, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 31, 32, 33, 0xffff_ff80, 127, 0x0100_0000];

/// A value of this type: edges, plain numbers, random bits. Never a NaN other than the canonical one.
pub fn value(rng: &mut Rng, ty: Ty) -> u32 {
    let bits = rng.next_u64() as u32;
    match (ty, rng.below(8)) {
        (Ty::F32, 0) => rng.pick(&F32_EDGES),
        (Ty::F32, 1) => canonical(bits),
        (Ty::F32, 2) => (bits & 0x807f_ffff) | (0x0080_0000 * (bits >> 23 & 3)),
        (Ty::F32, _) => ((bits as i32 as f32) / 1_073_741_824.0).to_bits(),
        (_, 0) => rng.pick(&INTEGER_EDGES),
        (_, 1 | 2) => bits,
        (Ty::I32, _) => (rng.below(40) as u32).wrapping_sub(20),
        (Ty::U32, _) => rng.below(40) as u32,
    }
}

/// A tensor of such values. Its shape must be an accepted one.
pub fn tensor(rng: &mut Rng, decl: &TensorDecl) -> Tensor {
    let n = decl.elements().unwrap_or(1);
    let mut t = Tensor::zeros(decl.clone()).unwrap_or_else(|e| panic!("generated shape: {e}"));
    for i in 0..n {
        let v = value(rng, decl.dtype.ty());
        t.set_stored(i, lockstep_ir::tensor::narrow(decl.dtype, v));
    }
    t
}

/// A shape of exactly `n` elements and at most `rank` dimensions, some of them 1.
fn factor(rng: &mut Rng, n: u64, rank: usize) -> Vec<u32> {
    let mut shape = Vec::new();
    let mut left = n;
    for _ in 0..rank.saturating_sub(1) {
        let divisors: Vec<u64> = (1..=left.min(300)).filter(|d| left.is_multiple_of(*d)).collect();
        let d = rng.pick(&divisors);
        shape.push(d as u32);
        left /= d;
    }
    if left > 1 || (rank > 0 && rng.one_in(2)) {
        shape.push(left as u32);
    }
    let swap = rng.below(shape.len());
    if let Some(last) = shape.len().checked_sub(1) {
        shape.swap(swap, last);
    }
    shape
}

fn some_rank(rng: &mut Rng) -> usize {
    rng.pick(&[1, 1, 2, 2, 3, 4, 5, 6])
}

/// How large random programs get.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Elements of an output or input tensor.
    pub elements: u64,
    /// Output elements times fold length.
    pub work: u64,
    /// Length of a fold.
    pub fold: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self { nodes: 4, elements: 700, work: 6_000, fold: 1_500 }
    }
}

/// A random valid program: all kinds of nodes, types, ranks, folds, gathers and views.
pub fn program(rng: &mut Rng, size: Size) -> Program {
    let mut p = Program { state: Vec::new(), data: Vec::new(), nodes: Vec::new() };
    for i in 0..2 + rng.below(3) {
        let decl = some_decl(rng, size.elements);
        p.state.push(StateDecl { decl, next: Source::State(i as u32) });
    }
    for _ in 0..rng.below(3) {
        let decl = some_decl(rng, size.elements);
        p.data.push(decl);
    }
    while p.nodes.len() < size.nodes {
        let node = node(rng, &p, size);
        p.nodes.push(node);
        if validate(&p).is_err() {
            p.nodes.pop();
        }
    }
    for i in 0..p.state.len() {
        let (n, decl) = (p.nodes.len(), p.state[i].decl.clone());
        let nodes = (0..n as u32).map(Source::Node).chain((0..p.data.len() as u32).map(Source::Data));
        let fits: Vec<Source> = nodes.filter(|&s| p.decl(s) == Some(&decl)).collect();
        if !fits.is_empty() && !rng.one_in(3) {
            p.state[i].next = rng.pick(&fits);
        }
    }
    p
}

/// Tensors for a program's state and data.
pub fn inputs(rng: &mut Rng, p: &Program) -> (Vec<Tensor>, Vec<Tensor>) {
    let state = p.state.iter().map(|s| tensor(rng, &s.decl)).collect();
    (state, p.data.iter().map(|d| tensor(rng, d)).collect())
}

/// State and data that long sums survive: zeros of both signs, numbers whose products are subnormal or vanish, ordinary ones; now and then an
/// infinity or a NaN, in some tensors only.
pub fn mild_inputs(rng: &mut Rng, p: &Program) -> (Vec<Tensor>, Vec<Tensor>) {
    let (mut state, mut data) = inputs(rng, p);
    for t in state.iter_mut().chain(&mut data).filter(|t| t.decl().dtype.ty() == Ty::F32) {
        let (dtype, zeros, hostile) = (t.decl().dtype, rng.pick(&[2, 3, 20]), rng.one_in(4));
        for i in 0..t.len() {
            let v = match () {
                () if hostile && rng.one_in(60) => rng.pick(&[0x7f80_0000, 0xff80_0000, lockstep_ir::number::NAN]),
                () if rng.one_in(zeros) => rng.pick(&[0, 0x8000_0000]),
                () if rng.one_in(3) => ((rng.below(9) as f32 - 4.0) * rng.pick(&[1e-23, 1e-30])).to_bits(),
                () => (rng.below(4001) as f32 / 1000.0 - 2.0).to_bits(),
            };
            t.set_stored(i, lockstep_ir::tensor::narrow(dtype, v));
        }
    }
    (state, data)
}

fn some_decl(rng: &mut Rng, elements: u64) -> TensorDecl {
    let limit = rng.pick(&[1, 7, 40, 300, elements]).min(elements);
    let n = 1 + rng.below(limit as usize) as u64;
    let rank = some_rank(rng);
    TensorDecl {
        dtype: rng.pick(&[DType::F32, DType::F32, DType::F32, DType::I32, DType::U32, DType::I8, DType::Bf16]),
        shape: factor(rng, n, rank),
    }
}

fn fold_length(rng: &mut Rng, limit: u64) -> u64 {
    let edges = [1, 2, 15, 16, 17, 31, 255, 256, 257, 271, 272, 511, 512, 513];
    let k = if rng.one_in(2) { rng.pick(&edges) } else { 1 + rng.below(limit as usize) as u64 };
    k.min(limit).max(1)
}

/// A random node over the tensors of `p`; not always valid.
pub fn node(rng: &mut Rng, p: &Program, size: Size) -> Node {
    let folded = !rng.one_in(3);
    let k = if folded { fold_length(rng, size.fold) } else { 1 };
    let mut out = some_decl(rng, size.elements.min(size.work / k).max(1));
    // Outputs that a state tensor can take.
    if rng.one_in(3) && size.work / k >= size.elements {
        let i = rng.below(p.state.len());
        out = p.state[i].decl.clone();
    }
    let n = element_count(&out.shape).unwrap_or(1);
    let rank = some_rank(rng);
    let domain = if rng.one_in(2) { out.shape.clone() } else { factor(rng, n, rank) };
    let rank = rng.pick(&[1, 1, 2, 3]);
    let factors = if folded { factor(rng, k, rank) } else { Vec::new() };
    let factors = if folded && factors.is_empty() { vec![k as u32] } else { factors };
    let mut operands = Vec::new();
    for _ in 0..rng.below(5) {
        let op = operand(rng, p, &domain, &factors, &operands);
        operands.push(op);
    }
    let mut node = Node { out, domain, operands, fold: None, finish: Vec::new() };
    let loads: Vec<usize> = (0..node.operands.len()).collect();
    let finish_loads: Vec<usize> =
        (loads.iter().copied()).filter(|&i| loadable_in_finish(&node, &factors, i)).collect();
    if folded {
        node.fold = Some(some_fold(rng, &node, factors, k, &loads));
    }
    let acc = node.fold.as_ref().map(|f| f.ty);
    let wanted = if folded { finish_loads.into_iter().filter(|_| rng.one_in(2)).collect() } else { loads };
    let ctx = Inputs { node: &node, acc, rhs: false, loads: &wanted, domain: node.domain.len(), fold: 0, k: false };
    let longest = rng.pick(&[0, 1, 3, 8, 25]);
    node.finish = code(rng, &ctx, node.out.dtype.ty(), longest);
    node
}

fn loadable_in_finish(node: &Node, factors: &[u32], i: usize) -> bool {
    let width = 1 + node.domain.len() + factors.len();
    let fixed =
        |op: &Operand| op.access.chunks_exact(width).all(|r| r[1 + node.domain.len()..].iter().all(|&c| c == 0));
    let op = &node.operands[i];
    !op.skip && fixed(op) && op.gathers.iter().all(|g| fixed(&node.operands[usize::from(g.operand)]))
}

fn some_fold(rng: &mut Rng, node: &Node, factors: Vec<u32>, k: u64, loads: &[usize]) -> Fold {
    let ty = rng.pick(&[Ty::F32, Ty::F32, Ty::I32, Ty::U32]);
    let order = rng.pick(&[Order::Chain, Order::Lanes]);
    let (domain, rank) = (node.domain.len(), factors.len());
    let body = Inputs { node, acc: Some(ty), rhs: false, loads, domain, fold: rank, k: true };
    let longest = rng.pick(&[0, 1, 2, 4]);
    let fma = dot_product(rng, node, ty, loads);
    let body = fma.unwrap_or_else(|| code(rng, &body, ty, longest));
    let combine = if order == Order::Lanes || k > BLOCK {
        let inputs = Inputs { node, acc: Some(ty), rhs: true, loads: &[], domain: 0, fold: 0, k: false };
        let longest = rng.pick(&[1, 2]);
        code(rng, &inputs, ty, longest)
    } else {
        Vec::new()
    };
    Fold { factors, order, ty, init: value(rng, ty), body, combine }
}

/// `fma(a, b, acc)`, now and then, where there are two `f32` operands: what matrix products are made of.
fn dot_product(rng: &mut Rng, node: &Node, ty: Ty, loads: &[usize]) -> Option<Vec<Instr>> {
    let [a, b] = loads else { return None };
    let floats = [a, b].iter().all(|&&i| node.operands[i].decl.dtype.ty() == Ty::F32);
    (ty == Ty::F32 && floats && !rng.one_in(4)).then(|| {
        let load = |i: usize| Instr::op(Op::Load, i as u16, 0, 0);
        vec![load(*a), load(*b), Instr::op(Op::Acc, 0, 0, 0), Instr::op(Op::Fma, 0, 1, 2)]
    })
}

fn operand(rng: &mut Rng, p: &Program, domain: &[u32], factors: &[u32], before: &[Operand]) -> Operand {
    let sources: Vec<Source> = (0..p.state.len() as u32)
        .map(Source::State)
        .chain((0..p.data.len() as u32).map(Source::Data))
        .chain((0..p.nodes.len() as u32).map(Source::Node))
        .collect();
    let source = rng.pick(&sources);
    let decl = p.decl(source).cloned().unwrap_or(TensorDecl { dtype: DType::F32, shape: Vec::new() });
    let n = element_count(&decl.shape).unwrap_or(1);
    let rank = some_rank(rng);
    let view = if rng.one_in(2) { decl.shape.clone() } else { factor(rng, n, rank) };
    let places: Vec<u32> = domain.iter().chain(factors).copied().collect();
    // Linear over everything, so that contiguous operands come up often; or one place per dimension.
    let natural = rng.one_in(2);
    let mut access = Vec::new();
    for &extent in &view {
        access.push(if rng.one_in(5) { rng.below(5) as i64 - 2 } else { 0 });
        let at = rng.below(places.len() + 1);
        for (i, &size) in places.iter().enumerate() {
            let coefficient = match (natural, i == at) {
                (true, true) if size <= extent => 1,
                (true, true) => i64::from(rng.one_in(2)),
                (true, false) => 0,
                (false, _) => rng.pick(&[0, 0, 0, 1, 1, -1, 2]),
            };
            access.push(coefficient);
        }
    }
    let reverse = rng.one_in(6);
    if reverse && let (Some(extent), Some(row)) = (view.first(), access.chunks_mut(1 + places.len()).next()) {
        row[0] = i64::from(*extent) - 1;
        row[1..].iter_mut().for_each(|c| *c = -*c);
    }
    let indices: Vec<usize> = (0..before.len())
        .filter(|&i| before[i].decl.dtype.ty() != Ty::F32 && before[i].gathers.is_empty() && !before[i].skip)
        .collect();
    let mut gathers = Vec::new();
    for dim in 0..view.len() {
        if !indices.is_empty() && rng.one_in(3) {
            gathers.push(Gather {
                dim: dim as u8,
                operand: rng.pick(&indices) as u8,
                stride: rng.pick(&[1, 1, -1, 2]),
            });
        }
    }
    let fill = value(rng, decl.dtype.ty());
    let fill = if rng.one_in(2) { fill } else { 0 };
    Operand { source, decl, view, access, gathers, fill, skip: !factors.is_empty() && rng.one_in(5) }
}
