//! A run kept in memory as a whole: for tests, and for jobs small enough.

use std::sync::Arc;

use alloy_primitives::B256;
use lockstep_commit::{Tree, roots};
use lockstep_ir::tensor::Tensor;

use crate::replay::{Replay, TensorSet};

/// The run in memory does not reach that far. Run more steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{set:?} has no tensor {index} in this run; run more steps")]
pub struct OutsideRun {
    /// What was asked for.
    pub set: TensorSet,
    /// Which tensor of it.
    pub index: u32,
}

#[derive(Clone, Debug)]
struct Hashed {
    tensors: Vec<Arc<Tensor>>,
    tree: Arc<Tree>,
}

impl Hashed {
    fn new(tensors: Vec<Tensor>) -> Self {
        let tree = Arc::new(roots::tree_of_tensors(&tensors));
        Self { tensors: tensors.into_iter().map(Arc::new).collect(), tree }
    }
}

/// Every state and every trace of a run.
#[derive(Clone, Debug)]
pub struct MemoryReplay {
    data: Hashed,
    states: Vec<Hashed>,
    traces: Vec<Hashed>,
}

impl MemoryReplay {
    /// A run that starts from `state` at step 0.
    #[must_use]
    pub fn new(state: Vec<Tensor>, data: Vec<Tensor>) -> Self {
        Self { data: Hashed::new(data), states: vec![Hashed::new(state)], traces: vec![] }
    }

    /// Appends a step: the outputs of its nodes, and the state after it.
    pub fn push(&mut self, trace: Vec<Tensor>, state: Vec<Tensor>) {
        self.traces.push(Hashed::new(trace));
        self.states.push(Hashed::new(state));
    }

    fn set(&self, set: TensorSet) -> Result<&Hashed, OutsideRun> {
        let at = |sets: &'_ [Hashed], at: u64| usize::try_from(at).ok().filter(|&at| at < sets.len());
        let found = match set {
            TensorSet::Data => Some(&self.data),
            TensorSet::State { steps } => at(&self.states, steps).map(|at| &self.states[at]),
            TensorSet::Trace { step } => at(&self.traces, step).map(|at| &self.traces[at]),
        };
        found.ok_or(OutsideRun { set, index: 0 })
    }
}

impl Replay for MemoryReplay {
    type Error = OutsideRun;

    fn state_root(&mut self, steps: u64) -> Result<B256, OutsideRun> {
        Ok(self.set(TensorSet::State { steps })?.tree.root())
    }

    fn tensor(&mut self, set: TensorSet, index: u32) -> Result<Arc<Tensor>, OutsideRun> {
        self.set(set)?.tensors.get(index as usize).cloned().ok_or(OutsideRun { set, index })
    }

    fn roots(&mut self, set: TensorSet) -> Result<Arc<Tree>, OutsideRun> {
        Ok(self.set(set)?.tree.clone())
    }
}
