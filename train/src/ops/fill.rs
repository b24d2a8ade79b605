//! A constant tensor.

use lockstep_ir::{
    DType, TensorDecl,
    build::{BuildError, NodeBuilder, ProgramBuilder, TensorRef},
    expr::f,
};

use super::{Operation, arity, tensor};
use crate::graph::GraphError;

/// `f32` of this shape, all equal to `value`.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The value.
    pub value: f32,
    /// The shape.
    pub shape: Vec<u32>,
}

impl Operation for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError> {
        let [] = *arity(self.name(), args)?;
        Ok(tensor(DType::F32, &self.shape))
    }

    fn lower(&self, p: &mut ProgramBuilder, _args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError> {
        p.node(NodeBuilder::new(DType::F32, &out.shape).finish(f(self.value)))
    }
}
