//! The normaliser of softmax, per row, and its gradient, which is softmax.

use lockstep_ir::{
    DType, Order, TensorDecl,
    build::{BuildError, NodeBuilder, ProgramBuilder, TensorRef, k, o},
    expr::{acc, f, load, max_nan, rhs},
    func::{exp, log},
};

use super::{Backward, Operation, arity, exactly, matrix, operands, tensor};
use crate::graph::{Graph, GraphError, Var};

/// `y[i] = ln Σ_j e^x[i,j]`, shifted by the row's maximum so that it cannot overflow.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp;

/// `dx[i,j] = dy[i]·e^(x[i,j] − y[i])` from `x`, `y` and `dy`: the softmax of the row, scaled.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExpGrad;

impl Operation for LogSumExp {
    fn name(&self) -> &'static str {
        "log_sum_exp"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x] = *arity(self.name(), args)?;
        let [rows, _] = matrix(self.name(), 0, x)?;
        Ok(tensor(DType::F32, &[rows]))
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        Ok(vec![g.apply(LogSumExpGrad, &[at.args[0], at.out, at.dy])?])
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x] = operands(args);
        let max = row_max(p, x, out)?;
        // Its own node: `exp` is too dear for the body of a judgeable fold.
        let shifted = NodeBuilder::new(DType::F32, &x.decl.shape)
            .operand(x.at([o(0), o(1)]))
            .operand(max.at([o(0)]))
            .finish(exp(&(load(0) - load(1))));
        let shifted = p.node(shifted)?;
        let sum = row_sum(p, &shifted, out)?;
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(sum.at([o(0)])).operand(max.at([o(0)]));
        p.node(node.finish(log(&load(0)) + load(1)))
    }
}

fn row_max(p: &mut ProgramBuilder, x: &TensorRef, out: &TensorDecl) -> Result<TensorRef, BuildError> {
    let node = NodeBuilder::new(DType::F32, &out.shape)
        .operand(x.at([o(0), k(0)]))
        .fold(&x.decl.shape[1..], Order::Lanes, f(f32::NEG_INFINITY), max_nan(&acc(), &load(0)))
        .combine(max_nan(&acc(), &rhs()));
    p.node(node.finish(acc()))
}

fn row_sum(p: &mut ProgramBuilder, x: &TensorRef, out: &TensorDecl) -> Result<TensorRef, BuildError> {
    let node = NodeBuilder::new(DType::F32, &out.shape)
        .operand(x.at([o(0), k(0)]))
        .fold(&x.decl.shape[1..], Order::Lanes, f(0.0), acc() + load(0))
        .combine(acc() + rhs());
    p.node(node.finish(acc()))
}

impl Operation for LogSumExpGrad {
    fn name(&self) -> &'static str {
        "log_sum_exp_grad"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x, y, dy] = *arity(self.name(), args)?;
        let [rows, _] = matrix(self.name(), 0, x)?;
        exactly(self.name(), 1, DType::F32, &[rows], y)?;
        exactly(self.name(), 2, DType::F32, &[rows], dy)?;
        Ok(x.clone())
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x, y, dy] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape)
            .operand(x.at([o(0), o(1)]))
            .operand(y.at([o(0)]))
            .operand(dy.at([o(0)]));
        p.node(node.finish(load(2) * exp(&(load(0) - load(1)))))
    }
}

impl Graph {
    /// Per row, `−ln softmax(logits)[label]`: `f32[m,n]` and `u32[m]` to `f32[m]`. A label of `n` or more counts as a logit of 0.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn softmax_cross_entropy(&mut self, logits: Var, labels: Var) -> Result<Var, GraphError> {
        let total = self.apply(LogSumExp, &[logits])?;
        let chosen = self.pick(logits, labels)?;
        self.sub(total, chosen)
    }
}
