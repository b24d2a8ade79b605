//! Which programs are accepted. Everyone validates before acting on a program, so that nobody meets a node that the referee refuses.

mod code;
mod rule;

use alloc::{format, string::String, vec::Vec};

pub use rule::{Invalid, Rule};

use crate::{
    judge::{self, Cost, MAX_PROGRAM_PATTERNS, Sources},
    number::canonical,
    program::{Node, Operand, Program, Source, TensorDecl},
    types::{MAX_RANK, Ty, element_count, shape_text},
};

/// Most operands of a node.
pub const MAX_OPERANDS: usize = 16;
/// Most nodes, state tensors, data tensors of a program, each.
pub const MAX_TENSORS: usize = 65_536;

/// A shape in a message: one that is far too long is not written out.
fn text(shape: &[u32]) -> String {
    if shape.len() <= 2 * MAX_RANK { shape_text(shape) } else { format!("[… {} dimensions …]", shape.len()) }
}

fn decl_text(d: &TensorDecl) -> String {
    format!("{}{}", d.dtype, text(&d.shape))
}

fn shape(what: &'static str, s: &[u32]) -> Result<u64, Rule> {
    let n = if s.len() <= MAX_RANK { element_count(s) } else { None };
    n.ok_or_else(|| Rule::Shape { what, shape: text(s) })
}

/// Checks a whole program.
///
/// # Errors
/// The first rule broken, with the node.
pub fn validate(program: &Program) -> Result<Vec<Cost>, Invalid> {
    let counts =
        [("nodes", program.nodes.len()), ("state tensors", program.state.len()), ("data tensors", program.data.len())];
    for (what, got) in counts {
        if got > MAX_TENSORS {
            return Err(Invalid::TooMany { what, got });
        }
        if got == 0 && what != "data tensors" {
            return Err(Invalid::Empty(what));
        }
    }
    let declared = (program.state.iter().map(|s| &s.decl).enumerate().map(|(i, d)| (Source::State(i as u32), d)))
        .chain(program.data.iter().enumerate().map(|(i, d)| (Source::Data(i as u32), d)));
    for (at, decl) in declared {
        shape("tensor", &decl.shape).map_err(|_| Invalid::Shape { at, shape: text(&decl.shape) })?;
    }
    let mut patterns = 0;
    let mut costs = Vec::with_capacity(program.nodes.len());
    for i in 0..program.nodes.len() {
        let cost = node(program, i).map_err(|rule| Invalid::Node { node: i, rule })?;
        patterns += cost.patterns;
        if patterns > MAX_PROGRAM_PATTERNS {
            return Err(Invalid::Patterns { node: i });
        }
        costs.push(cost);
    }
    for (state, s) in program.state.iter().enumerate() {
        if program.decl(s.next) != Some(&s.decl) {
            return Err(Invalid::Next { state: state as u32, next: s.next });
        }
    }
    Ok(costs)
}

fn node(program: &Program, number: usize) -> Result<Cost, Rule> {
    let n = &program.nodes[number];
    let elements = shape("output", &n.out.shape)?;
    if shape("domain", &n.domain)? != elements {
        let (got, expected) = (text(&n.domain), text(&n.out.shape));
        return Err(Rule::Elements { what: "domain", got, expected });
    }
    if let Some(fold) = &n.fold {
        let refused = || Rule::Shape { what: "fold", shape: text(&fold.factors) };
        shape("fold", &fold.factors)?;
        if fold.factors.is_empty() {
            return Err(refused());
        }
        fold.length().ok_or_else(refused)?;
    }
    if n.operands.len() > MAX_OPERANDS {
        return Err(Rule::TooManyOperands(n.operands.len()));
    }
    for i in 0..n.operands.len() {
        operand(program, number, i)?;
    }
    code::check(n)?;
    judge::cost(n, &Sources::of(program))
}

fn operand(program: &Program, number: usize, i: usize) -> Result<(), Rule> {
    let n = &program.nodes[number];
    let op = &n.operands[i];
    let exists = !matches!(op.source, Source::Node(j) if j as usize >= number);
    let source = program.decl(op.source).filter(|_| exists);
    let source = source.ok_or(Rule::NoSource { operand: i, from: op.source })?;
    if *source != op.decl {
        let (got, expected) = (decl_text(&op.decl), decl_text(source));
        return Err(Rule::Declaration { operand: i, from: op.source, got, expected });
    }
    if shape("view", &op.view)? != shape("operand", &op.decl.shape)? {
        let (got, expected) = (text(&op.view), text(&op.decl.shape));
        return Err(Rule::Elements { what: "view", got, expected });
    }
    let width = 1 + n.domain.len() + n.fold_factors().len();
    if op.access.len() != op.view.len() * width {
        return Err(Rule::Access { operand: i, got: op.access.len(), expected: op.view.len() * width });
    }
    if op.decl.dtype.ty() == Ty::F32 && canonical(op.fill) != op.fill {
        return Err(Rule::Nan("fill"));
    }
    gathers(n, i)?;
    for (dim, row) in op.access.chunks_exact(width).enumerate() {
        if coordinate_bound(n, op, dim, row) > i128::from(i64::MAX) {
            return Err(Rule::CoordinateRange { operand: i, dim });
        }
    }
    Ok(())
}

fn gathers(n: &Node, i: usize) -> Result<(), Rule> {
    let op = &n.operands[i];
    let mut next = 0;
    for g in &op.gathers {
        let index = n.operands.get(usize::from(g.operand));
        let fits = index.is_some_and(|x| x.decl.dtype.ty() != Ty::F32 && x.gathers.is_empty() && !x.skip);
        if !fits || usize::from(g.dim) < next || usize::from(g.dim) >= op.view.len() {
            return Err(Rule::Gather { operand: i });
        }
        next = usize::from(g.dim) + 1;
    }
    Ok(())
}

/// Largest magnitude that coordinate `dim`, or any partial sum of it, can reach.
fn coordinate_bound(n: &Node, op: &Operand, dim: usize, row: &[i64]) -> i128 {
    let places = n.domain.iter().chain(n.fold_factors());
    let affine: i128 = row[1..].iter().zip(places).map(|(&c, &x)| i128::from(c).abs() * i128::from(x - 1)).sum();
    let gather: i128 = (op.gathers.iter().filter(|g| usize::from(g.dim) == dim))
        .map(|g| i128::from(g.stride).abs() * i128::from(u32::MAX))
        .sum();
    i128::from(row[0]).abs() + affine + gather
}
