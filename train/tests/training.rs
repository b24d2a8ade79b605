//! The job of the example file: it can be judged, it learns, and it gives the same bits every time.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use lockstep_ir::{Tensor, eval, validate};
use lockstep_kernels::Plan;
use lockstep_train::{Accuracy, JobError, JobFile, TrainingJob};

const EXAMPLE: &str = include_str!("../examples/mlp-digits.toml");

fn job() -> TrainingJob {
    TrainingJob::new(&JobFile::parse(EXAMPLE).unwrap()).unwrap()
}

fn train(job: &TrainingJob, from: &[Tensor], steps: u32) -> Vec<Tensor> {
    let plan = Plan::new(&job.program).unwrap();
    (0..steps).fold(from.to_vec(), |state, _| plan.step(&state, &job.data).unwrap())
}

#[test]
fn every_part_has_its_name_and_every_node_can_be_judged() {
    let job = job();
    assert_eq!(job.state.len(), job.program.state.len());
    let names = [
        ["layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"].map(String::from).to_vec(),
        ["layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"].map(|n| format!("{n}.momentum")).to_vec(),
        ["step", "rng_key", "loss"].map(String::from).to_vec(),
    ];
    assert_eq!(job.state_names, names.concat());
    assert_eq!(job.data_names, ["train.images", "train.labels"]);
    assert_eq!(validate(&job.program).unwrap().len(), job.node_names.len());
    for (tensor, declared) in job.state.iter().zip(&job.program.state) {
        assert_eq!(*tensor.decl(), declared.decl);
    }
    for (tensor, declared) in job.data.iter().zip(&job.program.data) {
        assert_eq!(tensor.decl(), declared);
    }
    Plan::new(&job.program).unwrap().check_inputs(&job.state, &job.data).unwrap();
}

#[test]
fn it_learns_and_gives_the_same_bits_again() {
    let job = job();
    let untrained = job.accuracy(&job.state).unwrap();
    assert!(untrained.fraction() < 0.3, "before training: {untrained}");

    let state = train(&job, &job.state, job.steps);
    let (trained, loss) = (job.accuracy(&state).unwrap(), job.loss(&state).unwrap());
    println!("after {} steps: held-out {trained}, last loss {loss}", job.steps);
    assert!(trained.fraction() >= 0.95, "after training: {trained}");
    assert!(loss > 0.0 && loss < 0.5, "last loss {loss}");
    assert_eq!(state[8].to_u32(), Some(vec![job.steps]));
    assert_eq!(state[9], job.state[9], "the key passes through");

    // Again, built anew and interrupted in the middle: the state holds everything that decides the rest.
    let again = self::job();
    let half = train(&again, &again.state, job.steps / 2);
    assert!(train(&again, &half, job.steps - job.steps / 2) == state, "two runs differ");
}

#[test]
fn the_seed_decides_weights_and_batches() {
    let other = TrainingJob::new(&JobFile { seed: 2, ..JobFile::default() }).unwrap();
    let job = job();
    assert!(other.program == job.program, "the seed is state, not code");
    assert_ne!(other.state[0], job.state[0]);
    let mut same_weights = other.state;
    same_weights[..4].clone_from_slice(&job.state[..4]);
    let (a, b) = (train(&job, &job.state, 1), train(&job, &same_weights, 1));
    assert_ne!(a[0], b[0], "another key draws another batch");
}

/// What is subtly wrong shows late: a hundred steps and more, every bit of the state after each.
#[test]
fn kernels_and_reference_agree_for_120_steps() {
    let job = job();
    let plan = Plan::new(&job.program).unwrap();
    let mut state = job.state.clone();
    for step in 0..120 {
        let fast = plan.step(&state, &job.data).unwrap();
        state = eval::step(&job.program, &state, &job.data).unwrap().state;
        let different = state.iter().zip(&fast).position(|(a, b)| a != b);
        assert_eq!(different.map(|i| &job.state_names[i]), None, "step {step}");
    }
}

#[test]
fn a_state_of_another_job_is_refused() {
    let job = job();
    let wider = TrainingJob::new(&JobFile { hidden: vec![33], ..JobFile::default() }).unwrap();
    let error = job.accuracy(&wider.state).unwrap_err();
    assert!(matches!(error, JobError::State(_)));
    let message = "the state does not belong to this job: `layer0.weight` should be f32[32,64], got f32[33,64]";
    assert_eq!(error.to_string(), message);
    let short = job.loss(&job.state[1..]).unwrap_err().to_string();
    assert_eq!(short, "the state does not belong to this job: it has 10 tensors, 11 are needed");
}

#[test]
fn a_diverged_model_answers_nothing() {
    let job = job();
    let mut state = job.state.clone();
    state[3] = Tensor::from_f32(&[10], &[f32::NAN; 10]).unwrap();
    assert_eq!(job.accuracy(&state).unwrap(), Accuracy { correct: 0, total: 360 });
}

#[test]
fn a_score_reads_as_a_percentage() {
    assert_eq!(Accuracy { correct: 351, total: 360 }.to_string(), "97.5 % (351 of 360)");
}
