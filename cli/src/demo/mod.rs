//! `lockstep demo`: the whole loop in one process, over real sockets, in three acts. Every promise is checked at the end.

mod act;
mod acts;
mod ledger;
mod world;

use std::time::Instant;

use crate::{failure::Failure, output::Output};
use act::Act;
use ledger::Promise;
use world::World;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Decides which number of which node in which step is altered.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), Failure> {
    let started = Instant::now();
    output.text("Starting a chain, deploying the contracts, funding the parties.");
    let world = World::start(args.seed, output).await?;
    let mut promises = Vec::new();
    let mut acts = Vec::new();
    for act in Act::ALL {
        output.text(format!("\n{}", act.title()));
        let (summary, kept) = act.play(&world, output).await?;
        acts.push(summary);
        promises.extend(kept);
    }
    world.stop().await?;
    ledger::tell(&acts, &promises, started.elapsed().as_secs_f64(), output);
    match promises.iter().filter(|p| !p.kept).count() {
        0 => Ok(()),
        broken => Err(Failure::new(format!("{broken} of {} promises were not kept; see above", promises.len()))),
    }
}

/// A promise and whether it was kept.
fn promise(words: impl Into<String>, kept: bool) -> Promise {
    Promise { promise: words.into(), kept }
}
