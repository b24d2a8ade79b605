//! A builder that makes wrong programs hard to write.
//!
//! ```
//! use lockstep_ir::{DType, Order, build::{NodeBuilder, ProgramBuilder, k, o}, expr::{acc, f, load}};
//! let mut p = ProgramBuilder::new();
//! let w = p.state(DType::F32, &[3, 2]);
//! let x = p.data(DType::F32, &[4, 3]);
//! // y[i,j] = Σ x[i,k]·w[k,j]
//! let y = NodeBuilder::new(DType::F32, &[4, 2])
//!     .operand(x.at([o(0), k(0)]))
//!     .operand(w.at([k(0), o(1)]))
//!     .fold(&[3], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
//!     .finish(acc());
//! let _y = p.node(y)?;
//! p.keep(&w);
//! let program = p.build()?;
//! assert_eq!(program.nodes.len(), 1);
//! # Ok::<(), lockstep_ir::build::BuildError>(())
//! ```

mod index;

use alloc::{string::String, vec::Vec};

use crate::{
    expr::{Expr, ExprError, Types},
    program::{BLOCK, Fold, Gather, Node, Operand, Order, Program, Source, StateDecl, TensorDecl},
    scalar::Instr,
    types::{DType, Ty, element_count, shape_text},
    validate::{Invalid, validate},
};
pub use index::{Index, at, gather, k, o};

/// Why a program cannot be built. Fix the code that builds it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// A scalar expression has no meaning.
    #[error("{part} of node {node}: {source}")]
    Expr {
        /// Number the node would get.
        node: usize,
        /// `body`, `combine`, `finish` or `init`.
        part: &'static str,
        /// What is wrong.
        source: ExprError,
    },
    /// The address of an operand has not one coordinate per view dimension.
    #[error("operand {operand} of node {node}: expected {expected} coordinates for view {view}, got {got}")]
    Rank {
        /// Number the node would get.
        node: usize,
        /// Which operand.
        operand: usize,
        /// The view.
        view: String,
        /// Coordinates needed.
        expected: usize,
        /// Coordinates given.
        got: usize,
    },
    /// A coordinate names a domain or fold dimension that the node does not have.
    #[error("operand {operand} of node {node} uses {what}({index}), but the node has {count} of them")]
    Coordinate {
        /// Number the node would get.
        node: usize,
        /// Which operand.
        operand: usize,
        /// `o` or `k`.
        what: &'static str,
        /// The dimension named.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A coordinate is the sum of several gathered indices; one is allowed.
    #[error("coordinate {dim} of operand {operand} of node {node} gathers {got} times; once is allowed")]
    Gathers {
        /// Number the node would get.
        node: usize,
        /// Which operand.
        operand: usize,
        /// Which coordinate.
        dim: usize,
        /// How often.
        got: usize,
    },
    /// A coordinate whose numbers leave 64 bits.
    #[error("coordinate {dim} of operand {operand} of node {node} has a number that leaves 64 bits")]
    Range {
        /// Number the node would get.
        node: usize,
        /// Which operand.
        operand: usize,
        /// Which coordinate.
        dim: usize,
    },
    /// A combine was given to a node without fold.
    #[error("node {node} combines, but does not fold")]
    CombineWithoutFold {
        /// Number the node would get.
        node: usize,
    },
    /// The initial value is not a constant.
    #[error("the initial value of node {node} is not a constant")]
    Init {
        /// Number the node would get.
        node: usize,
    },
    /// A state tensor was given no value after the step.
    #[error("state tensor s{0} has no value after the step; call `set` or `keep`")]
    NoNext(u32),
    /// A value after the step was given to something that is no state tensor of this program.
    #[error("{0} was given a value after the step, but is no state tensor of this program")]
    NotState(Source),
    /// The built program is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A tensor of the program under construction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorRef {
    /// Where it comes from.
    pub source: Source,
    /// Its type and shape.
    pub decl: TensorDecl,
}

/// An operand with its address, before the node's ranks are known.
#[derive(Clone, Debug)]
pub struct Access {
    tensor: TensorRef,
    view: Vec<u32>,
    index: Vec<Index>,
    fill: u32,
    skip: bool,
}

impl TensorRef {
    /// Reads the tensor at these coordinates, one per dimension.
    #[must_use]
    pub fn at(&self, index: impl Into<Vec<Index>>) -> Access {
        self.view(&self.decl.shape.clone()).at(index)
    }

    /// Addresses the tensor under another shape with as many elements.
    #[must_use]
    pub fn view(&self, shape: &[u32]) -> View {
        View { tensor: self.clone(), shape: shape.to_vec() }
    }
}

/// A tensor under another shape.
#[derive(Clone, Debug)]
pub struct View {
    tensor: TensorRef,
    shape: Vec<u32>,
}

impl View {
    /// Reads the view at these coordinates, one per dimension.
    #[must_use]
    pub fn at(self, index: impl Into<Vec<Index>>) -> Access {
        Access { tensor: self.tensor, view: self.shape, index: index.into(), fill: 0, skip: false }
    }
}

impl Access {
    /// Reads these bits out of bounds instead of 0.
    #[must_use]
    pub fn fill(mut self, bits: u32) -> Self {
        self.fill = bits;
        self
    }

    /// Leaves the body out where this operand is out of bounds.
    #[must_use]
    pub fn skip(mut self) -> Self {
        self.skip = true;
        self
    }

    fn lower(&self, node: usize, operand: usize, rank_o: usize, rank_k: usize) -> Result<Operand, BuildError> {
        if self.index.len() != self.view.len() {
            let (expected, got, view) = (self.view.len(), self.index.len(), shape_text(&self.view));
            return Err(BuildError::Rank { node, operand, view, expected, got });
        }
        let mut access = Vec::new();
        let mut gathers = Vec::new();
        for (dim, index) in self.index.iter().enumerate() {
            let (row, gather) = index.row([node, operand, dim], [rank_o, rank_k])?;
            access.extend(row);
            gathers.extend(gather.map(|(operand, stride)| Gather { dim: dim as u8, operand, stride }));
        }
        let TensorRef { source, decl } = self.tensor.clone();
        Ok(Operand { source, decl, view: self.view.clone(), access, gathers, fill: self.fill, skip: self.skip })
    }
}

struct FoldExpr {
    factors: Vec<u32>,
    order: Order,
    init: Expr,
    body: Expr,
}

/// A node under construction; `finish` completes it.
pub struct NodeBuilder {
    out: TensorDecl,
    domain: Vec<u32>,
    operands: Vec<Access>,
    fold: Option<FoldExpr>,
    combine: Option<Expr>,
}

/// A node that [`ProgramBuilder::node`] takes.
pub struct Draft {
    node: NodeBuilder,
    finish: Expr,
}

impl NodeBuilder {
    /// A node with this output; its domain is its shape.
    #[must_use]
    pub fn new(dtype: DType, shape: &[u32]) -> Self {
        let out = TensorDecl { dtype, shape: shape.to_vec() };
        Self { domain: out.shape.clone(), out, operands: Vec::new(), fold: None, combine: None }
    }

    /// Factors the output coordinates differently from the shape.
    #[must_use]
    pub fn domain(mut self, factors: &[u32]) -> Self {
        self.domain = factors.to_vec();
        self
    }

    /// Adds the next operand.
    #[must_use]
    pub fn operand(mut self, access: Access) -> Self {
        self.operands.push(access);
        self
    }

    /// Folds `body` from `init` over `factors`. [`Self::combine`] is needed for `Lanes` and for more than 256 values.
    #[must_use]
    pub fn fold(mut self, factors: &[u32], order: Order, init: Expr, body: Expr) -> Self {
        self.fold = Some(FoldExpr { factors: factors.to_vec(), order, init, body });
        self
    }

    /// How two accumulators become one. Dropped where the fold never combines.
    #[must_use]
    pub fn combine(mut self, combine: Expr) -> Self {
        self.combine = Some(combine);
        self
    }

    /// The stored value.
    #[must_use]
    pub fn finish(self, finish: Expr) -> Draft {
        Draft { node: self, finish }
    }
}

impl Draft {
    fn lower(&self, number: usize) -> Result<Node, BuildError> {
        let n = &self.node;
        let rank_k = n.fold.as_ref().map_or(0, |f| f.factors.len());
        let lower = |(i, a): (usize, &Access)| a.lower(number, i, n.domain.len(), rank_k);
        let operands = n.operands.iter().enumerate().map(lower).collect::<Result<Vec<_>, _>>()?;
        let loads: Vec<Ty> = operands.iter().map(|o| o.decl.dtype.ty()).collect();
        let compile = |part, e: &Expr, acc| {
            let compiled = e.compile(&Types { loads: &loads, acc });
            compiled.map_err(|source| BuildError::Expr { node: number, part, source })
        };
        let fold = match &n.fold {
            None if n.combine.is_some() => return Err(BuildError::CombineWithoutFold { node: number }),
            None => None,
            Some(f) => {
                let (init, ty) = compile("init", &f.init, None)?;
                let [Instr::Const(_, bits)] = init[..] else { return Err(BuildError::Init { node: number }) };
                let body = compile("body", &f.body, Some(ty))?.0;
                let long = element_count(&f.factors).is_none_or(|k| k > BLOCK);
                let combine = match &n.combine {
                    Some(c) if long || f.order == Order::Lanes => compile("combine", c, Some(ty))?.0,
                    _ => Vec::new(),
                };
                Some(Fold { factors: f.factors.clone(), order: f.order, ty, init: bits, body, combine })
            }
        };
        let finish = compile("finish", &self.finish, fold.as_ref().map(|f| f.ty))?.0;
        Ok(Node { out: n.out.clone(), domain: n.domain.clone(), operands, fold, finish })
    }
}

/// A program under construction.
#[derive(Default)]
pub struct ProgramBuilder {
    state: Vec<(TensorDecl, Option<Source>)>,
    data: Vec<TensorDecl>,
    nodes: Vec<Node>,
    not_state: Option<Source>,
}

impl ProgramBuilder {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares the next state tensor.
    pub fn state(&mut self, dtype: DType, shape: &[u32]) -> TensorRef {
        let decl = TensorDecl { dtype, shape: shape.to_vec() };
        self.state.push((decl.clone(), None));
        TensorRef { source: Source::State(self.state.len() as u32 - 1), decl }
    }

    /// Declares the next data tensor.
    pub fn data(&mut self, dtype: DType, shape: &[u32]) -> TensorRef {
        let decl = TensorDecl { dtype, shape: shape.to_vec() };
        self.data.push(decl.clone());
        TensorRef { source: Source::Data(self.data.len() as u32 - 1), decl }
    }

    /// Appends a node.
    ///
    /// # Errors
    /// Its expressions or addresses have no meaning.
    pub fn node(&mut self, draft: Draft) -> Result<TensorRef, BuildError> {
        let node = draft.lower(self.nodes.len())?;
        let decl = node.out.clone();
        self.nodes.push(node);
        Ok(TensorRef { source: Source::Node(self.nodes.len() as u32 - 1), decl })
    }

    /// What state tensor `state` is after the step. [`Self::build`] fails if it is no state tensor of this program.
    pub fn set(&mut self, state: &TensorRef, next: &TensorRef) {
        let slot = match state.source {
            Source::State(i) => self.state.get_mut(i as usize),
            _ => None,
        };
        match slot {
            Some(slot) => slot.1 = Some(next.source),
            None => self.not_state = self.not_state.or(Some(state.source)),
        }
    }

    /// State tensor `state` passes through unchanged.
    pub fn keep(&mut self, state: &TensorRef) {
        self.set(state, state);
    }

    /// The program, validated.
    ///
    /// # Errors
    /// A state tensor has no next value, or the program breaks a rule of docs/protocol.md.
    pub fn build(self) -> Result<Program, BuildError> {
        if let Some(source) = self.not_state {
            return Err(BuildError::NotState(source));
        }
        let next = |(i, (decl, next)): (usize, (TensorDecl, Option<Source>))| {
            next.map(|next| StateDecl { decl, next }).ok_or(BuildError::NoNext(i as u32))
        };
        let state = self.state.into_iter().enumerate().map(next).collect::<Result<_, _>>()?;
        let program = Program { state, data: self.data, nodes: self.nodes };
        validate(&program)?;
        Ok(program)
    }
}
