//! Folds over more than 256 values: a lie in one block's result, or in what follows from right ones.

use std::sync::Arc;

use alloy_primitives::B256;
use lockstep_commit::{TensorTree, Tree};
use lockstep_dispute::{Replay, Side, TensorSet, UnitKind, layout::BlockList};
use lockstep_ir::{Tensor, program::Node};
use lockstep_sdk::run::{Fault, Run, RunError};

use crate::chain::Chain;
use crate::game::Game;
use crate::market::{CONVICTED, Claimed};
use crate::work::{STEPS, Work, checkpoint_roots};

/// A run whose block results are altered where it is asked for them.
struct LyingBlocks {
    run: Run,
    /// Which of the posted results.
    child: Option<usize>,
}

impl Replay for LyingBlocks {
    type Error = RunError;

    fn state_root(&mut self, steps: u64) -> Result<B256, RunError> {
        self.run.state_root(steps)
    }

    fn tensor(&mut self, set: TensorSet, index: u32) -> Result<Arc<Tensor>, RunError> {
        self.run.tensor(set, index)
    }

    fn roots(&mut self, set: TensorSet) -> Result<Arc<Tree>, RunError> {
        self.run.roots(set)
    }

    fn hashes(&mut self, set: TensorSet, index: u32) -> Result<Arc<TensorTree>, RunError> {
        self.run.hashes(set, index)
    }

    fn blocks(&mut self, node: &Node, step: u64, element: u64, list: BlockList) -> Result<Vec<u32>, RunError> {
        let mut values = self.run.blocks(node, step, element, list)?;
        if let Some(child) = self.child {
            values[child] ^= 1;
        }
        Ok(values)
    }
}

#[test]
fn a_lie_inside_a_long_fold_is_convicted_wherever_it_is() {
    let work = Work::new(300);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let nodes = || work.job.program.nodes.iter().enumerate();
    let long: Vec<(usize, &Node)> = nodes().filter(|(_, node)| node.fold_length() > 256).collect();
    assert!(long.len() >= 4, "gradients and the mean fold over the batch");
    for (index, node) in long {
        let last = node.out.elements().unwrap() - 1;
        for (child, element) in [(None, 0), (Some(0), last), (Some(1), last / 2)] {
            let (step, node) = (index as u64 % STEPS, index as u32);
            let faults = vec![
                Fault::Node { step, node, element, flip: 1 },
                Fault::State { step, tensor: work.state_index("rng_key"), element: 0, flip: 1 },
            ];
            let mut cheat = LyingBlocks { run: work.faulty(step, faults), child };
            let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat.run));
            let mut game = Game::open(&mut chain, &work, &claimed, (step / 3) as u32);
            let winner = game.finish(&mut chain, work.parts(), &mut cheat, &mut honest, 3);
            let judged = game.judged.clone().unwrap();
            assert_eq!((winner, judged.node, judged.element), (Side::Challenger, node, element), "block {child:?}");
            let (unit, block) = child.map_or((UnitKind::Top, 0), |child| (UnitKind::Leaf, child as u64));
            assert_eq!((judged.unit_kind, judged.block_index), (unit, block), "node {node}, element {element}");
            assert_eq!(claimed.status(&mut chain), CONVICTED);
        }
    }
}
