//! From a graph to a program: every operation that the next state depends on becomes one or more nodes.

use lockstep_ir::{
    Program, Source,
    build::{BuildError, ProgramBuilder, TensorRef},
};

use crate::graph::{Graph, GraphNode, Value, Var};

/// Why a graph does not become a program. Fix the model or its sizes: the message names the rule of docs/protocol.md.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LowerError {
    /// A state tensor was given no value after the step.
    #[error("state tensor `{0}` has no value after the step")]
    NoNext(String),
    /// A node has no meaning.
    #[error("{op}: {source}")]
    Op {
        /// Operation that was lowered.
        op: &'static str,
        /// What the builder says.
        source: BuildError,
    },
    /// The whole program is refused.
    #[error("the program is refused: {0}")]
    Program(#[source] BuildError),
}

/// A program, and which operation each of its nodes belongs to.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The program, validated.
    pub program: Program,
    /// Name of the operation, for every node.
    pub node_names: Vec<String>,
}

/// Which variables the next state depends on.
fn live(g: &Graph) -> Vec<bool> {
    let mut live = vec![false; g.nodes.len()];
    for s in &g.state {
        s.next.iter().for_each(|v| live[v.0] = true);
    }
    for i in (0..g.nodes.len()).rev() {
        if let (true, Value::Apply(_, args)) = (live[i], &g.nodes[i].value) {
            args.iter().for_each(|a| live[a.0] = true);
        }
    }
    live
}

/// Declares state and data in the graph's order, whether used or not.
fn declare(p: &mut ProgramBuilder, g: &Graph) -> Vec<Option<TensorRef>> {
    let mut refs = vec![None; g.nodes.len()];
    for s in &g.state {
        let d = &g.nodes[s.var.0].decl;
        refs[s.var.0] = Some(p.state(d.dtype, &d.shape));
    }
    for &(_, var) in &g.data {
        let d = &g.nodes[var.0].decl;
        refs[var.0] = Some(p.data(d.dtype, &d.shape));
    }
    refs
}

fn apply(
    p: &mut ProgramBuilder,
    node: &GraphNode,
    refs: &[Option<TensorRef>],
    names: &mut Vec<String>,
) -> Result<Option<TensorRef>, LowerError> {
    let Value::Apply(op, args) = &node.value else { return Ok(None) };
    // Every argument comes earlier and is live, so it has been lowered.
    let args: Vec<TensorRef> = args.iter().filter_map(|a: &Var| refs[a.0].clone()).collect();
    let out = op.lower(p, &args, &node.decl).map_err(|source| LowerError::Op { op: op.name(), source })?;
    if let Source::Node(last) = out.source {
        names.resize(last as usize + 1, op.name().to_owned());
    }
    Ok(Some(out))
}

/// Lowers the graph.
///
/// # Errors
/// A state tensor has no next value, or the program would break a rule: it could not be judged, for example.
pub fn lower(g: &Graph) -> Result<Lowered, LowerError> {
    let mut p = ProgramBuilder::new();
    let mut refs = declare(&mut p, g);
    let live = live(g);
    let mut node_names = Vec::new();
    for i in (0..g.nodes.len()).filter(|&i| live[i]) {
        if let Some(out) = apply(&mut p, &g.nodes[i], &refs, &mut node_names)? {
            refs[i] = Some(out);
        }
    }
    for s in &g.state {
        let next = s.next.and_then(|v| refs[v.0].as_ref()).ok_or_else(|| LowerError::NoNext(s.name.clone()))?;
        if let Some(state) = &refs[s.var.0] {
            p.set(state, next);
        }
    }
    let program = p.build().map_err(LowerError::Program)?;
    Ok(Lowered { program, node_names })
}
