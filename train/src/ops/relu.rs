//! The rectifier.

use lockstep_ir::{
    DType, TensorDecl,
    build::{BuildError, NodeBuilder, ProgramBuilder, TensorRef},
    expr::{f, load, max_nan, select},
};

use super::{Backward, Operation, arity, exactly, operands, pointwise::same, wrong};
use crate::graph::{Graph, GraphError, Var};

/// `max(x, 0)`; NaN stays NaN.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

/// `dy` where `x > 0`, else 0, from `x` and `dy`.
#[derive(Clone, Copy, Debug)]
pub struct ReluGrad;

impl Operation for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x] = *arity(self.name(), args)?;
        if x.dtype != DType::F32 { Err(wrong(self.name(), 0, "f32", x)) } else { Ok(x.clone()) }
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        Ok(vec![g.apply(ReluGrad, &[at.args[0], at.dy])?])
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x] = operands(args);
        p.node(NodeBuilder::new(DType::F32, &out.shape).operand(same(x)).finish(max_nan(&load(0), &f(0.0))))
    }
}

impl Operation for ReluGrad {
    fn name(&self) -> &'static str {
        "relu_grad"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x, dy] = *arity(self.name(), args)?;
        exactly(self.name(), 1, DType::F32, &x.shape, dy)?;
        Ok(x.clone())
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x, dy] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(same(x)).operand(same(dy));
        p.node(node.finish(select(&f(0.0).lt(&load(0)), &load(1), &f(0.0))))
    }
}

impl Graph {
    /// `max(x, 0)`.
    ///
    /// # Errors
    /// It is not `f32`.
    pub fn relu(&mut self, x: Var) -> Result<Var, GraphError> {
        self.apply(Relu, &[x])
    }
}
