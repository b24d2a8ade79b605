//! Programs, nodes and operands (docs/protocol.md, section 2).

use alloc::vec::Vec;

use crate::{
    scalar::Instr,
    types::{DType, Ty, element_count},
};

/// Version of the protocol that programs are written for.
pub const VERSION: u32 = 1;
/// Values of one fold block, at every level.
pub const BLOCK: u64 = 256;
/// Accumulators of a [`Order::Lanes`] block.
pub const LANES: usize = 16;

/// Where a tensor comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Source {
    /// State tensor, as it is before the step.
    State(u32),
    /// Data tensor of the job.
    Data(u32),
    /// Output of an earlier node.
    Node(u32),
}

impl Source {
    /// `(kind, index)` as encoded.
    #[must_use]
    pub const fn code(self) -> (u8, u32) {
        match self {
            Self::State(i) => (0, i),
            Self::Data(i) => (1, i),
            Self::Node(i) => (2, i),
        }
    }

    /// From `(kind, index)`.
    #[must_use]
    pub const fn from_code(kind: u8, index: u32) -> Option<Self> {
        match kind {
            0 => Some(Self::State(index)),
            1 => Some(Self::Data(index)),
            2 => Some(Self::Node(index)),
            _ => None,
        }
    }
}

impl core::fmt::Display for Source {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::State(i) => write!(f, "s{i}"),
            Self::Data(i) => write!(f, "d{i}"),
            Self::Node(i) => write!(f, "n{i}"),
        }
    }
}

/// Element type and shape of a tensor.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct TensorDecl {
    /// Element type in storage.
    pub dtype: DType,
    /// Extents, outermost first; empty for a single number.
    pub shape: Vec<u32>,
}

impl TensorDecl {
    /// Number of elements, or `None` if the shape is refused.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        element_count(&self.shape)
    }
}

/// A state tensor and the source of its value after the step.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct StateDecl {
    /// Type and shape, before and after.
    pub decl: TensorDecl,
    /// What it is after the step.
    pub next: Source,
}

/// `stride · value(operand)`, added to the coordinate of dimension `dim`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Gather {
    /// Dimension of the view.
    pub dim: u8,
    /// Which operand of the node holds the index.
    pub operand: u8,
    /// Factor of the index.
    pub stride: i64,
}

/// One tensor that a node reads, and which of its elements.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Operand {
    /// Where the tensor comes from.
    pub source: Source,
    /// Its type and shape.
    pub decl: TensorDecl,
    /// The shape under which it is addressed.
    pub view: Vec<u32>,
    /// One row per view dimension: offset, coefficients of the domain, coefficients of the fold.
    pub access: Vec<i64>,
    /// Indirect parts of the address, ascending in `dim`.
    pub gathers: Vec<Gather>,
    /// Bits of the widened value read out of bounds.
    pub fill: u32,
    /// Out of bounds: leave out the body for this `k`.
    pub skip: bool,
}

/// Order of evaluation inside a leaf block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Order {
    /// One accumulator, `k` ascending.
    Chain = 0,
    /// Sixteen accumulators, then halving.
    Lanes = 1,
}

/// The fold of a node.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Fold {
    /// Factors of `K`, outermost first.
    pub factors: Vec<u32>,
    /// Order inside a leaf block.
    pub order: Order,
    /// Type of the accumulator.
    pub ty: Ty,
    /// Bits every leaf block starts from.
    pub init: u32,
    /// Next accumulator from the last one and the loads.
    pub body: Vec<Instr>,
    /// One accumulator from two; empty for a chain of at most 256.
    pub combine: Vec<Instr>,
}

impl Fold {
    /// `K`: how many values are folded, or `None` if the factors are refused.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        element_count(&self.factors).filter(|&k| k <= u64::from(u32::MAX))
    }
}

/// One tensor computed from others.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Node {
    /// Type and shape of the output.
    pub out: TensorDecl,
    /// Factors of the output coordinates; as many elements as the output.
    pub domain: Vec<u32>,
    /// What it reads.
    pub operands: Vec<Operand>,
    /// The fold, or `None` for a plain map.
    pub fold: Option<Fold>,
    /// The stored value from the folded one and the loads.
    pub finish: Vec<Instr>,
}

impl Node {
    /// `K`, or 0 for a map. Meaningful for validated nodes.
    #[must_use]
    pub fn fold_length(&self) -> u64 {
        self.fold.as_ref().and_then(Fold::length).unwrap_or(0)
    }

    /// Factors of `k`; empty for a map.
    #[must_use]
    pub fn fold_factors(&self) -> &[u32] {
        self.fold.as_ref().map_or(&[], |f| &f.factors)
    }
}

/// One step of a job.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Program {
    /// Everything that changes.
    pub state: Vec<StateDecl>,
    /// Everything that does not.
    pub data: Vec<TensorDecl>,
    /// In topological order.
    pub nodes: Vec<Node>,
}

impl Program {
    /// Type and shape of a source, or `None` if there is no such tensor.
    #[must_use]
    pub fn decl(&self, source: Source) -> Option<&TensorDecl> {
        match source {
            Source::State(i) => self.state.get(i as usize).map(|s| &s.decl),
            Source::Data(i) => self.data.get(i as usize),
            Source::Node(i) => self.nodes.get(i as usize).map(|n| &n.out),
        }
    }
}

/// Number of values at `level` of a fold of `k` values: level 0 is the values themselves, level 1 the leaf blocks.
#[must_use]
pub const fn level_count(k: u64, level: u32) -> u64 {
    let mut n = k;
    let mut l = 0;
    while l < level {
        n = n.div_ceil(BLOCK);
        l += 1;
    }
    n
}

/// The highest level with more than one value, which a dispute posts first; 0 if one leaf block is all.
#[must_use]
pub const fn top_level(k: u64) -> u32 {
    let mut level = 0;
    while level_count(k, level + 1) > 1 {
        level += 1;
    }
    level
}
