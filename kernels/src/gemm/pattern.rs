//! Which nodes are matrix products.

use lockstep_ir::{DType, Node, Order, scalar::Op};

use crate::{
    access::{Address, Places, Row, linear_beyond},
    blocks::Blocks,
    code::{ACC, Code, RHS},
};

/// What is multiplied and summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `fma` of values that are `f32` or widen to it, in `chain` order.
    Float,
    /// Products of `i8`, added as wrapping `i32`: in any order.
    Bytes,
}

/// One factor: how its elements are addressed.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub(crate) operand: usize,
    pub(crate) dtype: DType,
    pub(crate) base: i64,
    pub(crate) batch: Vec<i64>,
    /// Per row coordinate for the left factor, per column coordinate for the right one.
    pub(crate) outer: Vec<i64>,
    pub(crate) k: Vec<i64>,
    /// Coordinates that can be out of bounds: padding.
    pub(crate) tests: Vec<Test>,
    /// What stands there, as bits.
    pub(crate) fill: u32,
    /// Nothing stands there: such positions are left out.
    pub(crate) skip: bool,
}

/// A coordinate, to be tested.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) extent: i64,
    pub(crate) offset: i64,
    pub(crate) batch: Vec<i64>,
    pub(crate) outer: Vec<i64>,
    pub(crate) k: Vec<i64>,
}

/// A node that is a batch of products of an `m × k` and a `k × n` matrix, row-major in its output.
#[derive(Clone, Debug)]
pub(crate) struct Gemm {
    pub(crate) kind: Kind,
    pub(crate) m: u64,
    pub(crate) n: u64,
    pub(crate) k: u64,
    pub(crate) batch_sizes: Vec<u64>,
    pub(crate) m_sizes: Vec<u64>,
    pub(crate) n_sizes: Vec<u64>,
    pub(crate) k_sizes: Vec<u64>,
    pub(crate) init: u32,
    pub(crate) a: Factor,
    pub(crate) b: Factor,
    /// `finish` stores the folded value as it is.
    pub(crate) plain: bool,
}

/// Longest fold whose block results fold in one more level.
const TWO_LEVELS: u64 = 65_536;

/// Columns from which on a row alone is a product.
const FEWEST_COLUMNS: u64 = 16;

impl Gemm {
    /// Recognises a matrix product in a compiled node.
    pub(crate) fn find(node: &Node, blocks: &Blocks) -> Option<Self> {
        let fold = blocks.fold.as_ref()?;
        let (kind, [x, y]) = factors(&fold.body[0])?;
        let (x, y) = (linear(&blocks.places, x)?, linear(&blocks.places, y)?);
        let (sum, orderly) = match kind {
            Kind::Float => (Op::FAdd, fold.order == Order::Chain && fold.length <= TWO_LEVELS),
            // Every lane of a block starts from `init`.
            Kind::Bytes => (Op::Add, fold.order == Order::Chain || fold.init == 0),
        };
        let byte = |f: &LinearOperand| f.dtype == DType::I8 && f.tests.is_empty();
        let fits = kind == Kind::Float || byte(&x) && byte(&y);
        if !fits || !orderly || !(fold.combine.steps.is_empty() || adds(&fold.combine, sum)) {
            return None;
        }
        let folded = if kind == Kind::Float { DType::F32 } else { DType::I32 };
        let sizes = &blocks.places.domain;
        let (x, y) = (&x, &y);
        // The right factor owns the innermost output dimensions.
        let (a, b) = [(x, y), (y, x)].into_iter().find(|(a, b)| owned(&b.domain, &a.domain) > 0)?;
        let inner = sizes.len() - owned(&b.domain, &a.domain);
        let rows = owned(&a.domain[..inner], &b.domain[..inner]);
        let batch = inner - rows;
        let still = |f: &LinearOperand, dims: std::ops::Range<usize>| {
            f.tests.iter().all(|row| row.domain[dims.clone()].iter().all(|&c| c == 0))
        };
        if !still(a, inner..sizes.len()) || !still(b, batch..inner) {
            return None;
        }
        let test = |row: &Row, outer: std::ops::Range<usize>| Test {
            extent: row.extent,
            offset: row.offset,
            batch: row.domain[..batch].to_vec(),
            outer: row.domain[outer].to_vec(),
            k: row.fold.clone(),
        };
        let factor = |f: &LinearOperand, outer: std::ops::Range<usize>| Factor {
            tests: f.tests.iter().map(|row| test(row, outer.clone())).collect(),
            fill: f.fill,
            skip: f.skip,
            operand: f.operand,
            dtype: f.dtype,
            base: f.base,
            batch: f.domain[..batch].to_vec(),
            outer: f.domain[outer].to_vec(),
            k: f.fold.clone(),
        };
        let n = sizes[inner..].iter().product();
        let gemm = Self {
            kind,
            m: sizes[batch..inner].iter().product(),
            n,
            k: fold.length,
            batch_sizes: sizes[..batch].to_vec(),
            m_sizes: sizes[batch..inner].to_vec(),
            n_sizes: sizes[inner..].to_vec(),
            k_sizes: blocks.places.fold.clone(),
            init: fold.init,
            a: factor(a, batch..inner),
            b: factor(b, inner..sizes.len()),
            plain: node.out.dtype == folded && blocks.finish.steps.is_empty() && blocks.finish.result == ACC,
        };
        // A vector and a matrix that would be packed, and lies with its columns beside each other, is no faster than a fold across them.
        let vector = n >= FEWEST_COLUMNS && (gemm.is_thin() || b.domain.last() != Some(&1));
        (rows > 0 || vector).then_some(gemm)
    }
}

/// The operands of `fma(load, load, acc)` or `load · load + acc`.
fn factors(body: &Code) -> Option<(Kind, [usize; 2])> {
    let operand = |r: u32| body.loads.iter().find(|l| l.0 == r).map(|l| l.1);
    let (kind, a, b) = match body.steps[..] {
        [step] if step.op == Op::Fma && step.c == ACC => (Kind::Float, step.a, step.b),
        [product, sum] if product.op == Op::Mul && sum.op == Op::Add => {
            let added = [(ACC, product.dst), (product.dst, ACC)].contains(&(sum.a, sum.b));
            added.then_some((Kind::Bytes, product.a, product.b))?
        }
        _ => return None,
    };
    Some((kind, [operand(a)?, operand(b)?]))
}

fn adds(combine: &Code, op: Op) -> bool {
    let [step] = combine.steps[..] else { return false };
    step.op == op && [(ACC, RHS), (RHS, ACC)].contains(&(step.a, step.b))
}

struct LinearOperand {
    operand: usize,
    dtype: DType,
    base: i64,
    domain: Vec<i64>,
    fold: Vec<i64>,
    tests: Vec<Row>,
    fill: u32,
    skip: bool,
}

fn linear(places: &Places, operand: usize) -> Option<LinearOperand> {
    let place = &places.operands[operand];
    let (address, tests) = match &place.address {
        Address::Tested(rows) => {
            let mut tests = rows.clone();
            tests.retain(|row| !row.in_bounds(&places.domain, &places.fold));
            (linear_beyond(rows, &places.domain, &places.fold)?, tests)
        }
        address => (address.clone(), Vec::new()),
    };
    let Address::Linear { base, domain, fold } = address else { return None };
    Some(LinearOperand { operand, dtype: place.dtype, base, domain, fold, tests, fill: place.fill, skip: place.skip })
}

/// How many of the last dimensions move `mine` and leave `other` where it is.
fn owned(mine: &[i64], other: &[i64]) -> usize {
    mine.iter().zip(other).rev().take_while(|&(&m, &o)| m != 0 && o == 0).count()
}
