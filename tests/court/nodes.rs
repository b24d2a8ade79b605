//! One number altered at every node of the program is found and convicted, and nothing else is judged.

use alloy_sol_types::SolEvent;
use lockstep_contracts::Disputes;
use lockstep_dispute::{Phase, Side, first_wrong_checkpoint, money::conviction, witness};
use lockstep_sdk::run::{Fault, Run};

use crate::chain::{ARBITER, CHALLENGER, Chain, REQUESTER, SOLVER, TREASURY};
use crate::game::Game;
use crate::market::{AMOUNTS, BOND_WEI, CONVICTED, Claimed, STAKE_WEI, shares};
use crate::random::{Rng, setting};
use crate::work::{PER_CHECKPOINT, STEPS, Work, checkpoint_roots, traced};

/// A number of a node's output, altered.
#[derive(Clone, Copy, Debug)]
struct Lie {
    step: u64,
    node: u32,
    element: u64,
    flip: u32,
}

impl Lie {
    /// The run that tells it. The key of the randomness is altered, too: it stays so to the end, so that the claim is wrong
    /// even where the node's number does not matter to the state.
    fn run(self, work: &Work) -> Run {
        let Self { step, node, element, flip } = self;
        let state = Fault::State { step, tensor: work.state_index("rng_key"), element: 1, flip: 1 << 7 };
        work.faulty(step, vec![Fault::Node { step, node, element, flip }, state])
    }

    /// Claims it, disputes it, and plays to the verdict.
    fn convict(self, chain: &mut Chain, work: &Work, honest: &mut Run) {
        let Self { step, node, element, .. } = self;
        let mut cheat = self.run(work);
        let claimed = Claimed::new(chain, work, checkpoint_roots(&mut cheat));
        let checkpoint = first_wrong_checkpoint(&checkpoint_roots(honest), &claimed.roots);
        assert_eq!(checkpoint, Some((step / PER_CHECKPOINT) as usize), "{self:?}");
        let mut game = Game::open(chain, work, &claimed, (step / PER_CHECKPOINT) as u32);
        let winner = game.finish(chain, work.parts(), &mut cheat, honest, 7);
        assert_eq!(winner, Side::Challenger, "{self:?}");
        assert_eq!(claimed.status(chain), CONVICTED, "{self:?}");
        let judged = game.judged.clone().unwrap();
        assert_eq!((judged.phase, judged.first_step), (Phase::Judge, step), "{self:?}");
        assert_eq!((judged.node, judged.element), (node, element), "{self:?}");
        let verdict = game.logs.iter().find_map(|log| Disputes::Judged::decode_log(log).ok()).unwrap();
        assert_eq!(verdict.claimed, traced(&mut cheat, step, node, element), "{self:?}");
        assert_eq!(verdict.recomputed, traced(honest, step, node, element), "{self:?}");
        assert_ne!(verdict.claimed, verdict.recomputed, "{self:?}");
    }
}

/// First, middle and last element.
fn places(elements: u64) -> Vec<u64> {
    let mut places = vec![0, elements / 2, elements - 1];
    places.dedup();
    places
}

fn convict_at_every_node(work: &Work, seed: u64) -> u64 {
    let (mut chain, mut honest, mut rng) = (Chain::new(), work.honest(), Rng::new(seed));
    for (node, descriptor) in work.job.program.nodes.iter().enumerate() {
        for element in places(descriptor.out.elements().unwrap()) {
            let (step, flip) = (rng.below(STEPS), 1 << rng.below(23));
            Lie { step, node: node as u32, element, flip }.convict(&mut chain, work, &mut honest);
        }
    }
    chain.most_gas()
}

#[test]
fn an_altered_number_is_convicted_at_every_node() {
    let seed = setting("COURT_SEED", 1);
    println!("COURT_SEED={seed}");
    let most_gas = convict_at_every_node(&Work::new(32), seed);
    println!("dearest transaction: {most_gas} gas");
}

#[test]
fn an_altered_batch_is_convicted_whichever_bit_it_is() {
    let work = Work::new(32);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let nodes: Vec<usize> = (0..work.job.node_names.len()).filter(|&i| work.job.node_names[i] == "sample").collect();
    assert!(!nodes.is_empty(), "the program chooses its batch: {:?}", work.job.node_names);
    for node in nodes {
        let elements = work.job.program.nodes[node].out.elements().unwrap();
        for bit in 0..32 {
            let (step, element) = (bit % STEPS, (bit * 5) % elements);
            Lie { step, node: node as u32, element, flip: 1 << bit }.convict(&mut chain, &work, &mut honest);
        }
    }
}

#[test]
fn a_conviction_splits_the_stake_to_the_wei() {
    let work = Work::new(32);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let parties = [SOLVER, CHALLENGER, ARBITER, REQUESTER, TREASURY];
    for judge in [ARBITER, CHALLENGER] {
        let before = parties.map(|party| chain.balance_wei(party));
        let lie = Lie { step: 4, node: work.job.program.nodes.len() as u32 / 2, element: 0, flip: 1 };
        let mut cheat = lie.run(&work);
        let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat));
        let mut game = Game::open(&mut chain, &work, &claimed, 1);
        while game.state.phase != Phase::Judge {
            let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
            game.play(&mut chain, &mv).unwrap();
        }
        assert_eq!(chain.held_wei(chain.docket), BOND_WEI as i128, "the bond is held");
        let mv = witness::judge(work.parts(), &game.state, &game.posted(), &mut honest).unwrap();
        game.play_by(&mut chain, judge, &mv).unwrap();
        claimed.withdraw(&mut chain);
        let after = parties.map(|party| chain.balance_wei(party));
        let got: Vec<i128> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let split = conviction(&AMOUNTS, &shares(), true, None);
        let [winner, tip] = [split.winner_wei, split.judge_wei].map(|wei| wei as i128);
        let (winner, arbiter) = if judge == ARBITER { (winner, tip) } else { (winner + tip, 0) };
        let [requester, treasury] = [split.requester_wei, split.treasury_wei].map(|wei| wei as i128);
        assert_eq!(got, [-(STAKE_WEI as i128), winner, arbiter, requester, treasury]);
        assert_eq!(chain.held_wei(chain.market), 0, "the market keeps nothing");
        assert_eq!(chain.held_wei(chain.docket), 0, "nor does the docket");
    }
}
