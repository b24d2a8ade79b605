//! What a party knows from running the job itself.

use std::sync::Arc;

use alloy_primitives::B256;
use lockstep_commit::{TensorTree, Tree};
use lockstep_ir::eval::Element;
use lockstep_ir::program::{BLOCK, Fold, Node, Source, level_count};
use lockstep_ir::tensor::Tensor;

use crate::layout::BlockList;

/// Tensors that are committed to together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorSet {
    /// The state after the first `steps` steps of the job.
    State {
        /// Steps done; 0 is the initial state.
        steps: u64,
    },
    /// The job's data.
    Data,
    /// Outputs of all nodes of the step with this number, counted from 0. It leads from `State { steps: step }` to
    /// `State { steps: step + 1 }`.
    Trace {
        /// Which step.
        step: u64,
    },
}

impl TensorSet {
    /// Where a source of step `step` is found: the set and the index in it.
    #[must_use]
    pub fn of(source: Source, step: u64) -> (Self, u32) {
        match source {
            Source::State(index) => (Self::State { steps: step }, index),
            Source::Data(index) => (Self::Data, index),
            Source::Node(index) => (Self::Trace { step }, index),
        }
    }
}

/// A party's own run of the job. Whatever lies within the segment in dispute is asked for, nothing else; answers may be
/// computed when asked, from the checkpoint before, and kept. A game asks for states all over the segment while it looks for the
/// step, then only for one step: its trace, the state before it and the state after it.
pub trait Replay {
    /// Why an answer cannot be given.
    type Error: std::error::Error;

    /// Root of the state after the first `steps` steps of the job.
    ///
    /// # Errors
    /// The step cannot be computed or read.
    fn state_root(&mut self, steps: u64) -> Result<B256, Self::Error>;

    /// One tensor of a set. For a trace this is called for a handful of nodes.
    ///
    /// # Errors
    /// The tensor cannot be computed or read.
    fn tensor(&mut self, set: TensorSet, index: u32) -> Result<Arc<Tensor>, Self::Error>;

    /// Tree over the roots of all tensors of a set.
    ///
    /// # Errors
    /// The set cannot be computed or read.
    fn roots(&mut self, set: TensorSet) -> Result<Arc<Tree>, Self::Error>;

    /// Chunk tree of one tensor of a set. Hashes the tensor each time unless overridden.
    ///
    /// # Errors
    /// As for [`Replay::tensor`].
    fn hashes(&mut self, set: TensorSet, index: u32) -> Result<Arc<TensorTree>, Self::Error> {
        Ok(Arc::new(TensorTree::new(&*self.tensor(set, index)?)))
    }

    /// Block results of element `element` of the output of `node` in step `step`, as accumulator bits. Evaluated by the
    /// reference unless overridden.
    ///
    /// # Errors
    /// As for [`Replay::tensor`].
    fn blocks(&mut self, node: &Node, step: u64, element: u64, list: BlockList) -> Result<Vec<u32>, Self::Error> {
        let operands = operands(self, node, step)?;
        let operands: Vec<&Tensor> = operands.iter().map(Arc::as_ref).collect();
        Ok(evaluate_blocks(node, &operands, element, list))
    }
}

/// The tensors that the operands of a node read.
pub(crate) fn operands<R: Replay + ?Sized>(
    replay: &mut R,
    node: &Node,
    step: u64,
) -> Result<Vec<Arc<Tensor>>, R::Error> {
    let tensor = |operand: &lockstep_ir::program::Operand| {
        let (set, index) = TensorSet::of(operand.source, step);
        replay.tensor(set, index)
    };
    node.operands.iter().map(tensor).collect()
}

/// Block results by the reference evaluator; `operands[i]` is the tensor that operand `i` reads. Nothing for a map.
#[must_use]
pub fn evaluate_blocks(node: &Node, operands: &[&Tensor], element: u64, list: BlockList) -> Vec<u32> {
    let Some(fold) = &node.fold else { return vec![] };
    let mut operands = operands;
    let mut element = Element::new(node, &mut operands, element);
    let length = node.fold_length();
    (list.first..list.first + list.count).map(|index| block(&mut element, fold, length, list.level, index)).collect()
}

fn block(element: &mut Element<'_, &[&Tensor]>, fold: &Fold, length: u64, level: u32, index: u64) -> u32 {
    if level <= 1 {
        return element.leaf_block(fold, index);
    }
    let children = index * BLOCK..level_count(length, level - 1).min((index + 1) * BLOCK);
    let values: Vec<u32> = children.map(|child| block(element, fold, length, level - 1, child)).collect();
    element.combine_block(fold, &values)
}
