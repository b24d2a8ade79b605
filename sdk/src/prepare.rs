//! A job's program, first state and data: fetched, checked against the job's roots, validated.

use std::sync::{Arc, Mutex};

use alloy::primitives::B256;
use lockstep_ir::{Program, Tensor, TensorDecl, validate};

use crate::{
    artifact::{Fetcher, Kind},
    client::{Client, JobSpec},
    error::Error,
    run::{Run, RunError},
};

/// Everything a job fixes, on this machine.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its number.
    pub job_id: u64,
    /// Its terms.
    pub spec: JobSpec,
    /// The program, valid and judgeable.
    pub program: Arc<Program>,
    /// State before the first step.
    pub state: Vec<Tensor>,
    /// Data.
    pub data: Vec<Tensor>,
}

/// Types and shapes of a program's state.
#[must_use]
pub fn state_decls(program: &Program) -> Vec<TensorDecl> {
    program.state.iter().map(|s| s.decl.clone()).collect()
}

impl Prepared {
    /// Fetches what job `job_id` names, from its own address and from `mirrors`.
    ///
    /// # Errors
    /// The job is unknown or names a referee of its own, nobody serves what it names, or its program is refused.
    pub async fn fetch(client: &Client, fetcher: &Fetcher, job_id: u64, mirrors: &[String]) -> Result<Self, Error> {
        let spec = client.spec(job_id).await?;
        // A job names its judge. One that nobody here knows could convict whom it likes.
        let known = client.deployment().referee;
        if spec.referee != known {
            let reason = format!("its referee is {}, the deployment's is {known}", spec.referee);
            return Err(Error::Unfit { job_id, reason });
        }
        let urls: Vec<String> = std::iter::once(spec.uri.clone()).chain(mirrors.iter().cloned()).collect();
        let program = fetcher.fetch_program(&urls, spec.programRoot).await?;
        validate(&program)?;
        let state = fetcher.fetch_tensors(&urls, Kind::State, spec.initialStateRoot, &state_decls(&program)).await?;
        let data = fetcher.fetch_tensors(&urls, Kind::Data, spec.dataRoot, &program.data).await?;
        for tensor in state.iter().chain(&data) {
            tensor.check_nans().map_err(|e| Error::Unfit { job_id, reason: e.to_string() })?;
        }
        Ok(Self { job_id, spec, program: Arc::new(program), state, data })
    }

    /// A run from the first state.
    ///
    /// # Errors
    /// The kernels refuse the program.
    pub fn run(&self) -> Result<Run, RunError> {
        Run::new(&self.program, self.data.clone(), 0, self.state.clone())
    }
}

/// The root after `steps` steps, computed once more in the background: see [`Run::repeat`].
///
/// # Errors
/// The kernels refuse a step, or the background task stopped.
pub async fn repeat(run: &Arc<Mutex<Run>>, steps: u64) -> Result<B256, Error> {
    let run = run.clone();
    let work = move || run.lock().unwrap_or_else(std::sync::PoisonError::into_inner).repeat(steps);
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| Error::Task(e.to_string()))?;
    done.map_err(Error::from)
}

/// Runs to every checkpoint, in the background, and gives the states with their roots.
///
/// # Errors
/// The kernels refuse a step, or the background task stopped.
pub async fn checkpoints(run: &Arc<Mutex<Run>>, steps: Vec<u64>) -> Result<Vec<(B256, Vec<Tensor>)>, Error> {
    let run = run.clone();
    let work = move || {
        let mut run = run.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let state = |s: u64| {
            let state = run.checkpoint(s)?;
            Ok((lockstep_commit::roots::root_of_tensors(&state), state))
        };
        steps.into_iter().map(state).collect::<Result<Vec<_>, RunError>>()
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| Error::Task(e.to_string()))?;
    done.map_err(Error::from)
}
