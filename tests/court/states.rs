//! Lies outside the nodes: the state after a step, and the list of checkpoints.

use std::sync::Arc;

use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use lockstep_commit::{TensorTree, Tree};
use lockstep_contracts::Disputes;
use lockstep_dispute::{Challenger, Defender, Phase, Replay, Side, TensorSet, first_wrong_checkpoint};
use lockstep_ir::Tensor;
use lockstep_sdk::run::{Fault, Run, RunError};

use crate::chain::{ARBITER, CHALLENGER, Chain};
use crate::game::Game;
use crate::market::{BOND_WEI, CONVICTED, Claimed, STAKE_WEI};
use crate::random::Rng;
use crate::work::{PER_CHECKPOINT, STEPS, Work, checkpoint_roots};

/// Claims a state tensor altered after `step`, disputes it, and has it judged.
fn convict_state(chain: &mut Chain, work: &Work, honest: &mut Run, step: u64, tensor: u32, element: u64) {
    let what = format!("step {step}, state {}, element {element}", work.job.state_names[tensor as usize]);
    let mut cheat = work.faulty(step, vec![Fault::State { step, tensor, element, flip: 1 }]);
    let claimed = Claimed::new(chain, work, checkpoint_roots(&mut cheat));
    let checkpoint = first_wrong_checkpoint(&checkpoint_roots(honest), &claimed.roots);
    assert_eq!(checkpoint, Some((step / PER_CHECKPOINT) as usize), "{what}");
    let mut game = Game::open(chain, work, &claimed, (step / PER_CHECKPOINT) as u32);
    assert_eq!(game.finish(chain, work.parts(), &mut cheat, honest, 5), Side::Challenger, "{what}");
    let judged = game.judged.clone().unwrap();
    assert_eq!((judged.phase, judged.first_step, judged.index), (Phase::JudgeState, step, u64::from(tensor)), "{what}");
    let verdict = game.logs.iter().find_map(|log| Disputes::StateJudged::decode_log(log).ok()).unwrap();
    let after = TensorSet::State { steps: step + 1 };
    assert_eq!(verdict.claimed, cheat.hashes(after, tensor).unwrap().root(), "{what}");
    assert_eq!(verdict.correct, honest.hashes(after, tensor).unwrap().root(), "{what}");
    assert_eq!(claimed.status(chain), CONVICTED, "{what}");
}

#[test]
fn an_altered_state_is_convicted_at_every_tensor() {
    let work = Work::new(32);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    for (tensor, state) in work.job.program.state.iter().enumerate() {
        let last = state.decl.elements().unwrap() - 1;
        // At a checkpoint, so that it does not matter whether later steps read it.
        convict_state(&mut chain, &work, &mut honest, PER_CHECKPOINT - 1, tensor as u32, 0);
        convict_state(&mut chain, &work, &mut honest, STEPS - 1, tensor as u32, last);
    }
}

#[test]
fn an_altered_key_that_only_passes_through_is_convicted_at_every_step() {
    let work = Work::new(32);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let key = work.state_index("rng_key");
    for step in 0..STEPS {
        convict_state(&mut chain, &work, &mut honest, step, key, step % 2);
    }
}

#[test]
fn a_made_up_checkpoint_has_no_defence() {
    let work = Work::new(32);
    let (mut chain, mut honest, mut rng) = (Chain::new(), work.honest(), Rng::new(3));
    for checkpoint in 0..2usize {
        let before = [ARBITER, CHALLENGER].map(|party| chain.balance_wei(party));
        let mut roots = checkpoint_roots(&mut honest);
        roots[checkpoint] = rng.hash();
        let claimed = Claimed::new(&mut chain, &work, roots.clone());
        assert_eq!(first_wrong_checkpoint(&checkpoint_roots(&mut honest), &roots), Some(checkpoint));
        let mut game = Game::open(&mut chain, &work, &claimed, checkpoint as u32);
        let honest_list = Defender::new(work.parts()).next(&game.state, &mut honest).unwrap();
        let refusal = game.play(&mut chain, &honest_list).unwrap_err();
        assert!(refusal.starts_with("WrongHash"), "{refusal}");
        assert_eq!(game.time_out(&mut chain), Side::Challenger);
        assert_eq!(claimed.status(&mut chain), CONVICTED);
        let after = [ARBITER, CHALLENGER].map(|party| chain.balance_wei(party));
        assert_eq!(after[0], before[0], "a clock decided: nobody has the tip");
        assert_eq!(after[1] - before[1], STAKE_WEI as i128 / 2);
        assert_eq!(chain.held_wei(chain.docket), 0, "the bond of {BOND_WEI} went back");
    }
}

#[test]
fn a_made_up_checkpoint_is_not_saved_by_honest_steps_before_it() {
    let work = Work::new(32);
    let (mut chain, mut honest, mut rng) = (Chain::new(), work.honest(), Rng::new(4));
    let mut roots = checkpoint_roots(&mut honest);
    roots[0] = rng.hash();
    let claimed = Claimed::new(&mut chain, &work, roots.clone());
    let mut game = Game::open(&mut chain, &work, &claimed, 0);
    let list = [honest.state_root(1).unwrap(), honest.state_root(2).unwrap(), roots[0]];
    game.play(&mut chain, &lockstep_dispute::Move::PostSteps { state_roots: list.to_vec() }).unwrap();
    // The last step is pointed at, its trace is right, so the state after it is pointed at: nobody can open that hash.
    while game.state.phase != Phase::States {
        let mv = game.strategic(work.parts(), &mut work.honest(), &mut honest).unwrap();
        game.play(&mut chain, &mv).unwrap();
    }
    assert_eq!(game.state.first_step, 2);
    let refusal = game.strategic(work.parts(), &mut work.honest(), &mut honest).unwrap();
    assert!(game.play(&mut chain, &refusal).unwrap_err().starts_with("WrongHash"));
    assert_eq!(game.time_out(&mut chain), Side::Challenger);
    assert_eq!(claimed.status(&mut chain), CONVICTED);
}

/// A run that takes the states at the two checkpoints for each other.
struct Swapped(Run);

impl Swapped {
    fn steps(steps: u64) -> u64 {
        match steps {
            PER_CHECKPOINT => STEPS,
            STEPS => PER_CHECKPOINT,
            other => other,
        }
    }

    fn set(set: TensorSet) -> TensorSet {
        match set {
            TensorSet::State { steps } => TensorSet::State { steps: Self::steps(steps) },
            other => other,
        }
    }
}

impl Replay for Swapped {
    type Error = RunError;

    fn state_root(&mut self, steps: u64) -> Result<B256, RunError> {
        self.0.state_root(Self::steps(steps))
    }

    fn tensor(&mut self, set: TensorSet, index: u32) -> Result<Arc<Tensor>, RunError> {
        self.0.tensor(Self::set(set), index)
    }

    fn roots(&mut self, set: TensorSet) -> Result<Arc<Tree>, RunError> {
        self.0.roots(Self::set(set))
    }

    fn hashes(&mut self, set: TensorSet, index: u32) -> Result<Arc<TensorTree>, RunError> {
        self.0.hashes(Self::set(set), index)
    }
}

#[test]
fn checkpoints_in_the_wrong_order_are_convicted() {
    let work = Work::new(32);
    let (mut chain, mut honest, mut cheat) = (Chain::new(), work.honest(), Swapped(work.honest()));
    let mut roots = checkpoint_roots(&mut honest);
    roots.swap(0, 1);
    let claimed = Claimed::new(&mut chain, &work, roots);
    let mut game = Game::open(&mut chain, &work, &claimed, 0);
    assert_eq!(game.finish(&mut chain, work.parts(), &mut cheat, &mut honest, 0), Side::Challenger);
    let judged = game.judged.clone().unwrap();
    assert_eq!((judged.phase, judged.first_step), (Phase::JudgeState, PER_CHECKPOINT - 1));
    assert_eq!(claimed.status(&mut chain), CONVICTED);
}

#[test]
fn a_challenger_has_nothing_to_point_at_in_honest_work() {
    let work = Work::new(32);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut honest));
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    let list = Defender::new(work.parts()).next(&game.state, &mut honest).unwrap();
    game.play(&mut chain, &list).unwrap();
    let stuck = Challenger::new(work.parts()).next(&game.state, &game.posted(), &mut honest).unwrap_err();
    assert!(matches!(stuck, lockstep_dispute::NoMove::NoDifference { phase: Phase::Steps }), "{stuck}");
}
