//! Choosing the batch of a step.

use lockstep_ir::{
    DType, TensorDecl,
    build::{BuildError, Index, NodeBuilder, ProgramBuilder, TensorRef, at, gather, o},
    expr::{coord, load, u},
    func::{below, philox},
};

use super::{Operation, arity, exactly, operands, tensor, wrong};
use crate::{
    graph::{Graph, GraphError, Var},
    philox::Stream,
};

/// `count` indices below `below`, with replacement, from the step's number and the key: `u32[]`, `u32[2]` to `u32[count]`.
///
/// Index `i` is `MULHI_U(w, below)`, where `w` is the first word of Philox4x32-10 for counter `(step, i, 0, 0)`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many.
    pub count: u32,
    /// The number of things to choose from.
    pub below: u32,
}

/// `y[i,…] = table[index[i],…]`: `[n,…]` of any type and `u32[m]` to `[m,…]`; 0 where the index is out of bounds.
#[derive(Clone, Copy, Debug)]
pub struct GatherRows;

/// `x + 1`, wrapping, of a single `u32`.
#[derive(Clone, Copy, Debug)]
pub struct Increment;

const SCALAR: [Index; 0] = [];

impl Operation for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [step, key] = *arity(self.name(), args)?;
        exactly(self.name(), 0, DType::U32, &[], step)?;
        exactly(self.name(), 1, DType::U32, &[2], key)?;
        Ok(tensor(DType::U32, &[self.count]))
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [step, key] = operands(args);
        let [word, ..] = philox([load(0), coord(0), u(Stream::Batch.word()), u(0)], [load(1), load(2)]);
        let node = NodeBuilder::new(DType::U32, &out.shape)
            .operand(step.at(SCALAR))
            .operand(key.at([at(0)]))
            .operand(key.at([at(1)]));
        p.node(node.finish(below(&word, self.below)))
    }
}

impl Operation for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [table, index] = *arity(self.name(), args)?;
        let [count] = index.shape[..] else { return Err(wrong(self.name(), 1, "u32[m]", index)) };
        exactly(self.name(), 1, DType::U32, &[count], index)?;
        let Some((_, row)) = table.shape.split_first() else { return Err(wrong(self.name(), 0, "[n,…]", table)) };
        Ok(tensor(table.dtype, &[&[count], row].concat()))
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [table, index] = operands(args);
        let row = (1..out.shape.len()).map(o);
        let address: Vec<Index> = std::iter::once(gather(0)).chain(row).collect();
        let node = NodeBuilder::new(out.dtype, &out.shape).operand(index.at([o(0)])).operand(table.at(address));
        p.node(node.finish(load(1)))
    }
}

impl Operation for Increment {
    fn name(&self) -> &'static str {
        "increment"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [x] = *arity(self.name(), args)?;
        exactly(self.name(), 0, DType::U32, &[], x)?;
        Ok(x.clone())
    }

    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        let [x] = operands(args);
        p.node(NodeBuilder::new(DType::U32, &out.shape).operand(x.at(SCALAR)).finish(load(0) + u(1)))
    }
}

impl Graph {
    /// Rows of `table` named by `index`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn gather_rows(&mut self, table: Var, index: Var) -> Result<Var, GraphError> {
        self.apply(GatherRows, &[table, index])
    }
}
