//! The graph: tensors and the operations between them, with shapes checked as it grows.
//!
//! ```
//! use lockstep_ir::DType;
//! use lockstep_train::graph::{Graph, GraphError};
//!
//! let mut g = Graph::new();
//! let x = g.data("x", DType::F32, &[4, 3])?;
//! let w = g.state("w", DType::F32, &[2, 3])?;
//! let y = g.matmul_transposed(x, w)?;
//! assert_eq!(g.decl(y)?.shape, [4, 2]);
//!
//! let wrong = g.matmul(x, w).unwrap_err();
//! assert_eq!(wrong.to_string(), "matmul: argument 1 should be f32[3,n], got f32[2,3]");
//! # Ok::<(), GraphError>(())
//! ```

use std::sync::Arc;

use lockstep_ir::{
    DType, TensorDecl,
    types::{MAX_RANK, element_count, shape_text},
};

use crate::ops::Operation;

/// Why a graph cannot be built. Fix the code, or the sizes, that it is built from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GraphError {
    /// An argument of the wrong type or shape.
    #[error("{op}: argument {argument} should be {expected}, got {got}")]
    Argument {
        /// Operation.
        op: &'static str,
        /// Which argument, from 0.
        argument: usize,
        /// Type and shape needed.
        expected: String,
        /// Type and shape found.
        got: String,
    },
    /// A wrong number of arguments.
    #[error("{op} takes {expected} arguments, got {got}")]
    Arity {
        /// Operation.
        op: &'static str,
        /// Arguments needed.
        expected: usize,
        /// Arguments given.
        got: usize,
    },
    /// A shape that no tensor may have.
    #[error("`{name}` has shape {shape}: at most 6 dimensions, none of them 0, at most 2^40 elements")]
    Shape {
        /// Tensor, or operation.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// Two tensors of one name.
    #[error("two tensors are called `{0}`")]
    Duplicate(String),
    /// A variable of another graph.
    #[error("variable {index} is not in this graph of {count}")]
    NoSuchVar {
        /// Its number.
        index: usize,
        /// Variables there are.
        count: usize,
    },
    /// Something other than a state tensor was given a next value.
    #[error("variable {0} is not a state tensor, so it has no next value")]
    NotState(usize),
    /// A next value of another type or shape than the state tensor.
    #[error("`{name}` is {expected} and cannot become {got}")]
    Next {
        /// State tensor.
        name: String,
        /// Its type and shape.
        expected: String,
        /// The next value's.
        got: String,
    },
    /// A gradient through an operation that has none.
    #[error("{op} has no gradient")]
    NoGradient {
        /// Operation.
        op: &'static str,
    },
    /// A gradient of a tensor that is not a single number.
    #[error("only a single f32 can be differentiated, got {0}")]
    NotScalar(String),
    /// A gradient with respect to integers.
    #[error("variable {0} is not f32, so it has no gradient")]
    Integer(usize),
    /// A gradient with respect to a tensor that the loss does not depend on.
    #[error("the loss does not depend on variable {0}")]
    Unused(usize),
}

/// A tensor of one graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Var(pub(crate) usize);

/// Where the value of a variable comes from.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// State tensor, before the step.
    State(usize),
    /// Data tensor.
    Data,
    /// Result of an operation.
    Apply(Arc<dyn Operation>, Vec<Var>),
}

#[derive(Clone, Debug)]
pub(crate) struct GraphNode {
    pub(crate) value: Value,
    pub(crate) decl: TensorDecl,
}

/// A state tensor: its variable, and that of its value after the step.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) var: Var,
    pub(crate) next: Option<Var>,
}

/// Tensors and operations, in the order they were added, which is topological.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) state: Vec<State>,
    pub(crate) data: Vec<(String, Var)>,
}

/// `f32[2,3]`, as messages write it.
pub(crate) fn text(d: &TensorDecl) -> String {
    format!("{}{}", d.dtype, shape_text(&d.shape))
}

fn checked(name: &str, dtype: DType, shape: &[u32]) -> Result<TensorDecl, GraphError> {
    if shape.len() > MAX_RANK || element_count(shape).is_none() {
        return Err(GraphError::Shape { name: name.to_owned(), shape: shape_text(shape) });
    }
    Ok(TensorDecl { dtype, shape: shape.to_vec() })
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn push(&mut self, value: Value, decl: TensorDecl) -> Var {
        self.nodes.push(GraphNode { value, decl });
        Var(self.nodes.len() - 1)
    }

    fn unused_name(&self, name: &str) -> Result<String, GraphError> {
        let mut names = self.state.iter().map(|s| &s.name).chain(self.data.iter().map(|d| &d.0));
        if names.any(|n| n == name) { Err(GraphError::Duplicate(name.to_owned())) } else { Ok(name.to_owned()) }
    }

    /// Adds the next state tensor: its value before the step.
    ///
    /// # Errors
    /// The name is taken or the shape is refused.
    pub fn state(&mut self, name: &str, dtype: DType, shape: &[u32]) -> Result<Var, GraphError> {
        let (decl, name) = (checked(name, dtype, shape)?, self.unused_name(name)?);
        let var = self.push(Value::State(self.state.len()), decl);
        self.state.push(State { name, var, next: None });
        Ok(var)
    }

    /// Adds the next data tensor.
    ///
    /// # Errors
    /// The name is taken or the shape is refused.
    pub fn data(&mut self, name: &str, dtype: DType, shape: &[u32]) -> Result<Var, GraphError> {
        let (decl, name) = (checked(name, dtype, shape)?, self.unused_name(name)?);
        let var = self.push(Value::Data, decl);
        self.data.push((name, var));
        Ok(var)
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// The arguments do not fit it.
    pub fn apply(&mut self, op: impl Operation + 'static, args: &[Var]) -> Result<Var, GraphError> {
        let decls = args.iter().map(|&a| self.decl(a)).collect::<Result<Vec<_>, _>>()?;
        let out = op.infer(&decls)?;
        let decl = checked(op.name(), out.dtype, &out.shape)?;
        Ok(self.push(Value::Apply(Arc::new(op), args.to_vec()), decl))
    }

    /// Makes `next` the value of state tensor `state` after the step. The last call wins.
    ///
    /// # Errors
    /// `state` is not a state tensor, or `next` has another type or shape.
    pub fn set(&mut self, state: Var, next: Var) -> Result<(), GraphError> {
        let (expected, got) = (self.decl(state)?.clone(), self.decl(next)?.clone());
        let Value::State(i) = self.nodes[state.0].value else { return Err(GraphError::NotState(state.0)) };
        let slot = &mut self.state[i];
        if expected != got {
            return Err(GraphError::Next { name: slot.name.clone(), expected: text(&expected), got: text(&got) });
        }
        slot.next = Some(next);
        Ok(())
    }

    /// Type and shape of a variable.
    ///
    /// # Errors
    /// It is not of this graph.
    pub fn decl(&self, var: Var) -> Result<&TensorDecl, GraphError> {
        let count = self.nodes.len();
        self.nodes.get(var.0).map(|n| &n.decl).ok_or(GraphError::NoSuchVar { index: var.0, count })
    }

    /// Names of the state tensors, in order.
    #[must_use]
    pub fn state_names(&self) -> Vec<String> {
        self.state.iter().map(|s| s.name.clone()).collect()
    }

    /// Names of the data tensors, in order.
    #[must_use]
    pub fn data_names(&self) -> Vec<String> {
        self.data.iter().map(|d| d.0.clone()).collect()
    }
}
