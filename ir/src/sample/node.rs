//! Random nodes, most of them valid.

use alloc::{vec, vec::Vec};

use super::{Rng, any_dtype, any_tensor, code::Code};
use crate::{
    judge::depends_on_fold,
    program::{BLOCK, Fold, Gather, Node, Operand, Order, Program, Source, TensorDecl},
    scalar::{Instr, Op},
    types::{DType, MAX_RANK, Ty, element_count},
};

/// Appends a random node, with the tensors it reads where there are none.
pub(super) fn push(rng: &mut Rng, program: &mut Program, work: u64) {
    let length = fold_length(rng, work);
    let limit = (work / length.unwrap_or(1).max(1)).clamp(1, 2_000);
    let (few, many) = (1 + rng.below(6), 1 + rng.below(limit));
    let elements = rng.pick(&[1, few.min(limit), many]);
    let (shape, domain) = (rng.factors(elements), rng.factors(elements));
    let out = TensorDecl { dtype: any_dtype(rng), shape };
    let ty = rng.pick(&[Ty::F32, Ty::F32, Ty::I32, Ty::U32]);
    let fold = length.map(|k| {
        let factors = rng.factors(k);
        let factors = if factors.is_empty() { vec![1] } else { factors };
        let order = rng.pick(&[Order::Chain, Order::Lanes]);
        let init = if rng.once_in(2) { 0 } else { rng.value(ty) };
        Fold { factors, order, ty, init, body: Vec::new(), combine: Vec::new() }
    });
    let mut node = Node { out, domain, operands: Vec::new(), fold, finish: Vec::new() };
    operands(rng, program, &mut node);
    code(rng, &mut node);
    program.nodes.push(node);
}

fn fold_length(rng: &mut Rng, work: u64) -> Option<u64> {
    let (short, any) = (1 + rng.below(40), 1 + rng.below(work.min(70_000)));
    let around = 254 + rng.below(6);
    (!rng.once_in(3)).then(|| rng.pick(&[short, short, around.min(work), any]))
}

fn operands(rng: &mut Rng, program: &mut Program, node: &mut Node) {
    // Indices first, so that what follows can gather through them.
    let indices = [0, 0, 1, 2][rng.below(4) as usize];
    for _ in 0..indices {
        let dtype = rng.pick(&[DType::I32, DType::U32, DType::I8]);
        let op = operand(rng, program, node, dtype, 0);
        node.operands.push(op);
    }
    let count = rng.below(4) as usize + usize::from(indices > 0);
    for i in 0..count {
        let dtype = any_dtype(rng);
        let mut op = operand(rng, program, node, dtype, if i == 0 { indices } else { 0 });
        op.skip = node.fold.is_some() && rng.once_in(5);
        node.operands.push(op);
    }
}

/// An operand of this element type. The first `indices` operands of the node hold indices, which it gathers through.
fn operand(rng: &mut Rng, program: &mut Program, node: &Node, dtype: DType, indices: usize) -> Operand {
    let places: Vec<u32> = node.domain.iter().chain(node.fold_factors()).copied().collect();
    let known = tensors_of(program, dtype);
    let (source, decl, view, access) = if !known.is_empty() && rng.once_in(2) {
        let source = rng.pick(&known);
        let decl = program.decl(source).cloned().unwrap_or(TensorDecl { dtype, shape: vec![] });
        let elements = element_count(&decl.shape).unwrap_or(1);
        let view = if rng.once_in(2) { decl.shape.clone() } else { rng.factors(elements) };
        let access = view.iter().flat_map(|&extent| row(rng, &places, Some(extent)).0).collect();
        (source, decl, view, access)
    } else {
        let rank = rng.below(MAX_RANK as u64).min(places.len() as u64 + 1).max(u64::from(indices > 0)) as usize;
        let mut elements = 1;
        let mut view = Vec::new();
        let mut access = Vec::new();
        for _ in 0..rank {
            let (row, span) = row(rng, &places, None);
            let extent = (i64::from(span) + 2 - rng.below(4) as i64).clamp(1, 100_000 / elements);
            elements *= extent;
            view.push(extent as u32);
            access.extend(row);
        }
        let shape = if rng.once_in(2) { view.clone() } else { rng.factors(elements as u64) };
        let decl = TensorDecl { dtype, shape };
        (any_tensor(rng, program, decl.clone()), decl, view, access)
    };
    let mut gathers: Vec<Gather> = (0..indices.min(view.len()))
        .map(|operand| {
            let dim = if indices <= view.len() { operand } else { 0 };
            Gather { dim: dim as u8, operand: operand as u8, stride: rng.pick(&[1, 1, 2, -1]) }
        })
        .collect();
    gathers.truncate(view.len());
    let fill = if rng.once_in(2) { 0 } else { rng.value(dtype.ty()) };
    Operand { source, decl, view, access, gathers, fill, skip: false }
}

fn tensors_of(program: &Program, dtype: DType) -> Vec<Source> {
    let state = (0..program.state.len() as u32).map(Source::State);
    let data = (0..program.data.len() as u32).map(Source::Data);
    let nodes = (0..program.nodes.len() as u32).map(Source::Node);
    state.chain(data).chain(nodes).filter(|s| program.decl(*s).is_some_and(|d| d.dtype == dtype)).collect()
}

/// A row of the access matrix for a dimension of this extent, and the extent it would need.
fn row(rng: &mut Rng, places: &[u32], extent: Option<u32>) -> (Vec<i64>, u32) {
    let mut row = vec![0i64; 1 + places.len()];
    let mut span = 1u32;
    for _ in 0..[1, 1, 1, 2, 0][rng.below(5) as usize] {
        if places.is_empty() {
            break;
        }
        let at = rng.below(places.len() as u64) as usize;
        let reach = span.saturating_add(places[at] - 1);
        if extent.is_some_and(|extent| reach > extent.saturating_add(2)) || reach > 80_000 {
            continue;
        }
        let coefficient = rng.pick(&[1, 1, 1, 1, -1, -1, 2, 3]);
        span = span.saturating_add((places[at] - 1).saturating_mul(coefficient as i32 as u32 & 3).min(80_000));
        row[1 + at] = coefficient;
        if coefficient < 0 {
            row[0] += i64::from(places[at]) - 1;
        }
    }
    if rng.once_in(10) {
        row[0] += rng.pick(&[1, -1, 2]);
    }
    (row, span)
}

fn code(rng: &mut Rng, node: &mut Node) {
    let gathered = |n: &Node, i: usize| {
        n.operands.iter().any(|op| op.gathers.iter().any(|g| usize::from(g.operand) == i)) && !n.operands[i].skip
    };
    let mut in_body = Vec::new();
    let mut in_finish = Vec::new();
    for i in 0..node.operands.len() {
        let op = &node.operands[i];
        let through = op.gathers.iter().map(|g| usize::from(g.operand));
        let folded = op.skip || through.chain([i]).any(|j| depends_on_fold(node, j));
        // What is gathered through need not be loaded.
        if node.fold.is_some() && (folded || rng.once_in(2)) && !(gathered(node, i) && rng.once_in(2)) {
            in_body.push(i);
        } else if !folded {
            in_finish.push(i);
        }
    }
    let positions = [node.domain.len(), node.fold_factors().len()];
    let loads: Vec<Ty> = node.operands.iter().map(|o| o.decl.dtype.ty()).collect();
    let load = |code: &mut Code, which: &[usize]| {
        which.iter().for_each(|&i| _ = code.push(Instr::op(Op::Load, i as u16, 0, 0), loads[i]));
    };
    let mut finish = Code::new();
    if let Some(fold) = &mut node.fold {
        let mut body = Code::new();
        body.push(Instr::op(Op::Acc, 0, 0, 0), fold.ty);
        load(&mut body, &in_body);
        position(rng, &mut body, positions);
        (0..rng.below(3)).for_each(|_| body.operation(rng));
        fold.body = body.finish(rng, fold.ty, 1, true);
        if fold.order == Order::Lanes || fold.length().is_some_and(|k| k > BLOCK) {
            let mut combine = Code::new();
            combine.push(Instr::op(Op::Acc, 0, 0, 0), fold.ty);
            combine.push(Instr::op(Op::Rhs, 0, 0, 0), fold.ty);
            fold.combine = combine.finish(rng, fold.ty, 0, true);
        }
        finish.push(Instr::op(Op::Acc, 0, 0, 0), fold.ty);
    }
    load(&mut finish, &in_finish);
    position(rng, &mut finish, [positions[0], 0]);
    (0..1 + rng.below(12)).for_each(|_| finish.operation(rng));
    node.finish = finish.finish(rng, node.out.dtype.ty(), 4, false);
}

/// Sometimes reads where it is.
fn position(rng: &mut Rng, code: &mut Code, [domain, fold]: [usize; 2]) {
    if domain > 0 && rng.once_in(3) {
        code.push(Instr::op(Op::Coord, rng.below(domain as u64) as u16, 0, 0), Ty::U32);
    }
    if fold > 0 && rng.once_in(4) {
        code.push(Instr::op(Op::Kf, rng.below(fold as u64) as u16, 0, 0), Ty::U32);
    }
    if fold > 0 && rng.once_in(4) {
        code.push(Instr::op(Op::K, 0, 0, 0), Ty::U32);
    }
}
