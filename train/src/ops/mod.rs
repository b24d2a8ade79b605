//! The operations of a graph, one file each: what it takes, what its gradient is, and how it becomes nodes of a program.

mod bias;
mod fill;
mod log_sum_exp;
mod matmul;
mod mean;
mod pick;
mod pointwise;
mod relu;
mod sample;

use lockstep_ir::{
    DType, TensorDecl,
    build::{BuildError, ProgramBuilder, TensorRef},
};

pub use self::{
    bias::{AddBias, SumRows},
    fill::Fill,
    log_sum_exp::{LogSumExp, LogSumExpGrad},
    matmul::MatMul,
    mean::{Mean, MeanGrad},
    pick::{Pick, PickGrad},
    pointwise::{Pointwise, ScaleAdd},
    relu::{Relu, ReluGrad},
    sample::{GatherRows, Increment, Sample},
};
use crate::graph::{Graph, GraphError, Var, text};

/// What an operation is given to find its gradients.
#[derive(Clone, Copy, Debug)]
pub struct Backward<'a> {
    /// Its arguments.
    pub args: &'a [Var],
    /// Its result.
    pub out: Var,
    /// Gradient of the loss with respect to the result.
    pub dy: Var,
    /// For every argument, whether its gradient is asked for.
    pub needed: &'a [bool],
}

/// One operation of a graph.
pub trait Operation: std::fmt::Debug + Send + Sync {
    /// Its name in messages and in the labels of nodes.
    fn name(&self) -> &'static str;

    /// Type and shape of the result.
    ///
    /// # Errors
    /// The arguments do not fit.
    fn infer(&self, args: &[&TensorDecl]) -> Result<TensorDecl, GraphError>;

    /// Adds the nodes for the gradients of the arguments that are needed, and returns one variable for each of these, in order.
    ///
    /// # Errors
    /// The operation has no gradient, which is the default.
    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>) -> Result<Vec<Var>, GraphError> {
        let _ = (graph, at);
        Err(GraphError::NoGradient { op: self.name() })
    }

    /// Adds the program nodes that compute the result, of type and shape `out`, from `args`.
    ///
    /// # Errors
    /// A node has no meaning: a mistake in the operation.
    fn lower(&self, p: &mut ProgramBuilder, args: &[TensorRef], out: &TensorDecl) -> Result<TensorRef, BuildError>;
}

/// Exactly `N` arguments.
fn arity<'a, 'b, const N: usize>(
    op: &'static str,
    args: &'a [&'b TensorDecl],
) -> Result<&'a [&'b TensorDecl; N], GraphError> {
    args.try_into().map_err(|_| GraphError::Arity { op, expected: N, got: args.len() })
}

fn wrong(op: &'static str, argument: usize, expected: impl Into<String>, got: &TensorDecl) -> GraphError {
    GraphError::Argument { op, argument, expected: expected.into(), got: text(got) }
}

/// The argument is a matrix of `f32`; its rows and columns.
fn matrix(op: &'static str, argument: usize, d: &TensorDecl) -> Result<[u32; 2], GraphError> {
    match d.shape[..] {
        [rows, columns] if d.dtype == DType::F32 => Ok([rows, columns]),
        _ => Err(wrong(op, argument, "f32[m,n]", d)),
    }
}

/// The argument has exactly this type and shape.
fn exactly(op: &'static str, argument: usize, dtype: DType, shape: &[u32], got: &TensorDecl) -> Result<(), GraphError> {
    let expected = tensor(dtype, shape);
    if *got == expected { Ok(()) } else { Err(wrong(op, argument, text(&expected), got)) }
}

fn tensor(dtype: DType, shape: &[u32]) -> TensorDecl {
    TensorDecl { dtype, shape: shape.to_vec() }
}

/// The operands of a program node; the graph has checked how many there are.
fn operands<const N: usize>(args: &[TensorRef]) -> &[TensorRef; N] {
    match args.try_into() {
        Ok(args) => args,
        Err(_) => unreachable!("`infer` checks the number of arguments"),
    }
}
