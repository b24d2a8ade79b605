//! Matrix product, of either operand transposed or not.

use lockstep_ir::{
    DType, Order, TensorDecl,
    build::{BuildError, NodeBuilder, ProgramBuilder, TensorRef, k, o},
    expr::{acc, f, load, rhs},
};

use super::{Backward, Operation, arity, matrix, operands, tensor, wrong};
use crate::{
    graph::{Graph, GraphError, Var},
    layout::{self, Matrix},
};

/// `op(a)·op(b)`, where `op` transposes or not: `[m,k]·[k,n]` to `[m,n]`, by fused multiply-adds with `k` ascending.
#[derive(Clone, Copy, Debug)]
pub struct MatMul {
    /// The first argument is `[k,m]`.
    pub transpose_a: bool,
    /// The second argument is `[n,k]`.
    pub transpose_b: bool,
}

const NAME: &str = "matmul";

impl Operation for MatMul {
    fn name(&self) -> &'static str {
        NAME
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [a, b] = *arity(NAME, args)?;
        let ([a0, a1], [b0, b1]) = (matrix(NAME, 0, a)?, matrix(NAME, 1, b)?);
        let (m, inner) = if self.transpose_a { (a1, a0) } else { (a0, a1) };
        let (got, n) = if self.transpose_b { (b1, b0) } else { (b0, b1) };
        if inner != got {
            let expected = if self.transpose_b { format!("f32[n,{inner}]") } else { format!("f32[{inner},n]") };
            return Err(wrong(NAME, 1, expected, b));
        }
        Ok(tensor(DType::F32, &[m, n]))
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        let (a, b, dy) = (at.args[0], at.args[1], at.dy);
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        let mut found = Vec::new();
        if at.needed[0] {
            found.push(if ta { product(g, b, dy, tb, true) } else { product(g, dy, b, false, !tb) }?);
        }
        if at.needed[1] {
            found.push(if tb { product(g, dy, a, true, ta) } else { product(g, a, dy, !ta, false) }?);
        }
        Ok(found)
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [a, b] = operands(args);
        let (a, b) = (
            Matrix { tensor: a, fold: usize::from(!self.transpose_a) },
            Matrix { tensor: b, fold: usize::from(self.transpose_b) },
        );
        let [a, b] = layout::judgeable(p, [a, b])?;
        let inner = a.tensor.decl.shape[a.fold];
        let node = NodeBuilder::new(DType::F32, &out.shape)
            .operand(a.tensor.at(a.along(k(0), o(0))))
            .operand(b.tensor.at(b.along(k(0), o(1))))
            .fold(&[inner], Order::Chain, f(0.0), load(0).fma(&load(1), &acc()))
            .combine(acc() + rhs());
        p.node(node.finish(acc()))
    }
}

fn product(g: &mut Graph, a: Var, b: Var, transpose_a: bool, transpose_b: bool) -> Result<Var, GraphError> {
    g.apply(MatMul { transpose_a, transpose_b }, &[a, b])
}

impl Graph {
    /// `a·b`: `[m,k]·[k,n]` to `[m,n]`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var, GraphError> {
        product(self, a, b, false, false)
    }

    /// `a·bᵀ`: `[m,k]·[n,k]` to `[m,n]`, the product of a layer whose weights are `[out,in]`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn matmul_transposed(&mut self, a: Var, b: Var) -> Result<Var, GraphError> {
        product(self, a, b, false, true)
    }
}
