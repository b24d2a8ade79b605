//! Trains a job file on this machine and scores it: `cargo run --release -p lockstep-train --example train -- job.toml`.

use lockstep_kernels::Plan;
use lockstep_train::{JobFile, TrainingJob};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: train JOB.toml")?;
    let job = TrainingJob::new(&JobFile::parse(&std::fs::read_to_string(path)?)?)?;
    let plan = Plan::new(&job.program)?;
    plan.check_inputs(&job.state, &job.data)?;
    let mut state = job.state.clone();
    for step in 1..=job.steps {
        state = plan.step(&state, &job.data)?;
        if step % 100 == 0 || step == job.steps {
            println!("step {step}: loss {:.4}, held-out {}", job.loss(&state)?, job.accuracy(&state)?);
        }
    }
    Ok(())
}
