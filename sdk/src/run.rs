//! A party's own run of a job: states at checkpoints, and on demand any state or trace in between.

use std::{collections::BTreeMap, convert::Infallible, ops::ControlFlow, sync::Arc};

use alloy::primitives::B256;
use lockstep_commit::{TensorTree, Tree, roots};
use lockstep_dispute::{Replay, TensorSet};
use lockstep_ir::{Program, Tensor};
use lockstep_kernels::Plan;

/// States kept beside the pinned ones while a dispute narrows down.
const KEPT_STATES: usize = 300;

/// A number altered on purpose, to show and to test that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An element of a node's output in one step; later nodes see it.
    Node {
        /// Step, from 0.
        step: u64,
        /// Node.
        node: u32,
        /// Element of its output.
        element: u64,
        /// Bits that are flipped.
        flip: u32,
    },
    /// An element of a state tensor after one step, whatever the nodes gave.
    State {
        /// Step, from 0.
        step: u64,
        /// State tensor.
        tensor: u32,
        /// Its element.
        element: u64,
        /// Bits that are flipped.
        flip: u32,
    },
}

impl Fault {
    fn step(self) -> u64 {
        match self {
            Self::Node { step, .. } | Self::State { step, .. } => step,
        }
    }
}

fn alter(tensor: &mut Tensor, element: u64, flip: u32) {
    if element < tensor.len() {
        tensor.set_stored(element, tensor.stored(element) ^ flip);
    }
}

/// The trace of one step, hashed.
struct Trace {
    step: u64,
    tensors: Vec<Arc<Tensor>>,
    trees: Vec<Arc<TensorTree>>,
    roots: Arc<Tree>,
}

/// Shared tensors of one set.
type Tensors = Arc<Vec<Arc<Tensor>>>;

/// A run of a job from some state on.
pub struct Run {
    plan: Plan,
    faults: Vec<Fault>,
    data: Arc<Vec<Tensor>>,
    states: BTreeMap<u64, Tensors>,
    roots: BTreeMap<u64, B256>,
    pinned: Vec<u64>,
    trace: Option<Trace>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("states", &self.states.keys()).field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// A run cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernels refuse a step.
    #[error(transparent)]
    Kernel(#[from] lockstep_kernels::Error),
    /// The state asked for lies before every state that is known.
    #[error("the state after {steps} steps is before the first known one; fetch an earlier checkpoint")]
    Before {
        /// The state asked for.
        steps: u64,
    },
    /// There is no such tensor.
    #[error("{set:?} has no tensor {index}")]
    NoTensor {
        /// The set asked for.
        set: TensorSet,
        /// The index asked for.
        index: u32,
    },
}

fn shared(tensors: Vec<Tensor>) -> Tensors {
    Arc::new(tensors.into_iter().map(Arc::new).collect())
}

fn owned(tensors: &Tensors) -> Vec<Tensor> {
    tensors.iter().map(|t| t.as_ref().clone()).collect()
}

impl Run {
    /// A run that starts from the state after `steps` steps.
    ///
    /// # Errors
    /// The program is refused.
    pub fn new(program: &Program, data: Vec<Tensor>, steps: u64, state: Vec<Tensor>) -> Result<Self, RunError> {
        let mut run = Self {
            plan: Plan::new(program)?,
            faults: Vec::new(),
            data: Arc::new(data),
            states: BTreeMap::new(),
            roots: BTreeMap::new(),
            pinned: Vec::new(),
            trace: None,
        };
        run.pin(steps, state);
        Ok(run)
    }

    /// The same run with a number altered.
    #[must_use]
    pub fn with_fault(self, fault: Option<Fault>) -> Self {
        self.with_faults(fault.into_iter().collect())
    }

    /// The same run with several numbers altered, in the order given.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// Adds a known state, which is kept.
    pub fn pin(&mut self, steps: u64, state: Vec<Tensor>) {
        self.states.insert(steps, shared(state));
        self.pinned.push(steps);
    }

    /// Runs up to `steps`, keeps that state, and gives it.
    ///
    /// # Errors
    /// The kernels refuse a step.
    pub fn checkpoint(&mut self, steps: u64) -> Result<Vec<Tensor>, RunError> {
        let state = owned(&self.state(steps)?);
        self.pinned.push(steps);
        Ok(state)
    }

    /// The root of the state after `steps` steps, computed once more from the kept state before it. An error of the machine that
    /// passes, a flipped bit of its memory, does not come again; a difference from somebody else's run does.
    ///
    /// # Errors
    /// The kernels refuse a step.
    pub fn repeat(&self, steps: u64) -> Result<B256, RunError> {
        let kept = self.states.range(..steps).rev().find(|(steps, _)| self.pinned.contains(steps));
        let (&from, state) = kept.ok_or(RunError::Before { steps })?;
        let mut state = owned(state);
        for step in from..steps {
            state = self.step(step, &state, &self.data)?;
        }
        Ok(roots::root_of_tensors(&state))
    }

    /// The state after `steps` steps, computed from the nearest known one before it.
    fn state(&mut self, steps: u64) -> Result<Tensors, RunError> {
        let (&from, state) = self.states.range(..=steps).next_back().ok_or(RunError::Before { steps })?;
        if from == steps {
            return Ok(state.clone());
        }
        let mut state = owned(state);
        let data = self.data.clone();
        for step in from..steps {
            state = self.step(step, &state, &data)?;
        }
        let state = shared(state);
        self.forget_states();
        self.states.insert(steps, state.clone());
        Ok(state)
    }

    fn forget_states(&mut self) {
        if self.states.len() > KEPT_STATES {
            let pinned = &self.pinned;
            self.states.retain(|steps, _| pinned.contains(steps));
        }
    }

    fn step(&self, step: u64, state: &[Tensor], data: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        if self.faults.iter().any(|fault| fault.step() == step) {
            return self.traced(step, state, data, |_, _| ());
        }
        Ok(self.plan.step(state, data)?)
    }

    /// Runs one step with every node's output shown to `see`, faults applied.
    fn traced(
        &self,
        step: u64,
        state: &[Tensor],
        data: &[Tensor],
        mut see: impl FnMut(usize, &Tensor),
    ) -> Result<Vec<Tensor>, RunError> {
        let faults: Vec<Fault> = self.faults.iter().copied().filter(|fault| fault.step() == step).collect();
        let traced = self.plan.trace(state, data, |index, output: &mut Tensor| {
            for &fault in &faults {
                if let Fault::Node { node, element, flip, .. } = fault
                    && node as usize == index
                {
                    alter(output, element, flip);
                }
            }
            see(index, output);
            ControlFlow::<Infallible>::Continue(())
        })?;
        let ControlFlow::Continue(mut next) = traced;
        for &fault in &faults {
            if let Fault::State { tensor, element, flip, .. } = fault
                && let Some(tensor) = next.get_mut(tensor as usize)
            {
                alter(tensor, element, flip);
            }
        }
        Ok(next)
    }

    fn trace(&mut self, step: u64) -> Result<&Trace, RunError> {
        if self.trace.as_ref().is_none_or(|t| t.step != step) {
            let state = owned(&self.state(step)?);
            let data = self.data.clone();
            let (mut tensors, mut trees) = (Vec::new(), Vec::new());
            self.traced(step, &state, &data, |_, output| {
                trees.push(Arc::new(TensorTree::new(output)));
                tensors.push(Arc::new(output.clone()));
            })?;
            let roots = Arc::new(roots::tree_of_trees(trees.iter().map(Arc::as_ref)));
            self.trace = Some(Trace { step, tensors, trees, roots });
        }
        self.trace.as_ref().ok_or(RunError::Before { steps: step })
    }

    fn set(&mut self, set: TensorSet) -> Result<Vec<Arc<Tensor>>, RunError> {
        match set {
            TensorSet::State { steps } => Ok(self.state(steps)?.to_vec()),
            TensorSet::Data => Ok(shared(self.data.to_vec()).to_vec()),
            TensorSet::Trace { step } => Ok(self.trace(step)?.tensors.clone()),
        }
    }
}

impl Replay for Run {
    type Error = RunError;

    fn state_root(&mut self, steps: u64) -> Result<B256, RunError> {
        if let Some(root) = self.roots.get(&steps) {
            return Ok(*root);
        }
        let state = self.state(steps)?;
        let root = roots::root_of_tensors(state.iter().map(Arc::as_ref));
        self.roots.insert(steps, root);
        Ok(root)
    }

    fn tensor(&mut self, set: TensorSet, index: u32) -> Result<Arc<Tensor>, RunError> {
        self.set(set)?.get(index as usize).cloned().ok_or(RunError::NoTensor { set, index })
    }

    fn roots(&mut self, set: TensorSet) -> Result<Arc<Tree>, RunError> {
        if let TensorSet::Trace { step } = set {
            return Ok(self.trace(step)?.roots.clone());
        }
        Ok(Arc::new(roots::tree_of_tensors(self.set(set)?.iter().map(Arc::as_ref))))
    }

    fn hashes(&mut self, set: TensorSet, index: u32) -> Result<Arc<TensorTree>, RunError> {
        if let TensorSet::Trace { step } = set {
            let tree = self.trace(step)?.trees.get(index as usize).cloned();
            return tree.ok_or(RunError::NoTensor { set, index });
        }
        Ok(Arc::new(TensorTree::new(self.tensor(set, index)?.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_ir::{
        DType,
        build::{NodeBuilder, ProgramBuilder, o},
        expr::{f, load},
    };

    use super::*;

    /// Adds one to every element.
    fn run() -> Run {
        let mut builder = ProgramBuilder::new();
        let x = builder.state(DType::F32, &[8]);
        let next =
            builder.node(NodeBuilder::new(DType::F32, &[8]).operand(x.at([o(0)])).finish(load(0) + f(1.0))).unwrap();
        builder.set(&x, &next);
        let program = builder.build().unwrap();
        let state = vec![Tensor::zeros(program.state[0].decl.clone()).unwrap()];
        Run::new(&program, vec![], 0, state).unwrap()
    }

    const FAULT: Fault = Fault::State { step: 4, tensor: 0, element: 2, flip: 8 };

    #[test]
    fn an_error_of_the_machine_that_passes_does_not_come_again() {
        let mut run = run().with_fault(Some(FAULT));
        run.checkpoint(3).unwrap();
        run.checkpoint(6).unwrap();
        let wrong = run.state_root(6).unwrap();
        run.faults.clear();
        assert_ne!(run.repeat(6).unwrap(), wrong);
        assert_eq!(run.repeat(3).unwrap(), run.state_root(3).unwrap());
    }

    #[test]
    fn a_run_that_is_repeated_gives_the_same() {
        let mut run = run().with_fault(Some(FAULT));
        run.checkpoint(3).unwrap();
        run.checkpoint(6).unwrap();
        assert_eq!(run.repeat(6).unwrap(), run.state_root(6).unwrap());
        assert!(matches!(run.repeat(0), Err(RunError::Before { steps: 0 })));
    }
}
