//! A training job as the rest of the system takes it: a program, its first state, its data, and a way to score the result.

use lockstep_ir::{DType, Program, Tensor, tensor::TensorError};
use lockstep_kernels::Plan;

use crate::{
    data::{CLASSES, DataError, Digits, Examples, PIXELS},
    grad::gradients,
    graph::{Graph, GraphError, Var},
    job_file::{Dataset, JobFile, JobFileError, Model},
    lower::{LowerError, lower},
    model::Mlp,
    ops::{Increment, Sample},
    optim::Sgd,
    philox,
};

/// Why there is no job, or no score.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The description is wrong. Fix the job file.
    #[error(transparent)]
    File(#[from] JobFileError),
    /// The data set cannot be read. Give up: the program was built with damaged data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model does not fit together. Fix its sizes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model does not become an acceptable program. Fix its sizes.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// A tensor's shape is refused. Fix the model's sizes.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The score cannot be computed on this machine; the message says what to do.
    #[error(transparent)]
    Kernels(#[from] lockstep_kernels::Error),
    /// A state that is not one of this job. Fetch the right one.
    #[error("the state does not belong to this job: {0}")]
    State(String),
}

/// How many of the held-out examples a state classifies correctly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accuracy {
    /// Right answers.
    pub correct: u32,
    /// Examples.
    pub total: u32,
}

impl Accuracy {
    /// Right answers as a part of 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.correct) / f64::from(self.total)
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} % ({} of {})", 100.0 * self.fraction(), self.correct, self.total)
    }
}

/// Everything that training takes, and what scoring takes.
#[derive(Clone, Debug)]
pub struct TrainingJob {
    /// One step.
    pub program: Program,
    /// State before the first step: parameters, momenta, `step`, `rng_key`, and last `loss`.
    pub state: Vec<Tensor>,
    /// Training images `f32[1437,64]` and labels `u32[1437]`.
    pub data: Vec<Tensor>,
    /// Name of every state tensor.
    pub state_names: Vec<String>,
    /// Name of every data tensor.
    pub data_names: Vec<String>,
    /// Operation that every node of the program belongs to.
    pub node_names: Vec<String>,
    /// How many steps.
    pub steps: u32,
    scorer: Scorer,
}

/// The model without its training, over the held-out examples.
#[derive(Clone, Debug)]
struct Scorer {
    /// State: the parameters, then the logits.
    program: Program,
    held_out: Examples,
    logits: Tensor,
}

impl TrainingJob {
    /// Builds the job that a job file describes.
    ///
    /// # Errors
    /// A value is out of range, or the program would break a rule of docs/protocol.md.
    pub fn new(file: &JobFile) -> Result<Self, JobError> {
        file.check()?;
        let Dataset::Digits = file.dataset;
        let digits = Digits::load()?;
        let Model::Mlp = file.model;
        let model = Mlp { widths: [&[PIXELS], &file.hidden[..], &[CLASSES]].concat() };

        let graph = step_graph(&model, file, &digits.train)?;
        let lowered = lower(&graph)?;
        Ok(Self {
            program: lowered.program,
            state: first_state(&model, file.seed)?,
            data: vec![digits.train.images, digits.train.labels],
            state_names: graph.state_names(),
            data_names: graph.data_names(),
            node_names: lowered.node_names,
            steps: file.steps,
            scorer: Scorer::new(&model, digits.test)?,
        })
    }

    /// Scores a state of this job, such as a downloaded one, on examples that training does not see.
    ///
    /// # Errors
    /// The state's tensors are not those of this job, or this machine cannot run the kernels.
    pub fn accuracy(&self, state: &[Tensor]) -> Result<Accuracy, JobError> {
        self.check_state(state)?;
        self.scorer.accuracy(state)
    }

    /// Average loss of the last batch of a state of this job; 0 before the first step.
    ///
    /// # Errors
    /// The state's tensors are not those of this job.
    pub fn loss(&self, state: &[Tensor]) -> Result<f32, JobError> {
        self.check_state(state)?;
        Ok(state.last().map_or(0.0, |loss| f32::from_bits(loss.stored(0))))
    }

    fn check_state(&self, state: &[Tensor]) -> Result<(), JobError> {
        let (expected, got) = (self.program.state.len(), state.len());
        if expected != got {
            return Err(JobError::State(format!("it has {got} tensors, {expected} are needed")));
        }
        let mut wrong = self.program.state.iter().zip(state).zip(&self.state_names);
        match wrong.find(|((d, t), _)| d.decl != *t.decl()) {
            None => Ok(()),
            Some(((d, t), name)) => {
                let (expected, got) = (crate::graph::text(&d.decl), crate::graph::text(t.decl()));
                Err(JobError::State(format!("`{name}` should be {expected}, got {got}")))
            }
        }
    }
}

/// The batch of the step: images and labels.
fn batch(g: &mut Graph, file: &JobFile, train: &Examples, step: Var, key: Var) -> Result<(Var, Var), GraphError> {
    let images = g.data("train.images", DType::F32, &train.images.decl().shape)?;
    let labels = g.data("train.labels", DType::U32, &train.labels.decl().shape)?;
    let index = g.apply(Sample { count: file.batch, below: train.labels.len() as u32 }, &[step, key])?;
    Ok((g.gather_rows(images, index)?, g.gather_rows(labels, index)?))
}

/// One step: choose a batch, forward, backward, update.
fn step_graph(model: &Mlp, file: &JobFile, train: &Examples) -> Result<Graph, GraphError> {
    let sgd = Sgd { learning_rate: file.learning_rate, momentum: file.momentum };
    let mut g = Graph::new();
    let layers = model.declare(&mut g)?;
    let parameters: Vec<Var> = layers.iter().flat_map(|l| [l.weight, l.bias]).collect();
    let named: Vec<(String, Var)> = g.state_names().into_iter().zip(parameters.iter().copied()).collect();
    let momenta = sgd.declare(&mut g, &named)?;
    let step = g.state("step", DType::U32, &[])?;
    let key = g.state("rng_key", DType::U32, &[2])?;
    let last_loss = g.state("loss", DType::F32, &[])?;

    let (images, labels) = batch(&mut g, file, train, step, key)?;
    let logits = model.forward(&mut g, images, &layers)?;
    let losses = g.softmax_cross_entropy(logits, labels)?;
    let loss = g.mean(losses)?;
    let found = gradients(&mut g, loss, &parameters)?;
    for ((&p, &m), &d) in parameters.iter().zip(&momenta).zip(&found) {
        sgd.update(&mut g, p, m, d)?;
    }
    let next_step = g.apply(Increment, &[step])?;
    g.set(step, next_step)?;
    g.set(key, key)?;
    g.set(last_loss, loss)?;
    Ok(g)
}

/// The state before the first step, in the order of [`step_graph`].
fn first_state(model: &Mlp, seed: u64) -> Result<Vec<Tensor>, TensorError> {
    let key = philox::key(seed);
    let mut state = model.init(key)?;
    let momenta = state.iter().map(|p| Tensor::zeros(p.decl().clone())).collect::<Result<Vec<_>, _>>()?;
    state.extend(momenta);
    state.push(Tensor::from_u32(&[], &[0])?);
    state.push(Tensor::from_u32(&[2], &key)?);
    state.push(Tensor::from_f32(&[], &[0.0])?);
    Ok(state)
}

impl Scorer {
    fn new(model: &Mlp, held_out: Examples) -> Result<Self, JobError> {
        let mut g = Graph::new();
        let layers = model.declare(&mut g)?;
        let images = g.data("test.images", DType::F32, &held_out.images.decl().shape)?;
        let logits = model.forward(&mut g, images, &layers)?;
        let shape = g.decl(logits)?.shape.clone();
        let slot = g.state("logits", DType::F32, &shape)?;
        g.set(slot, logits)?;
        for p in layers.iter().flat_map(|l| [l.weight, l.bias]) {
            g.set(p, p)?;
        }
        let logits = Tensor::zeros(g.decl(slot)?.clone())?;
        Ok(Self { program: lower(&g)?.program, held_out, logits })
    }

    fn accuracy(&self, state: &[Tensor]) -> Result<Accuracy, JobError> {
        let parameters = self.program.state.len() - 1;
        let inputs = [&state[..parameters], std::slice::from_ref(&self.logits)].concat();
        let after = Plan::new(&self.program)?.step(&inputs, std::slice::from_ref(&self.held_out.images))?;
        let labels = &self.held_out.labels;
        let right = (0..labels.len()).filter(|&i| answer(&after[parameters], i) == Some(labels.stored(i)));
        Ok(Accuracy { correct: right.count() as u32, total: labels.len() as u32 })
    }
}

/// The class with the largest logit in this row, the first of equals; none in a row of NaNs, as a diverged model gives.
fn answer(logits: &Tensor, row: u64) -> Option<u32> {
    let logit = |class: u32| f32::from_bits(logits.stored(row * u64::from(CLASSES) + u64::from(class)));
    let larger = |best: Option<u32>, class| match best {
        Some(b) if logit(b) >= logit(class) => best,
        _ => Some(class),
    };
    (0..CLASSES).filter(|&class| !logit(class).is_nan()).fold(None, larger)
}
