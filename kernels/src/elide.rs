//! Copies that a step need not make.
//!
//! A fold is only judgeable if its operands lie in its order, so programs copy tensors into another layout before they fold them.
//! Where the reader can follow the original's layout just as well, it reads the original, and the copy is made only in a trace.

use lockstep_ir::{
    DType, Node, Operand, Program, Source,
    scalar::{Instr, Op},
};

/// A program in which some operands read the original of a copy, and which nodes are still needed.
pub(crate) struct Elided {
    pub(crate) program: Program,
    pub(crate) needed: Vec<bool>,
}

impl Elided {
    /// The program as it is, without the nodes that the state does not depend on.
    pub(crate) fn none(program: &Program) -> Self {
        Self { program: program.clone(), needed: needed(program) }
    }
}

/// Rewrites the operands of nodes that stay fast with them (`accepts` says which). `None` if there is nothing to win.
pub(crate) fn elide(program: &Program, accepts: impl Fn(&Node) -> bool) -> Option<Elided> {
    let mut out = program.clone();
    let mut changed = false;
    for number in 0..out.nodes.len() {
        for i in 0..out.nodes[number].operands.len() {
            let Some(operand) = original(&out, number, i) else { continue };
            let before = std::mem::replace(&mut out.nodes[number].operands[i], operand);
            if accepts(&out.nodes[number]) {
                changed = true;
            } else {
                out.nodes[number].operands[i] = before;
            }
        }
    }
    changed.then(|| Elided { needed: needed(&out), program: out })
}

/// Nodes that the state depends on.
pub(crate) fn needed(program: &Program) -> Vec<bool> {
    let mut needed = vec![false; program.nodes.len()];
    let mark = |s: Source, needed: &mut Vec<bool>| {
        if let Source::Node(i) = s {
            needed[i as usize] = true;
        }
    };
    program.state.iter().for_each(|s| mark(s.next, &mut needed));
    for (number, node) in program.nodes.iter().enumerate().rev() {
        if needed[number] {
            node.operands.iter().for_each(|o| mark(o.source, &mut needed));
        }
    }
    needed
}

/// Operand `i` of node `number`, reading what the copy that it reads was made from.
fn original(program: &Program, number: usize, i: usize) -> Option<Operand> {
    let node = &program.nodes[number];
    let reader = &node.operands[i];
    let Source::Node(copy) = reader.source else { return None };
    let copy = &program.nodes[copy as usize];
    let from = copied(copy)?;
    let width = 1 + node.domain.len() + node.fold_factors().len();
    let rows: Vec<&[i64]> = reader.access.chunks_exact(width).collect();
    let sizes: Vec<u32> = node.domain.iter().chain(node.fold_factors()).copied().collect();
    if !reader.gathers.is_empty() {
        return None;
    }
    if !rows.iter().zip(&reader.view).all(|(r, &n)| is_in_bounds(r, &sizes, n)) {
        return permuted(reader, &rows, from, &copy.domain);
    }
    let strides = strides(from, &copy.domain)?;
    let mut access = compose(&reader.view, &rows, &copy.domain, &strides.coefficients, width)?;
    access[0] = access[0].checked_add(strides.base)?;
    let elements = u32::try_from(from.decl.elements()?).ok()?;
    Some(Operand {
        source: from.source,
        decl: from.decl.clone(),
        view: vec![elements],
        access,
        gathers: Vec::new(),
        fill: 0,
        skip: false,
    })
}

/// A reader that runs out of a copy's bounds, of the original whose dimensions the copy has in another order: each is tested as before.
fn permuted(reader: &Operand, rows: &[&[i64]], from: &Operand, domain: &[u32]) -> Option<Operand> {
    let mut left: Vec<Option<&[i64]>> = rows.iter().copied().map(Some).collect();
    let mut access = Vec::with_capacity(reader.access.len());
    for (row, &extent) in from.access.chunks_exact(1 + domain.len()).zip(&from.view) {
        let d = row.iter().position(|&c| c != 0)?.checked_sub(1)?;
        let alone = row[1 + d] == 1 && row[2 + d..].iter().all(|&c| c == 0);
        access.extend(left[d].take().filter(|_| alone && extent == domain[d])?);
    }
    (reader.view == domain && left.iter().all(Option::is_none)).then(|| Operand {
        access,
        source: from.source,
        decl: from.decl.clone(),
        view: from.view.clone(),
        ..reader.clone()
    })
}

/// The operand of a node that stores what it loads, unchanged.
fn copied(node: &Node) -> Option<&Operand> {
    let [operand] = &node.operands[..] else { return None };
    let [Instr::Op { op: Op::Load, .. }] = node.finish[..] else { return None };
    let exact = matches!(node.out.dtype, DType::F32 | DType::I32 | DType::U32) || node.out.dtype == operand.decl.dtype;
    (node.fold.is_none() && exact && operand.gathers.is_empty()).then_some(operand)
}

/// A linear element index.
pub(crate) struct Strides {
    pub(crate) base: i64,
    pub(crate) coefficients: Vec<i64>,
}

/// Element index of the operand of a map, if it is in bounds everywhere.
pub(crate) fn strides(operand: &Operand, domain: &[u32]) -> Option<Strides> {
    let mut out = Strides { base: 0, coefficients: vec![0; domain.len()] };
    let mut stride = 1i64;
    let rows = operand.access.chunks_exact(1 + domain.len());
    for (row, &extent) in rows.zip(&operand.view).rev() {
        if !is_in_bounds(row, domain, extent) {
            return None;
        }
        out.base += stride * row[0];
        for (d, slot) in out.coefficients.iter_mut().enumerate().filter(|&(d, _)| domain[d] > 1) {
            *slot += stride * row[1 + d];
        }
        stride *= i64::from(extent);
    }
    Some(out)
}

pub(crate) fn is_in_bounds(row: &[i64], sizes: &[u32], extent: u32) -> bool {
    let (mut low, mut high) = (i128::from(row[0]), i128::from(row[0]));
    for (&c, &n) in row[1..].iter().zip(sizes) {
        let reach = i128::from(c) * i128::from(n - 1);
        *(if reach < 0 { &mut low } else { &mut high }) += reach;
    }
    low >= 0 && high < i128::from(extent)
}

/// The reader's address in the original. The reader's `view` and the copy's `domain` factor the same elements; where their factors
/// meet, a run of the copy's dimensions must have been walked through like one.
pub(crate) fn compose(
    view: &[u32],
    rows: &[&[i64]],
    domain: &[u32],
    strides: &[i64],
    width: usize,
) -> Option<Vec<i64>> {
    let mut access = vec![0i64; width];
    let (mut v, mut d) = (view.len(), domain.len());
    while v > 0 || d > 0 {
        // One group: dimensions from the inside on, until both have as many elements.
        let (mut in_view, mut in_domain) = (1u64, 1u64);
        let mut coordinate = vec![0i64; width];
        let mut walked: Option<(i64, i64)> = None;
        loop {
            if v > 0 && in_view <= in_domain {
                v -= 1;
                for (slot, &c) in coordinate.iter_mut().zip(rows[v]) {
                    *slot = slot.checked_add(c.checked_mul(i64::try_from(in_view).ok()?)?)?;
                }
                in_view *= u64::from(view[v]);
            } else if d > 0 {
                d -= 1;
                if domain[d] > 1 {
                    let (first, next) = walked.unwrap_or((strides[d], strides[d]));
                    if strides[d] != next {
                        return None;
                    }
                    walked = Some((first, strides[d].checked_mul(i64::from(domain[d]))?));
                }
                in_domain *= u64::from(domain[d]);
            }
            if in_view == in_domain && in_view > 1 || v == 0 && d == 0 {
                break;
            }
        }
        let stride = walked.map_or(0, |w| w.0);
        for (slot, &c) in access.iter_mut().zip(&coordinate) {
            *slot = slot.checked_add(c.checked_mul(stride)?)?;
        }
    }
    Some(access)
}
