//! What judging a unit reads: the operands that its scalar programs load or gather through, and chunks of them.
//!
//! The referee reads every such operand at every place of the unit, before it knows whether another operand leaves the
//! body out there. The reference evaluator reads no more than it must. So the witness follows the referee: it is found by
//! evaluating a *probe*, the node with nothing to skip and a body that only loads.

use std::collections::BTreeSet;

use lockstep_ir::eval::{self, Operands, Recorder};
use lockstep_ir::program::Node;
use lockstep_ir::scalar::{Instr, Op};

use crate::referee::Unit;
use crate::state::UnitKind;

/// What a witness must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Operands whose root is proven, even if all their reads are out of bounds.
    pub operands: BTreeSet<usize>,
    /// `(operand, chunk)` of every chunk read.
    pub chunks: BTreeSet<(usize, u64)>,
}

/// What judging `unit` of a valid node reads. Values of operands matter only where something gathers through them.
#[must_use]
pub fn reads(node: &Node, unit: &Unit, operands: impl Operands) -> Reads {
    let probe = Probe::new(node, unit.kind);
    let mut recorder = Recorder::new(&probe.node, operands);
    probe.run(unit, &mut recorder);
    Reads { operands: probe.operands, chunks: recorder.chunks }
}

/// A node that only loads.
pub(crate) struct Probe {
    node: Node,
    pub(crate) operands: BTreeSet<usize>,
}

impl Probe {
    pub(crate) fn new(node: &Node, kind: UnitKind) -> Self {
        let mut probe = node.clone();
        let mut operands = BTreeSet::new();
        let mut only_load = |code: &mut Vec<Instr>, runs: bool| {
            let loaded = if runs { loaded(node, code) } else { BTreeSet::new() };
            *code = loaded.iter().map(|&operand| Instr::op(Op::Load, operand as u16, 0, 0)).collect();
            operands.extend(loaded);
        };
        let body_runs = matches!(kind, UnitKind::Element | UnitKind::Leaf);
        let finish_runs = matches!(kind, UnitKind::Element | UnitKind::Top);
        if let Some(fold) = &mut probe.fold {
            only_load(&mut fold.body, body_runs);
        }
        only_load(&mut probe.finish, finish_runs);
        probe.operands.iter_mut().for_each(|operand| operand.skip = false);
        Self { node: probe, operands }
    }

    pub(crate) fn run(&self, unit: &Unit, operands: &mut impl Operands) {
        let what = match unit.kind {
            UnitKind::Element => eval::Unit::Element,
            UnitKind::Leaf => eval::Unit::Leaf(unit.block_index),
            UnitKind::Top => eval::Unit::Top(vec![0]),
            UnitKind::Combine => return,
        };
        eval::unit(&self.node, operands, unit.element, &what);
    }
}

/// Operands that a scalar program loads, with those it gathers through.
fn loaded(node: &Node, code: &[Instr]) -> BTreeSet<usize> {
    let mut operands = BTreeSet::new();
    for instr in code {
        if let Instr::Op { op: Op::Load, a, .. } = *instr {
            let operand = usize::from(a);
            operands.insert(operand);
            operands.extend(node.operands[operand].gathers.iter().map(|gather| usize::from(gather.operand)));
        }
    }
    operands
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_ir::build::{NodeBuilder, ProgramBuilder, gather, k, o};
    use lockstep_ir::expr::{acc, load, rhs, u};
    use lockstep_ir::{DType, Order, Tensor};

    /// 300 values of `x` where `mask` reaches, from the place on that `index` names.
    fn node() -> Node {
        let mut p = ProgramBuilder::new();
        let x = p.state(DType::U32, &[600]);
        let mask = p.data(DType::U32, &[10]);
        let index = p.data(DType::U32, &[600]);
        let y = NodeBuilder::new(DType::U32, &[600])
            .operand(x.at([gather(2) + k(0)]))
            .operand(mask.at([k(0) + 290]).skip())
            .operand(index.at([o(0)]))
            .operand(x.at([o(0) + 5000]).fill(9))
            .fold(&[300], Order::Chain, u(0), acc().add(&load(0)).add(&load(1)))
            .combine(acc().add(&rhs()))
            .finish(acc().add(&load(3)));
        let y = p.node(y).unwrap();
        p.set(&x, &y);
        p.build().unwrap().nodes.remove(0)
    }

    fn of(kind: UnitKind, block_index: u64) -> Reads {
        let numbers = |n: u32| Tensor::from_u32(&[n], &(0..n).collect::<Vec<_>>()).unwrap();
        let (x, mask, index) = (numbers(600), numbers(10), numbers(600));
        reads(&node(), &Unit { kind, element: 3, block_index }, &[&x, &mask, &index, &x][..])
    }

    #[test]
    fn what_the_body_leaves_out_is_read_all_the_same() {
        let first = of(UnitKind::Leaf, 0);
        assert_eq!(first.operands, BTreeSet::from([0, 1, 2]));
        assert_eq!(
            first.chunks,
            BTreeSet::from([(0, 0), (0, 1), (2, 0)]),
            "the mask is out of bounds from 0 on, x is not"
        );
        assert_eq!(of(UnitKind::Leaf, 1).chunks, BTreeSet::from([(0, 1), (2, 0)]));
    }

    #[test]
    fn an_operand_out_of_bounds_is_proven_without_chunks() {
        let top = of(UnitKind::Top, 0);
        assert_eq!(top, Reads { operands: BTreeSet::from([3]), chunks: BTreeSet::new() });
        assert_eq!(of(UnitKind::Combine, 0), Reads::default());
    }
}
