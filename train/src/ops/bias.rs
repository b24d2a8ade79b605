//! A bias added to every row, and the sum over rows that is its gradient.

use lockstep_ir::{
    DType, Order, TensorDecl,
    build::{BuildError, NodeBuilder, ProgramBuilder, TensorRef, k, o},
    expr::{acc, f, load, rhs},
};

use super::{Backward, Operation, arity, exactly, matrix, operands, tensor};
use crate::{
    graph::{Graph, GraphError, Var},
    layout::{self, Matrix},
};

/// `y[i,j] = x[i,j] + b[j]`.
#[derive(Clone, Copy, Debug)]
pub struct AddBias;

/// `y[j] = Σ_i x[i,j]`, in `lanes` order.
#[derive(Clone, Copy, Debug)]
pub struct SumRows;

impl Operation for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x, b] = *arity(self.name(), args)?;
        let [_, columns] = matrix(self.name(), 0, x)?;
        exactly(self.name(), 1, DType::F32, &[columns], b)?;
        Ok(x.clone())
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        let mut found = Vec::new();
        if at.needed[0] {
            found.push(at.dy);
        }
        if at.needed[1] {
            found.push(g.apply(SumRows, &[at.dy])?);
        }
        Ok(found)
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x, b] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(x.at([o(0), o(1)])).operand(b.at([o(1)]));
        p.node(node.finish(load(0) + load(1)))
    }
}

impl Operation for SumRows {
    fn name(&self) -> &'static str {
        "sum_rows"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x] = *arity(self.name(), args)?;
        let [_, columns] = matrix(self.name(), 0, x)?;
        Ok(tensor(DType::F32, &[columns]))
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x] = operands(args);
        let [x] = layout::judgeable(p, [Matrix { tensor: x, fold: 0 }])?;
        let rows = x.tensor.decl.shape[x.fold];
        let node = NodeBuilder::new(DType::F32, &out.shape)
            .operand(x.tensor.at(x.along(k(0), o(0))))
            .fold(&[rows], Order::Lanes, f(0.0), acc() + load(0))
            .combine(acc() + rhs());
        p.node(node.finish(acc()))
    }
}

impl Graph {
    /// `x[i,j] + b[j]`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn add_bias(&mut self, x: Var, b: Var) -> Result<Var, GraphError> {
        self.apply(AddBias, &[x, b])
    }
}
