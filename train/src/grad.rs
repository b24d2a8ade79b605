//! Reverse-mode differentiation: walks the graph backwards from the loss and adds the nodes that compute the gradients.

use std::collections::BTreeMap;

use lockstep_ir::DType;

use crate::{
    graph::{Graph, GraphError, Value, Var, text},
    ops::{Backward, Fill},
};

/// Which variables the gradient flows to: `wrt` and everything between them and the end of the graph.
fn flows_to(g: &Graph, wrt: &[Var]) -> Vec<bool> {
    let mut flows = vec![false; g.nodes.len()];
    for (i, node) in g.nodes.iter().enumerate() {
        flows[i] = wrt.contains(&Var(i))
            || matches!(&node.value, Value::Apply(_, args) if args.iter().any(|a| flows[a.0]) && node.decl.dtype == DType::F32);
    }
    flows
}

/// Adds gradient `more` to what has been collected for `var`.
fn collect(g: &mut Graph, gradients: &mut BTreeMap<Var, Var>, var: Var, more: Var) -> Result<(), GraphError> {
    let sum = match gradients.get(&var) {
        Some(&so_far) => g.add(so_far, more)?,
        None => more,
    };
    gradients.insert(var, sum);
    Ok(())
}

/// The gradient of `loss`, a single number, with respect to each of `wrt`, in their order and of their shapes.
///
/// # Errors
/// The loss is not a single `f32`; one of `wrt` is not `f32`, or the loss does not depend on it, or does through an operation
/// without gradient.
///
/// # Panics
/// An [`crate::ops::Operation`] of the caller's gives another number of gradients than asked for.
pub fn gradients(g: &mut Graph, loss: Var, wrt: &[Var]) -> Result<Vec<Var>, GraphError> {
    let decl = g.decl(loss)?;
    if decl.dtype != DType::F32 || !decl.shape.is_empty() {
        return Err(GraphError::NotScalar(text(decl)));
    }
    for &v in wrt {
        if g.decl(v)?.dtype != DType::F32 {
            return Err(GraphError::Integer(v.0));
        }
    }
    let flows = flows_to(g, wrt);
    let one = g.apply(Fill { value: 1.0, shape: Vec::new() }, &[])?;
    let mut gradients = BTreeMap::from([(loss, one)]);
    for i in (0..=loss.0).rev() {
        let out = Var(i);
        let (Some(&dy), Value::Apply(op, args)) = (gradients.get(&out), g.nodes[i].value.clone()) else { continue };
        if !flows[i] {
            continue;
        }
        let needed: Vec<bool> = args.iter().map(|a| flows[a.0]).collect();
        let found = op.gradient(g, &Backward { args: &args, out, dy, needed: &needed })?;
        let receivers: Vec<Var> = args.iter().copied().filter(|a| flows[a.0]).collect();
        assert_eq!(found.len(), receivers.len(), "{} must give one gradient per needed argument", op.name());
        for (arg, d) in receivers.into_iter().zip(found) {
            collect(g, &mut gradients, arg, d)?;
        }
    }
    wrt.iter().map(|v| gradients.get(v).copied().ok_or(GraphError::Unused(v.0))).collect()
}
