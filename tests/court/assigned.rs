//! A claim with assigned verifiers that reveal another root: a conviction with the most parties, and what judging it costs.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use lockstep_contracts::{
    Disputes, JobMarket,
    Referee::{self, OperandWitness},
    Stakes, VerifierDraw,
};
use lockstep_dispute::{Defender, Move, Phase, Side, witness};
use lockstep_ir::judge::DISPUTE_GAS;
use lockstep_sdk::{
    deploy::{SUPPLY_WEI, default_values},
    moves,
    run::Fault,
};

use crate::accuser::random_pointer;
use crate::chain::{Chain, SOLVER};
use crate::game::Game;
use crate::market::{CONVICTED, Claimed};
use crate::random::Rng;
use crate::work::{Work, checkpoint_roots};

const VERIFIERS: [Address; 2] = [Address::with_last_byte(0xe0), Address::with_last_byte(0xe1)];
const SALT: B256 = B256::repeat_byte(0x77);

fn enlist(chain: &mut Chain) {
    for verifier in VERIFIERS {
        chain.fund(verifier, SUPPLY_WEI / 1_000);
        let stake = default_values().minVerifierStakeWei;
        chain.send(verifier, chain.stakes, &Stakes::depositCall { amountWei: stake }).unwrap();
        chain.send(verifier, chain.draw, &VerifierDraw::enlistCall { hardwareClass: 0, on: true }).unwrap();
    }
    chain.now_s += 60;
}

/// Commits and reveals `roots` as the solver, and another root as every verifier.
fn claim(chain: &mut Chain, claimed: &Claimed) {
    let job_id = U256::from(claimed.job_id);
    let key = keccak256((job_id, 1u32, 0u32).abi_encode());
    let spec = claimed.spec.clone();
    let commitment = keccak256((claimed.claim_root, SALT).abi_encode());
    let call = JobMarket::commitClaimCall { jobId: job_id, spec: spec.clone(), milestone: 0, commitment };
    chain.send(SOLVER, chain.market, &call).unwrap();
    chain.roll(3);
    chain.send(SOLVER, chain.draw, &VerifierDraw::drawCall { key }).unwrap();
    let seats: Vec<Address> =
        chain.view(chain.draw, &VerifierDraw::seatsCall { key }).into_iter().map(|seat| seat.verifier).collect();
    assert!(VERIFIERS.iter().all(|verifier| seats.contains(verifier)), "everybody is drawn: {seats:?}");
    let root = B256::repeat_byte(0x99);
    for (seat, verifier) in seats.iter().enumerate() {
        let said = (U256::ONE, job_id, 1u32, 0u32, *verifier, root, SALT);
        let commitment = keccak256(said.abi_encode());
        let call = VerifierDraw::commitCall { key, seat: U256::from(seat), commitment };
        chain.send(*verifier, chain.draw, &call).unwrap();
    }
    let call = JobMarket::revealClaimCall {
        jobId: job_id,
        spec,
        milestone: 0,
        stateRoots: claimed.roots.clone(),
        salt: SALT,
        uri: String::new(),
    };
    chain.send(SOLVER, chain.market, &call).unwrap();
    for (seat, verifier) in seats.into_iter().enumerate() {
        let call = VerifierDraw::revealCall { key, seat: U256::from(seat), root, salt: SALT };
        chain.send(verifier, chain.draw, &call).unwrap();
    }
}

/// What the referee alone costs, called with what a judgement brings.
fn referee_gas(chain: &mut Chain, game: &Game<'_>, judge: &Disputes::judgeCall) -> u64 {
    let d = chain.view(chain.disputes, &Disputes::disputeCall { disputeId: judge.disputeId });
    let call = Referee::recomputeCall {
        node: judge.node.clone(),
        inputs: Referee::Inputs {
            stateRoot: d.beforeRoot,
            dataRoot: game.terms.data_root,
            traceRoot: d.traceRoot,
            stateCount: judge.header.stateCount,
            dataCount: judge.header.dataCount,
            nodeCount: judge.header.nodeCount,
        },
        unit: Referee::Unit { kind: d.unitKind, element: d.element, blockIndex: d.blockIndex },
        values: judge.values.clone(),
        witness: judge.witness.iter().map(|w| OperandWitness::abi_decode(&w.abi_encode()).unwrap()).collect(),
    };
    chain.measured(chain.referee, &call).1
}

#[test]
fn the_validator_sets_aside_what_a_judgement_costs_around_the_referee() {
    let work = Work::new(32);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    enlist(&mut chain);
    let node = work.job.program.nodes.len() as u32 / 2;
    let state = Fault::State { step: 4, tensor: work.state_index("rng_key"), element: 1, flip: 1 };
    let mut cheat = work.faulty(4, vec![Fault::Node { step: 4, node, element: 0, flip: 1 }, state]);
    let roots = checkpoint_roots(&mut cheat);
    let claimed = Claimed::assigned(&mut chain, &work, roots, VERIFIERS.len() as u8);
    claim(&mut chain, &claimed);
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    while game.state.phase != Phase::Judge {
        let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
        game.play(&mut chain, &mv).unwrap();
    }
    let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
    assert!(matches!(mv, Move::Judge { .. }));
    let call = moves::call(game.id, B256::ZERO, work.hashes.header(), mv.clone());
    let judge = Disputes::judgeCall::abi_decode(&call.calldata).unwrap();
    let referee_gas = referee_gas(&mut chain, &game, &judge);
    game.play(&mut chain, &mv).unwrap();
    assert_eq!((game.state.winner(), claimed.status(&mut chain)), (Some(Side::Challenger), CONVICTED));
    // paying came last
    let judging_gas = chain.gas[chain.gas.len() - 2].needed;
    let around_gas = judging_gas - referee_gas;
    println!("judging {judging_gas} gas, the referee {referee_gas}, around it {around_gas}");
    assert!(around_gas <= DISPUTE_GAS, "{around_gas} gas around the referee, {DISPUTE_GAS} set aside");
    // Whoever dissented has a part of the winner's share.
    for verifier in VERIFIERS {
        let before_wei = chain.balance_wei(verifier);
        let key = keccak256((U256::from(claimed.job_id), 1u32, 0u32).abi_encode());
        let seats = chain.view(chain.draw, &VerifierDraw::seatsCall { key });
        let seat = seats.iter().position(|seat| seat.verifier == verifier).unwrap();
        chain.send(verifier, chain.draw, &VerifierDraw::collectCall { key, seat: U256::from(seat) }).unwrap();
        assert!(chain.balance_wei(verifier) > before_wei);
    }
}

/// A game that is still played when another one convicts: its judgement pays the bond back at once.
#[test]
fn judging_a_void_claim_stays_within_what_is_set_aside() {
    let work = Work::new(32);
    let (mut chain, mut honest, mut rng) = (Chain::new(), work.honest(), Rng::new(5));
    let state = Fault::State { step: 4, tensor: work.state_index("rng_key"), element: 1, flip: 1 };
    let mut cheat = work.faulty(4, vec![state]);
    let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat));
    // nothing is wrong before checkpoint 0
    let mut late = Game::open(&mut chain, &work, &claimed, 0);
    while late.state.phase != Phase::Judge {
        let mv = match late.state.turn {
            Side::Defender => Defender::new(work.parts()).next(&late.state, &mut cheat).unwrap(),
            Side::Challenger if late.state.phase == Phase::Nodes => {
                let posted = late.posted();
                let pointer = random_pointer(&late.state, &posted, &mut rng);
                if matches!(pointer, Move::PointState) { continue } else { pointer }
            }
            Side::Challenger => random_pointer(&late.state, &late.posted(), &mut rng),
        };
        late.play(&mut chain, &mv).unwrap();
    }
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    assert_eq!(game.finish(&mut chain, work.parts(), &mut cheat, &mut honest, 0), Side::Challenger);
    let mv = witness::judge(work.parts(), &late.state, &late.posted(), &mut honest).unwrap();
    let call = moves::call(late.id, B256::ZERO, work.hashes.header(), mv.clone());
    let judge = Disputes::judgeCall::abi_decode(&call.calldata).unwrap();
    let referee_gas = referee_gas(&mut chain, &late, &judge);
    let held_wei = chain.held_wei(chain.docket);
    late.play(&mut chain, &mv).unwrap();
    assert!(held_wei > 0 && chain.held_wei(chain.docket) == 0, "the bond went back");
    let around_gas = chain.gas.last().unwrap().needed - referee_gas;
    println!("around the referee {around_gas} gas");
    assert!(around_gas <= DISPUTE_GAS, "{around_gas} gas around the referee, {DISPUTE_GAS} set aside");
}
