//! The average of a vector.

use lockstep_ir::{
    DType, Order, TensorDecl,
    build::{BuildError, Index, NodeBuilder, ProgramBuilder, TensorRef, k},
    expr::{acc, f, load, rhs},
};

use super::{Backward, Operation, arity, exactly, operands, tensor, wrong};
use crate::graph::{Graph, GraphError, Var};

/// `y = (Σ_i x[i]) / n`: `f32[n]` to a single number, the sum in `lanes` order.
#[derive(Clone, Copy, Debug)]
pub struct Mean;

/// `dx[i] = dy / n` for `i < n`.
#[derive(Clone, Copy, Debug)]
pub struct MeanGrad {
    /// How many values were averaged.
    pub n: u32,
}

/// Up to here every count is an `f32`.
const MAX_COUNT: u32 = 1 << 24;
const SCALAR: [Index; 0] = [];

impl Operation for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x] = *arity(self.name(), args)?;
        if x.dtype != DType::F32 || x.shape.len() != 1 || x.shape[0] > MAX_COUNT {
            return Err(wrong(self.name(), 0, "f32[n] with n at most 2^24", x));
        }
        Ok(tensor(DType::F32, &[]))
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        let n = g.decl(at.args[0])?.shape[0];
        Ok(vec![g.apply(MeanGrad { n }, &[at.dy])?])
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape)
            .operand(x.at([k(0)]))
            .fold(&x.decl.shape, Order::Lanes, f(0.0), acc() + load(0))
            .combine(acc() + rhs());
        p.node(node.finish(acc() / f(x.decl.shape[0] as f32)))
    }
}

impl Operation for MeanGrad {
    fn name(&self) -> &'static str {
        "mean_grad"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [dy] = *arity(self.name(), args)?;
        exactly(self.name(), 0, DType::F32, &[], dy)?;
        Ok(tensor(DType::F32, &[self.n]))
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [dy] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(dy.at(SCALAR));
        p.node(node.finish(load(0) / f(self.n as f32)))
    }
}

impl Graph {
    /// The average of a vector.
    ///
    /// # Errors
    /// It is not a vector of `f32`.
    pub fn mean(&mut self, x: Var) -> Result<Var, GraphError> {
        self.apply(Mean, &[x])
    }
}
