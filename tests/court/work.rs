//! The job: the training program with its data, the honest run, and runs that lie.

use alloy_primitives::B256;
use lockstep_commit::{ProgramTree, roots};
use lockstep_dispute::{Job, Replay, TensorSet};
use lockstep_ir::Tensor;
use lockstep_sdk::run::{Fault, Run};
use lockstep_train::{JobFile, TrainingJob};

use crate::market::Subject;

/// Steps of the job.
pub(crate) const STEPS: u64 = 6;
/// Steps to a checkpoint.
pub(crate) const PER_CHECKPOINT: u64 = 3;

/// A job and what honest work on it gives.
pub(crate) struct Work {
    pub(crate) job: TrainingJob,
    pub(crate) hashes: ProgramTree,
    /// After 0 to [`STEPS`] steps.
    states: Vec<Vec<Tensor>>,
    pub(crate) initial_root: B256,
    pub(crate) data_root: B256,
}

impl Work {
    /// The digits job, with this many examples in a batch.
    pub(crate) fn new(batch: u32) -> Self {
        let job = TrainingJob::new(&JobFile { steps: STEPS as u32, batch, ..JobFile::default() }).unwrap();
        let mut run = Run::new(&job.program, job.data.clone(), 0, job.state.clone()).unwrap();
        let states = (0..=STEPS).map(|steps| run.checkpoint(steps).unwrap()).collect();
        Self {
            hashes: ProgramTree::new(&job.program),
            initial_root: roots::root_of_tensors(&job.state),
            data_root: roots::root_of_tensors(&job.data),
            job,
            states,
        }
    }

    /// What strategies need.
    pub(crate) fn parts(&self) -> Job<'_> {
        Job { program: &self.job.program, hashes: &self.hashes }
    }

    /// What its job is about.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { hashes: &self.hashes, initial_root: self.initial_root, data_root: self.data_root }
    }

    /// A run as defined.
    pub(crate) fn honest(&self) -> Run {
        let mut run = Run::new(&self.job.program, self.job.data.clone(), 0, self.states[0].clone()).unwrap();
        for (steps, state) in self.states.iter().enumerate().skip(1) {
            run.pin(steps as u64, state.clone());
        }
        run
    }

    /// A run that alters numbers in step `step`.
    pub(crate) fn faulty(&self, step: u64, faults: Vec<Fault>) -> Run {
        let mut run = Run::new(&self.job.program, self.job.data.clone(), 0, self.states[0].clone()).unwrap();
        for steps in 1..=step {
            run.pin(steps, self.states[steps as usize].clone());
        }
        run.with_faults(faults)
    }

    /// Index of a state tensor.
    pub(crate) fn state_index(&self, name: &str) -> u32 {
        self.job.state_names.iter().position(|n| n == name).unwrap() as u32
    }
}

/// Roots that a run would claim.
pub(crate) fn checkpoint_roots(run: &mut Run) -> Vec<B256> {
    (1..=STEPS / PER_CHECKPOINT).map(|i| run.state_root(i * PER_CHECKPOINT).unwrap()).collect()
}

/// Stored bits of one number of a node's output.
pub(crate) fn traced(run: &mut Run, step: u64, node: u32, element: u64) -> u32 {
    run.tensor(TensorSet::Trace { step }, node).unwrap().stored(element)
}
