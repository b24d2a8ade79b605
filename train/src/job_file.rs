//! `job.toml`: what a requester writes to describe a training job. An annotated one is `train/examples/mlp-digits.toml`.

use serde::{Deserialize, Serialize};

/// Longest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 64 << 10;
/// Most hidden layers.
pub const MAX_HIDDEN_LAYERS: usize = 8;
/// Widest hidden layer.
pub const MAX_WIDTH: u32 = 2048;
/// Largest batch.
pub const MAX_BATCH: u32 = 4096;
/// Most steps.
pub const MAX_STEPS: u32 = 1_000_000;

/// Why a job file is refused. Fix the file.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum JobFileError {
    /// Too long.
    #[error("the job file has {0} bytes, more than {MAX_FILE_BYTES}")]
    TooLong(usize),
    /// Not TOML, a key that is unknown or missing, or a value of the wrong type.
    #[error("the job file cannot be read: {0}")]
    Parse(String),
    /// A value out of its range.
    #[error("`{key}` is {got}; it must be {expected}")]
    Range {
        /// Key.
        key: &'static str,
        /// Value found.
        got: String,
        /// Values accepted.
        expected: String,
    },
}

/// Which model is trained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// A multi-layer perceptron.
    Mlp,
}

/// On which data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// The 1,797 handwritten digits that come with Lockstep.
    Digits,
}

/// A training job, as its requester describes it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// Which model.
    pub model: Model,
    /// On which data.
    pub dataset: Dataset,
    /// Widths of the hidden layers; none makes a linear classifier.
    pub hidden: Vec<u32>,
    /// Examples per step.
    pub batch: u32,
    /// Factor of the momentum in the update.
    pub learning_rate: f32,
    /// Part of the momentum kept from step to step.
    pub momentum: f32,
    /// Steps.
    pub steps: u32,
    /// Decides initial weights and batches.
    pub seed: u64,
}

impl Default for JobFile {
    /// The job of `train/examples/mlp-digits.toml`.
    fn default() -> Self {
        Self {
            model: Model::Mlp,
            dataset: Dataset::Digits,
            hidden: vec![32],
            batch: 32,
            learning_rate: 0.05,
            momentum: 0.9,
            steps: 600,
            seed: 1,
        }
    }
}

impl JobFile {
    /// Reads and checks a job file.
    ///
    /// # Errors
    /// It is too long, not TOML, has unknown or missing keys, or a value out of range.
    pub fn parse(text: &str) -> Result<Self, JobFileError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(JobFileError::TooLong(text.len()));
        }
        let job: Self = toml::from_str(text).map_err(|e| JobFileError::Parse(e.to_string()))?;
        job.check()?;
        Ok(job)
    }

    /// Checks that every value is in its range; jobs made in code are checked too.
    ///
    /// # Errors
    /// The first value that is not.
    pub fn check(&self) -> Result<(), JobFileError> {
        if self.hidden.len() > MAX_HIDDEN_LAYERS {
            let (got, expected) = (format!("{} layers", self.hidden.len()), format!("at most {MAX_HIDDEN_LAYERS}"));
            return Err(JobFileError::Range { key: "hidden", got, expected });
        }
        for &width in &self.hidden {
            whole("hidden", width, MAX_WIDTH)?;
        }
        whole("batch", self.batch, MAX_BATCH)?;
        whole("steps", self.steps, MAX_STEPS)?;
        let rate = self.learning_rate;
        // Written so that NaN is refused.
        if !(rate > 0.0 && rate <= 100.0) {
            return Err(out_of_range("learning_rate", rate, "above 0 and at most 100"));
        }
        if !(self.momentum >= 0.0 && self.momentum < 1.0) {
            return Err(out_of_range("momentum", self.momentum, "at least 0 and below 1"));
        }
        Ok(())
    }
}

fn out_of_range(key: &'static str, got: impl ToString, expected: impl Into<String>) -> JobFileError {
    JobFileError::Range { key, got: got.to_string(), expected: expected.into() }
}

fn whole(key: &'static str, got: u32, max: u32) -> Result<(), JobFileError> {
    if (1..=max).contains(&got) { Ok(()) } else { Err(out_of_range(key, got, format!("from 1 to {max}"))) }
}
