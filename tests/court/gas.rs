//! What jobs, moves and disputes cost, held to what is promised; `cargo xtask bench gas` keeps what is printed here.

use alloy_primitives::B256;
use lockstep_bench::Record;
use lockstep_commit::ProgramTree;
use lockstep_dispute::Side;
use lockstep_ir::{judge::MAX_UNIT_GAS, validate};
use lockstep_sdk::run::Fault;

use crate::chain::{Chain, Gas};
use crate::game::Game;
use crate::gpt::Lie;
use crate::gpt2::gpt2;
use crate::market::{Claimed, DONE};
use crate::work::{Work, checkpoint_roots};

/// Promised: defender's moves and gas of a dispute over a step of GPT-2 small, and gas of a job without disputes.
const DEFENDER_MOVES: usize = 10;
const DISPUTE_GAS: u64 = 5_000_000;
const JOB_GAS: u64 = 600_000;

/// Prints a figure for the table.
fn keep(case: &str, unit: &str, ours: u64, limit: Option<u64>) {
    let record = Record::new("gas", case.to_owned(), unit, ours as f64);
    let record = match limit {
        Some(limit) => record.of_limit(limit as f64),
        None => record,
    };
    println!("{}", record.line());
}

/// Prints what transactions cost, one by one and in all, under both forks; gives the sum of each.
fn keep_all(about: &str, names: &[String], gas: &[Gas], limit: Option<u64>) -> [u64; 2] {
    // the test's own line is not finished yet
    println!();
    assert_eq!(names.len(), gas.len(), "{about}");
    for (index, (name, gas)) in names.iter().zip(gas).enumerate() {
        let case = format!("{about}: {}. {name}", index + 1);
        let limit = name.starts_with("`judge").then_some(MAX_UNIT_GAS);
        keep(&case, "gas", gas.used, limit);
        if gas.floor > gas.used {
            keep(&format!("{case}, Isthmus"), "gas", gas.floor, limit);
        }
    }
    let sums = [gas.iter().map(|gas| gas.used).sum(), gas.iter().map(|gas| gas.used.max(gas.floor)).sum()];
    keep(&format!("{about}: all"), "gas", sums[0], limit);
    if sums[1] > sums[0] {
        keep(&format!("{about}: all, Isthmus"), "gas", sums[1], limit);
    }
    sums
}

/// Post, take, claim of 16 checkpoints, settle: what a job of one milestone without disputes costs.
#[test]
fn a_job_without_a_dispute_costs_at_most_600_000_gas() {
    let work = Work::new(32);
    let mut chain = Chain::new();
    let roots: Vec<B256> = (1..=16).map(B256::with_last_byte).collect();
    let names = ["`post`", "`take`", "`claim`, 16 checkpoints", "`settle`"].map(str::to_owned);
    for which in ["the first of a deployment", "a later one"] {
        chain.gas.clear();
        let claimed = Claimed::long(&mut chain, &work.subject(), 1, roots.clone());
        claimed.settle(&mut chain);
        assert_eq!(claimed.status(&mut chain), DONE);
        let sums = keep_all(&format!("job, {which}"), &names, &chain.gas, Some(JOB_GAS));
        assert!(sums[1] <= JOB_GAS, "{which}: {sums:?} gas");
    }
}

#[test]
fn a_dispute_over_a_step_of_gpt_2_small_costs_at_most_5_million_gas() {
    let model = gpt2().unwrap();
    let bounds = validate(&model.program).unwrap();
    let hashes = ProgramTree::new(&model.program);
    let mut chain = Chain::new();
    for kind in ["gradient of the output layer", "attention, weighted values", "softmax, division by the sum"] {
        let lie = Lie::new(&model, &hashes, kind);
        let moves = lie.play(&mut chain);
        let about = format!("dispute, GPT-2 small, {kind}");
        let names: Vec<String> = moves.iter().map(|mv| mv.0.clone()).chain(["`pay`".to_owned()]).collect();
        let sums = keep_all(&about, &names, &chain.gas, Some(DISPUTE_GAS));
        assert!(sums[1] <= DISPUTE_GAS, "{about}: {sums:?} gas");
        let by_defender = moves.iter().filter(|mv| mv.1 == Side::Defender).count();
        keep(&format!("{about}: defender's moves"), "moves", by_defender as u64, Some(DEFENDER_MOVES as u64));
        assert!(by_defender <= DEFENDER_MOVES, "{about}: {by_defender} moves by the defender");
        let judging = moves.iter().position(|mv| mv.0.starts_with("`judge")).unwrap();
        let (judging_gas, bound_gas) = (chain.gas[judging].needed, bounds[lie.node()].gas);
        assert!(judging_gas <= bound_gas, "{about}: {judging_gas} gas to judge, the validator's bound is {bound_gas}");
        assert!(bound_gas <= MAX_UNIT_GAS);
    }
}

/// A game over the digits, with a lie about a node's number or about the state, or left by the challenger before it is judged.
fn digits(about: &str, left: bool) {
    // a batch of 300: a fold of more than one block
    let work = Work::new(300);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let state = Fault::State { step: 4, tensor: work.state_index("rng_key"), element: 1, flip: 1 };
    let node = work.job.program.nodes.iter().position(|node| node.fold_length() > 256).unwrap() as u32;
    let lie = Fault::Node { step: 4, node, element: 0, flip: 1 };
    let faults = if about == "state" { vec![state] } else { vec![lie, state] };
    let mut cheat = work.faulty(4, faults);
    let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat));
    chain.gas.clear();
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    let mut names = vec!["`announce`".to_owned(), "`open`".to_owned()];
    while !game.state.phase.is_over() {
        let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
        names.push(game.name(&mv));
        if left && names.last().unwrap().starts_with("`judge") {
            *names.last_mut().unwrap() = "`timeout`".to_owned();
            game.time_out(&mut chain);
            // refused, timed out, paid
            let refused = chain.gas.len() - 3;
            chain.gas.remove(refused);
        } else {
            game.play(&mut chain, &mv).unwrap();
        }
    }
    assert_eq!(game.state.winner(), Some(if left { Side::Defender } else { Side::Challenger }));
    names.push("`pay`".to_owned());
    let which = if left { ", not judged" } else { "" };
    keep_all(&format!("dispute, digits, about a {about}{which}"), &names, &chain.gas, None);
}

#[test]
fn every_move_of_the_game_has_its_gas_in_the_table() {
    digits("node", false);
    digits("state", false);
    digits("node", true);
}
