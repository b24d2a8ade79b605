//! One element of every row, chosen by an index.

use lockstep_ir::{
    DType, TensorDecl,
    build::{BuildError, NodeBuilder, ProgramBuilder, TensorRef, gather, o},
    expr::{coord, f, load, select},
};

use super::{Backward, Operation, arity, exactly, matrix, operands, tensor, wrong};
use crate::graph::{Graph, GraphError, Var};

/// `y[i] = x[i, index[i]]`; 0 where the index is out of bounds.
#[derive(Clone, Copy, Debug)]
pub struct Pick;

/// `dx[i,j] = dy[i]` where `j = index[i]`, else 0, from `index` and `dy`.
#[derive(Clone, Copy, Debug)]
pub struct PickGrad {
    /// Columns of `dx`.
    pub columns: u32,
}

impl Operation for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x, index] = *arity(self.name(), args)?;
        let [rows, _] = matrix(self.name(), 0, x)?;
        exactly(self.name(), 1, DType::U32, &[rows], index)?;
        Ok(tensor(DType::F32, &[rows]))
    }

    fn gradient(&self, g: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        let columns = g.decl(at.args[0])?.shape[1];
        Ok(vec![g.apply(PickGrad { columns }, &[at.args[1], at.dy])?])
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x, index] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(index.at([o(0)])).operand(x.at([o(0), gather(0)]));
        p.node(node.finish(load(1)))
    }
}

impl Operation for PickGrad {
    fn name(&self) -> &'static str {
        "pick_grad"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [index, dy] = *arity(self.name(), args)?;
        let [rows] = index.shape[..] else { return Err(wrong(self.name(), 0, "u32[m]", index)) };
        exactly(self.name(), 0, DType::U32, &[rows], index)?;
        exactly(self.name(), 1, DType::F32, &[rows], dy)?;
        Ok(tensor(DType::F32, &[rows, self.columns]))
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [index, dy] = operands(args);
        let node = NodeBuilder::new(DType::F32, &out.shape).operand(index.at([o(0)])).operand(dy.at([o(0)]));
        p.node(node.finish(select(&load(0).eq(&coord(1)), &load(1), &f(0.0))))
    }
}

impl Graph {
    /// `x[i, index[i]]` for every row `i`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn pick(&mut self, x: Var, index: Var) -> Result<Var, GraphError> {
        self.apply(Pick, &[x, index])
    }
}
