//! The reference evaluator: slow, short, and the definition of every result.
//!
//! It evaluates a whole program, one node, one element, or one *unit* of an element (docs/protocol.md, section 2.3), and
//! tells which chunks of which operand were read, which is what the witness of a judgement must prove.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use crate::{
    number,
    program::{BLOCK, Fold, LANES, Node, Operand, Order, Program, Source, level_count, top_level},
    scalar::{Instr, Op},
    tensor::{Tensor, narrow, widen},
    types::coordinates,
};

/// Bytes of a chunk, the unit of hashing and of witnesses.
pub const CHUNK_BYTES: u64 = 1024;

/// Gives the stored bits of operand elements.
pub trait Operands {
    /// Stored bits, zero-extended, of element `index` (row-major) of operand `operand` of the node.
    fn stored(&mut self, operand: usize, index: u64) -> u32;
}

impl Operands for &[&Tensor] {
    fn stored(&mut self, operand: usize, index: u64) -> u32 {
        self[operand].stored(index)
    }
}

/// Passes reads on and notes the chunks they touch.
pub struct Recorder<'a, O> {
    inner: O,
    node: &'a Node,
    /// `(operand, chunk index)` of every chunk read.
    pub chunks: BTreeSet<(usize, u64)>,
}

impl<'a, O: Operands> Recorder<'a, O> {
    /// Records the reads of `node`.
    pub fn new(node: &'a Node, inner: O) -> Self {
        Self { inner, node, chunks: BTreeSet::new() }
    }
}

impl<O: Operands> Operands for Recorder<'_, O> {
    fn stored(&mut self, operand: usize, index: u64) -> u32 {
        let size = self.node.operands[operand].decl.dtype.size() as u64;
        self.chunks.insert((operand, index * size / CHUNK_BYTES));
        self.inner.stored(operand, index)
    }
}

/// Where a scalar program runs: the element, the fold position and the values it may read.
struct Scope<'a, O> {
    node: &'a Node,
    operands: &'a mut O,
    o: &'a [u32],
    k: u32,
    kf: &'a [u32],
}

impl<O: Operands> Scope<'_, O> {
    /// Element index that operand `which` addresses here, or `None` out of bounds.
    fn locate(&mut self, which: usize) -> Option<u64> {
        let node = self.node;
        let operand = &node.operands[which];
        let width = 1 + self.o.len() + node.fold_factors().len();
        let mut index = 0u64;
        for (d, (&extent, row)) in operand.view.iter().zip(operand.access.chunks_exact(width)).enumerate() {
            let at = self.coordinate(operand, d, row);
            if at < 0 || at >= i64::from(extent) {
                return None;
            }
            index = index * u64::from(extent) + at as u64;
        }
        Some(index)
    }

    /// The exact signed coordinate of dimension `d`. The validator proves that it cannot overflow.
    fn coordinate(&mut self, operand: &Operand, d: usize, row: &[i64]) -> i64 {
        let places = self.o.iter().chain(self.kf);
        let affine = row[0] + row[1..].iter().zip(places).map(|(&c, &x)| c * i64::from(x)).sum::<i64>();
        let gather = operand.gathers.iter().find(|g| usize::from(g.dim) == d);
        affine + gather.map_or(0, |g| g.stride * self.index_value(usize::from(g.operand)))
    }

    fn index_value(&mut self, which: usize) -> i64 {
        let value = self.load(which);
        match self.node.operands[which].decl.dtype.ty() {
            crate::types::Ty::U32 => i64::from(value),
            _ => i64::from(value as i32),
        }
    }

    fn load(&mut self, which: usize) -> u32 {
        let operand = &self.node.operands[which];
        match self.locate(which) {
            Some(index) => widen(operand.decl.dtype, self.operands.stored(which, index)),
            None => operand.fill,
        }
    }

    fn run(&mut self, code: &[Instr], acc: u32, rhs: u32) -> u32 {
        let mut values: Vec<u32> = Vec::with_capacity(code.len());
        for &instr in code {
            let value = match instr {
                Instr::Const(_, bits) => bits,
                Instr::Op { op, a, b, c } => match op {
                    Op::Acc => acc,
                    Op::Rhs => rhs,
                    Op::Load => self.load(usize::from(a)),
                    Op::Coord => self.o[usize::from(a)],
                    Op::K => self.k,
                    Op::Kf => self.kf[usize::from(a)],
                    _ => {
                        let arg = |i: u16| values.get(usize::from(i)).copied().unwrap_or(0);
                        number::apply(op, arg(a), arg(b), arg(c))
                    }
                },
            };
            values.push(value);
        }
        values.last().copied().unwrap_or(0)
    }
}

/// Evaluates units of one element of a node. The node must be valid: see [`mod@crate::validate`].
pub struct Element<'a, O> {
    node: &'a Node,
    operands: &'a mut O,
    o: Vec<u32>,
}

impl<'a, O: Operands> Element<'a, O> {
    /// The element with this row-major index in the output.
    pub fn new(node: &'a Node, operands: &'a mut O, index: u64) -> Self {
        Self { node, operands, o: coordinates(index, &node.domain) }
    }

    fn scope<'b>(&'b mut self, k: u32, kf: &'b [u32]) -> Scope<'b, O> {
        Scope { node: self.node, operands: self.operands, o: &self.o, k, kf }
    }

    /// One leaf block of the fold: values `256·block ..` folded from `init`.
    pub fn leaf_block(&mut self, fold: &Fold, block: u64) -> u32 {
        let node = self.node;
        let length = node.fold_length();
        let lanes = if fold.order == Order::Lanes { LANES } else { 1 };
        let mut acc = vec![fold.init; lanes];
        for k in block * BLOCK..length.min((block + 1) * BLOCK) {
            let kf = coordinates(k, &fold.factors);
            let mut scope = self.scope(k as u32, &kf);
            let skipped = (0..node.operands.len()).any(|i| node.operands[i].skip && scope.locate(i).is_none());
            if !skipped {
                let lane = (k % lanes as u64) as usize;
                acc[lane] = scope.run(&fold.body, acc[lane], 0);
            }
        }
        let mut half = lanes / 2;
        while half > 0 {
            for i in 0..half {
                acc[i] = self.combine(fold, acc[i], acc[i + half]);
            }
            half /= 2;
        }
        acc[0]
    }

    fn combine(&mut self, fold: &Fold, acc: u32, rhs: u32) -> u32 {
        self.scope(0, &[]).run(&fold.combine, acc, rhs)
    }

    /// `combine` over at least one value, ascending.
    pub fn combine_block(&mut self, fold: &Fold, values: &[u32]) -> u32 {
        let first = values.first().copied().unwrap_or(fold.init);
        values.iter().skip(1).fold(first, |acc, &rhs| self.combine(fold, acc, rhs))
    }

    /// The block results of `level` (1: leaf blocks) under this element.
    pub fn level(&mut self, fold: &Fold, level: u32) -> Vec<u32> {
        let k = self.node.fold_length();
        let mut values: Vec<u32> = (0..level_count(k, 1)).map(|b| self.leaf_block(fold, b)).collect();
        for _ in 1..level {
            values = values.chunks(BLOCK as usize).map(|block| self.combine_block(fold, block)).collect();
        }
        values
    }

    /// The stored bits from the folded value (ignored for a map).
    pub fn finish(&mut self, acc: u32) -> u32 {
        let zeros = vec![0; self.node.fold_factors().len()];
        let node = self.node;
        let value = self.scope(0, &zeros).run(&node.finish, acc, 0);
        narrow(node.out.dtype, value)
    }

    /// The whole element: its stored bits.
    pub fn value(&mut self) -> u32 {
        let node = self.node;
        let acc = match &node.fold {
            None => 0,
            Some(fold) => {
                let values = self.level(fold, top_level(node.fold_length()).max(1));
                self.combine_block(fold, &values)
            }
        };
        self.finish(acc)
    }
}

/// A piece of work small enough to judge (docs/protocol.md, section 2.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Fold (at most one leaf block, or none) and finish: the stored element.
    Element,
    /// Leaf block: the accumulator.
    Leaf(u64),
    /// `combine` over these values: the accumulator.
    Combine(Vec<u32>),
    /// `combine` over these values, then finish: the stored element.
    Top(Vec<u32>),
}

/// Evaluates a unit of element `index`.
pub fn unit(node: &Node, operands: &mut impl Operands, index: u64, unit: &Unit) -> u32 {
    let mut element = Element::new(node, operands, index);
    match (unit, &node.fold) {
        (Unit::Leaf(block), Some(fold)) => element.leaf_block(fold, *block),
        (Unit::Combine(values), Some(fold)) => element.combine_block(fold, values),
        (Unit::Top(values), Some(fold)) => {
            let acc = element.combine_block(fold, values);
            element.finish(acc)
        }
        _ => element.value(),
    }
}

/// Evaluates a whole node. `operands[i]` is the tensor that operand `i` reads.
///
/// # Errors
/// The output's shape is refused, which validation rules out.
pub fn node(node: &Node, operands: &[&Tensor]) -> Result<Tensor, crate::tensor::TensorError> {
    let mut out = Tensor::zeros(node.out.clone())?;
    let mut reader = operands;
    for index in 0..out.len() {
        let bits = Element::new(node, &mut reader, index).value();
        out.set_stored(index, bits);
    }
    Ok(out)
}

/// The tensors around one step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Output of every node.
    pub trace: Vec<Tensor>,
    /// State after the step.
    pub state: Vec<Tensor>,
}

/// The tensor a source names.
#[must_use]
pub fn resolve<'a>(source: Source, state: &'a [Tensor], data: &'a [Tensor], trace: &'a [Tensor]) -> &'a Tensor {
    match source {
        Source::State(i) => &state[i as usize],
        Source::Data(i) => &data[i as usize],
        Source::Node(i) => &trace[i as usize],
    }
}

/// Evaluates one step of a valid program on tensors of the declared types and shapes.
///
/// # Errors
/// A shape is refused, which validation rules out.
pub fn step(program: &Program, state: &[Tensor], data: &[Tensor]) -> Result<Step, crate::tensor::TensorError> {
    let mut trace: Vec<Tensor> = Vec::with_capacity(program.nodes.len());
    for n in &program.nodes {
        let operands: Vec<&Tensor> = n.operands.iter().map(|op| resolve(op.source, state, data, &trace)).collect();
        trace.push(node(n, &operands)?);
    }
    let state = program.state.iter().map(|s| resolve(s.next, state, data, &trace).clone()).collect();
    Ok(Step { trace, state })
}
