//! How each act is played.

use std::time::{Duration, Instant};

use lockstep_dispute::Side;
use lockstep_ir::SplitMix64;
use lockstep_sdk::{
    client::{Job, JobSpec, JobStatus, Schedule},
    deploy::FEE_BPS,
    run::{Fault, Run},
};

use super::{
    act::Act,
    ledger::{Promise, Summary},
    promise,
    world::{Party, World},
};
use crate::{failure::Failure, job::download, output::Output};

/// How long one act may take.
const ACT_LIMIT: Duration = Duration::from_secs(60);
/// What the model must reach on examples that training does not see.
const ACCURACY: f64 = 0.93;

impl Act {
    /// Plays the act and checks what was promised.
    pub(crate) async fn play(self, world: &World, output: &Output) -> Result<(Summary, Vec<Promise>), Failure> {
        let started = Instant::now();
        let before_wei = world.balances_wei().await?;
        let spec = world.spec()?;
        let fault = fault(world)?;
        let (solver, accuser) = match self {
            Self::Honest => (Party::Solver, None),
            Self::Cheat => (Party::Cheat, None),
            Self::FalseChallenge => (Party::Solver, Some(Party::FalseChallenger)),
        };
        let mut daemons = vec![world.arbiter(output).await?];
        let lie = if self == Self::Cheat {
            output.text(format!("The cheat will flip one bit: {}.", describe(fault, world)));
            Some(fault)
        } else {
            None
        };
        match accuser {
            None => daemons.push(world.verifier(Party::Verifier, None, output).await?),
            Some(party) => {
                output.text(format!("The accuser will claim that this is wrong: {}.", describe(fault, world)));
                daemons.push(world.verifier(party, Some(fault), output).await?);
            }
        }
        let (job_id, outcome) = world.requester().post(spec.clone()).await?;
        let report = world.reporter(Party::Requester, output);
        report.sent(job_id, "posted", format!("{} steps of the digits job, price in escrow", spec.steps), &outcome);
        daemons.push(world.solver(solver, lie, output).await?);
        let job = over(world, job_id).await?;
        let mut promises = self.promises(world, &job, &spec, &before_wei).await?;
        if self == Self::Honest {
            let state = download(world.requester(), world.fetcher(), job_id).await?;
            let accuracy = world.job.accuracy(&state)?;
            report.tell(job_id, "downloaded", format!("root equals the chain's; {accuracy} on held-out digits"));
            let reached = accuracy.fraction() >= ACCURACY;
            promises.push(promise(format!("the model reaches {} % on held-out digits", ACCURACY * 100.0), reached));
        }
        for daemon in daemons {
            daemon.stop().await?;
        }
        let after_wei = world.balances_wei().await?;
        let seconds = started.elapsed().as_secs_f64();
        Ok((Summary::new(self, before_wei, after_wei, seconds, &world.take_events()), promises))
    }

    /// What the act promises, checked on the chain and in every balance, to the last unit.
    async fn promises(
        self,
        world: &World,
        job: &Job,
        spec: &JobSpec,
        before_wei: &[i128],
    ) -> Result<Vec<Promise>, Failure> {
        let after_wei = world.balances_wei().await?;
        let got = |party: Party| {
            let at = Party::ALL.iter().position(|p| *p == party).unwrap_or_default();
            after_wei[at] - before_wei[at]
        };
        let milestones = i128::from(Schedule::of(spec).milestones());
        let price_wei = spec.endPriceWei as i128;
        let (stake_wei, bond_wei, tip_wei) = (spec.stakeWei as i128, spec.bondWei as i128, spec.tipWei as i128);
        let fee_wei = milestones * (price_wei * i128::from(FEE_BPS) / 10_000);
        let earned_wei = milestones * price_wei - fee_wei;
        let kept = match self {
            Self::Honest => vec![
                promise("the honest job is done", job.status == JobStatus::Done),
                promise("the solver is paid and has its stake back", got(Party::Solver) == earned_wei),
                promise("the requester paid the price", got(Party::Requester) == -milestones * price_wei),
                promise("the treasury has its fee", got(Party::Treasury) == fee_wei),
                promise("nobody disputed", world.requester().dispute_count().await? == 0),
            ],
            Self::Cheat => {
                let half_wei = stake_wei / 2;
                vec![
                    promise("the cheat is convicted", job.status == JobStatus::Convicted),
                    promise("the referee's verdict ended it", winner(world, 1).await? == Some(Side::Challenger)),
                    promise("the cheat lost its stake", got(Party::Cheat) == -stake_wei),
                    promise("the verifier has its bounty", got(Party::Verifier) == half_wei - tip_wei),
                    promise("the arbiter has its tip", got(Party::Arbiter) == tip_wei),
                    promise(
                        "the requester is refunded, with four fifths of the rest",
                        got(Party::Requester) == half_wei / 5 * 4,
                    ),
                    promise("the treasury has a fifth of the rest", got(Party::Treasury) == half_wei / 5),
                ]
            }
            Self::FalseChallenge => vec![
                promise("the accused job is done", job.status == JobStatus::Done),
                promise("the referee sided with the solver", winner(world, 2).await? == Some(Side::Defender)),
                promise("the accuser lost its bond", got(Party::FalseChallenger) == -bond_wei),
                promise("the arbiter has its tip", got(Party::Arbiter) == tip_wei),
                promise(
                    "the solver has pay, stake and three quarters of the bond",
                    got(Party::Solver) == earned_wei + (bond_wei - tip_wei) / 4 * 3,
                ),
                promise("the treasury has the rest of it", got(Party::Treasury) == fee_wei + (bond_wei - tip_wei) / 4),
            ],
        };
        Ok(kept)
    }
}

async fn winner(world: &World, dispute_id: u64) -> Result<Option<Side>, Failure> {
    if world.requester().dispute_count().await? < dispute_id {
        return Ok(None);
    }
    Ok(world.requester().dispute(dispute_id).await?.state.winner())
}

/// Waits until a job is over; one whose solver was convicted is withdrawn.
async fn over(world: &World, job_id: u64) -> Result<Job, Failure> {
    let started = Instant::now();
    while started.elapsed() < ACT_LIMIT {
        let job = world.requester().job(job_id).await?;
        if job.status == JobStatus::Convicted {
            world.requester().withdraw_job(job_id).await?;
            return Ok(job);
        }
        if job.status.is_over() {
            return Ok(job);
        }
        world.pause().await;
    }
    Err(Failure::new(format!("job {job_id} is not over after {} s", ACT_LIMIT.as_secs())))
}

/// Where the seed puts the altered number: any step, any node, any element of its output, any low bit, as long as the next
/// checkpoint is another one for it. (A bit of a unit that is switched off changes nothing, and is no lie.)
fn fault(world: &World) -> Result<Fault, Failure> {
    let mut numbers = SplitMix64::new(world.seed);
    let mut below = |n: u64| numbers.bits() % n.max(1);
    let job = &world.job;
    let step = below(u64::from(job.steps));
    let per_checkpoint = world.terms().steps_per_checkpoint;
    let checkpoint = ((step / per_checkpoint + 1) * per_checkpoint).min(u64::from(job.steps));
    let honest = Run::new(&job.program, job.data.clone(), 0, job.state.clone())?.checkpoint(step)?;
    let after = |fault| -> Result<_, Failure> {
        let mut run = Run::new(&job.program, job.data.clone(), step, honest.clone())?.with_fault(fault);
        Ok(run.checkpoint(checkpoint)?)
    };
    let right = after(None)?;
    for _ in 0..1000 {
        let node = below(job.program.nodes.len() as u64) as u32;
        let element = below(job.program.nodes[node as usize].out.elements().unwrap_or(1));
        let fault = Fault::Node { step, node, element, flip: 1 << below(8) };
        if after(Some(fault))? != right {
            return Ok(fault);
        }
    }
    Err(Failure::new(format!("seed {} finds no number whose change shows; try another seed", world.seed)))
}

fn describe(fault: Fault, world: &World) -> String {
    let name = |node: u32| world.job.node_names.get(node as usize).map_or("?", String::as_str);
    match fault {
        Fault::Node { step, node, element, flip } => {
            format!("step {step}, node n{node} ({}), element {element}, bit {}", name(node), flip.trailing_zeros())
        }
        Fault::State { step, tensor, element, flip } => {
            format!("step {step}, state s{tensor}, element {element}, bit {}", flip.trailing_zeros())
        }
    }
}
