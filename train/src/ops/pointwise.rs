//! Element by element over tensors of one shape.

use lockstep_ir::{
    DType, TensorDecl,
    build::{Access, BuildError, Index, NodeBuilder, ProgramBuilder, TensorRef, o},
    expr::{f, load},
};

use super::{Backward, Operation, exactly, operands, wrong};
use crate::graph::{Graph, GraphError, Var};

/// Sums and differences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pointwise {
    /// `a + b`.
    Add,
    /// `a − b`.
    Sub,
    /// `−a`.
    Neg,
}

/// `alpha·x + y`, rounded once.
#[derive(Clone, Copy, Debug)]
pub struct ScaleAdd {
    /// The factor, part of the program.
    pub alpha: f32,
}

/// The element of `x` that belongs to the output element.
pub(super) fn same(x: &TensorRef) -> Access {
    x.at((0..x.decl.shape.len()).map(o).collect::<Vec<Index>>())
}

/// All arguments are `f32` of one shape.
fn alike(op: &'static str, args: &[&TensorDecl], expected: usize) -> Result<TensorDecl, GraphError> {
    let Some((first, rest)) = args.split_first().filter(|_| args.len() == expected) else {
        return Err(GraphError::Arity { op, expected, got: args.len() });
    };
    if first.dtype != DType::F32 {
        return Err(wrong(op, 0, "f32", first));
    }
    for (i, other) in rest.iter().enumerate() {
        exactly(op, i + 1, DType::F32, &first.shape, other)?;
    }
    Ok((*first).clone())
}

impl Operation for Pointwise {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Neg => "neg",
        }
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        alike(self.name(), args, if *self == Self::Neg { 1 } else { 2 })
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        let mut found = Vec::new();
        for (i, _) in at.needed.iter().enumerate().filter(|(_, needed)| **needed) {
            let negative = *self == Self::Neg || (*self == Self::Sub && i == 1);
            found.push(if negative { g.apply(Self::Neg, &[at.dy])? } else { at.dy });
        }
        Ok(found)
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let node = NodeBuilder::new(DType::F32, &out.shape);
        let node = args.iter().fold(node, |node, a| node.operand(same(a)));
        p.node(node.finish(match self {
            Self::Add => load(0) + load(1),
            Self::Sub => load(0) - load(1),
            Self::Neg => load(0).neg(),
        }))
    }
}

impl Operation for ScaleAdd {
    fn name(&self) -> &'static str {
        "scale_add"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        alike(self.name(), args, 2)
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x, y] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(same(x)).operand(same(y));
        p.node(node.finish(f(self.alpha).fma(&load(0), &load(1))))
    }
}

impl Graph {
    /// `a + b`, of one shape.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn add(&mut self, a: Var, b: Var) -> Result<Var, GraphError> {
        self.apply(Pointwise::Add, &[a, b])
    }

    /// `a − b`, of one shape.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn sub(&mut self, a: Var, b: Var) -> Result<Var, GraphError> {
        self.apply(Pointwise::Sub, &[a, b])
    }

    /// `alpha·x + y`, rounded once, of one shape. Not differentiable: optimisers use it.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn scale_add(&mut self, alpha: f32, x: Var, y: Var) -> Result<Var, GraphError> {
        self.apply(ScaleAdd { alpha }, &[x, y])
    }
}
