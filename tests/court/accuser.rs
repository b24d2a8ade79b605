//! Honest work against a challenger that points anywhere at all: it wins every game, and is paid for it.

use lockstep_commit::{Tree, tree};
use lockstep_dispute::{
    Defender, Move, Phase, Posted, Side, State,
    money::{lost_bond, settlement},
    witness,
};
use lockstep_sdk::run::Run;

use crate::chain::{ARBITER, CHALLENGER, Chain, REQUESTER, SOLVER, TREASURY};
use crate::game::Game;
use crate::market::{AMOUNTS, BOND_WEI, Claimed, DONE, PRICE_WEI, STAKE_WEI, TAKEN, TIP_WEI, shares};
use crate::random::{Rng, setting};
use crate::work::{Work, checkpoint_roots};

/// Parts that entries of a level prove with; the first level of a tree with one leaf is the cursor itself.
fn level(state: &State, posted: &Posted) -> Vec<alloy_primitives::B256> {
    let level = posted.level(state.phase).unwrap().to_vec();
    if level.is_empty() { vec![state.cursor] } else { level }
}

fn point_step(state: &State, posted: &Posted, part: usize) -> Move {
    let roots = &posted.state_roots;
    let tree = Tree::new(roots.clone());
    let (before_root, before_proof) = match part.checked_sub(1) {
        None => (state.before_root, vec![]),
        Some(before) => (roots[before], tree.prove(before as u64).unwrap()),
    };
    let after_proof = tree.prove(part as u64).unwrap();
    Move::PointStep { part: part as u32, before_root, before_proof, after_root: roots[part], after_proof }
}

fn point_child(state: &State, posted: &Posted, child: u64) -> Move {
    let level = level(state, posted);
    let proof = tree::prove_child(&level, state.depth, state.level().levels, child).unwrap();
    Move::PointChild { child: child as u32, hash: level[child as usize], proof }
}

/// Elements in the chunk that was posted.
fn elements(state: &State) -> std::ops::Range<u64> {
    let in_chunk = lockstep_commit::CHUNK_BYTES as u64 / u64::from(state.element_size);
    let first = state.index * in_chunk;
    first..(first + in_chunk).min(state.element_count)
}

/// Any pointer that exists.
pub(crate) fn random_pointer(state: &State, posted: &Posted, rng: &mut Rng) -> Move {
    match state.phase {
        Phase::Steps => point_step(state, posted, rng.below(posted.state_roots.len() as u64) as usize),
        Phase::Nodes if rng.one_in(4) => Move::PointState,
        Phase::Nodes | Phase::States | Phase::Chunks => point_child(state, posted, rng.below(state.level().real)),
        Phase::Chunk => {
            let elements = elements(state);
            let element = elements.start + rng.below(elements.end - elements.start);
            Move::PointElement { element, chunk: posted.chunk.clone() }
        }
        Phase::Blocks => {
            let child = rng.below(posted.values.len() as u64 + 1) as u32;
            let child = Some(child).filter(|&child| (child as usize) < posted.values.len());
            Move::PointBlock { child, values: posted.values.clone() }
        }
        phase => panic!("nothing to point at in {phase:?}"),
    }
}

/// Pointers at what is not there, and proofs of what was not posted; with the error that refuses each.
fn illegal_pointers(state: &State, posted: &Posted, rng: &mut Rng) -> Vec<(Move, &'static str)> {
    match state.phase {
        Phase::Steps => illegal_steps(state, posted, rng),
        Phase::Nodes | Phase::States | Phase::Chunks => illegal_children(state, posted, rng),
        Phase::Chunk => illegal_elements(state, posted),
        Phase::Blocks => {
            let values = posted.values.clone();
            let count = values.len() as u32;
            let altered: Vec<u32> = values.iter().map(|value| value ^ 1).collect();
            vec![
                (Move::PointBlock { child: Some(count), values: values.clone() }, "PastTheEnd"),
                (Move::PointBlock { child: Some(u32::MAX - 1), values: values.clone() }, "PastTheEnd"),
                (Move::PointBlock { child: Some(0), values: altered.clone() }, "WrongHash"),
                (Move::PointBlock { child: None, values: altered }, "WrongHash"),
                (Move::PointBlock { child: None, values: values[1..].to_vec() }, "WrongHash"),
            ]
        }
        phase => panic!("nothing to point at in {phase:?}"),
    }
}

fn illegal_steps(state: &State, posted: &Posted, rng: &mut Rng) -> Vec<(Move, &'static str)> {
    let count = posted.state_roots.len();
    let altered = |alter: &dyn Fn(&mut Move)| {
        let mut mv = point_step(state, posted, 1);
        alter(&mut mv);
        mv
    };
    let random = rng.hash();
    let to = |new: u32| {
        move |mv: &mut Move| {
            if let Move::PointStep { part, .. } = mv {
                *part = new;
            }
        }
    };
    let with_after = |mv: &mut Move| {
        if let Move::PointStep { after_root, .. } = mv {
            *after_root = random;
        }
    };
    let with_before = |mv: &mut Move| {
        if let Move::PointStep { before_root, .. } = mv {
            *before_root = random;
        }
    };
    let without_proof = |mv: &mut Move| {
        if let Move::PointStep { after_proof, .. } = mv {
            after_proof.clear();
        }
    };
    vec![
        (altered(&to(count as u32)), "PastTheEnd"),
        (altered(&to(u32::MAX)), "PastTheEnd"),
        (altered(&to(2)), "WrongHash"),
        (altered(&with_after), "WrongHash"),
        (altered(&with_before), "WrongHash"),
        (altered(&without_proof), "WrongProofLength"),
    ]
}

fn illegal_children(state: &State, posted: &Posted, rng: &mut Rng) -> Vec<(Move, &'static str)> {
    let real = state.level().real;
    let Move::PointChild { hash, proof, .. } = point_child(state, posted, 0) else { unreachable!() };
    let too_long = [&proof[..], &[hash]].concat();
    vec![
        (Move::PointChild { child: real as u32, hash, proof: proof.clone() }, "PastTheEnd"),
        (Move::PointChild { child: u32::MAX, hash, proof: proof.clone() }, "PastTheEnd"),
        (Move::PointChild { child: 0, hash: rng.hash(), proof }, "WrongHash"),
        (Move::PointChild { child: 0, hash, proof: too_long }, "WrongProofLength"),
    ]
}

fn illegal_elements(state: &State, posted: &Posted) -> Vec<(Move, &'static str)> {
    let chunk = posted.chunk.clone();
    let first = elements(state).start;
    let mut altered = chunk.clone();
    altered[0] ^= 1;
    let mut moves = vec![
        (Move::PointElement { element: state.element_count, chunk: chunk.clone() }, "PastTheEnd"),
        (Move::PointElement { element: u64::MAX, chunk: chunk.clone() }, "PastTheEnd"),
        (Move::PointElement { element: first, chunk: altered }, "WrongHash"),
        (Move::PointElement { element: first, chunk: chunk[1..].to_vec() }, "WrongChunkLength"),
    ];
    let elsewhere = if state.index == 0 { elements(state).end } else { 0 };
    if elsewhere < state.element_count {
        moves.push((Move::PointElement { element: elsewhere, chunk }, "NotInChunk"));
    }
    moves
}

/// Judgements that prove something else than was committed to.
fn false_witnesses(mv: &Move) -> Vec<Move> {
    let mut moves = vec![];
    let Move::Judge { witness, .. } = mv else { return moves };
    let mut alter = |alter: &dyn Fn(&mut lockstep_dispute::OperandWitness)| {
        let Move::Judge { node, values, mut witness } = mv.clone() else { unreachable!() };
        let read = witness.iter().position(|operand| !operand.chunks.is_empty());
        if let Some(operand) = read {
            alter(&mut witness[operand]);
            moves.push(Move::Judge { node, values, witness });
        }
    };
    alter(&|operand| operand.chunks[0].data[0] ^= 1);
    alter(&|operand| operand.chunks[0].index += 1);
    alter(&|operand| operand.chunks[0].data.clear());
    alter(&|operand| operand.chunks.clear());
    alter(&|operand| operand.merkle_root.0[0] ^= 1);
    alter(&|operand| operand.root_proof.clear());
    let Move::Judge { node, values, .. } = mv.clone() else { return moves };
    if witness.iter().any(|operand| !operand.chunks.is_empty()) {
        moves.push(Move::Judge { node: node.clone(), values: values.clone(), witness: vec![] });
    }
    let longer = [&node[..], &[0]].concat();
    moves.push(Move::Judge { node: longer, values: values.clone(), witness: witness.clone() });
    let values = [&values[..], &[7]].concat();
    moves.push(Move::Judge { node, values, witness: witness.clone() });
    moves
}

/// How one game ended.
#[derive(Default)]
struct Tally {
    judged: u64,
    states_judged: u64,
    timeouts: u64,
    refused: u64,
}

/// One game of a wild challenger against honest work.
fn wild_game(chain: &mut Chain, work: &Work, claimed: &Claimed, run: &mut Run, rng: &mut Rng, tally: &mut Tally) {
    let mut game = Game::open(chain, work, claimed, rng.below(2) as u32);
    let leaves_it = rng.one_in(5);
    while !game.state.phase.is_over() {
        chain.now_s += rng.below(20);
        let state = &game.state.clone();
        let judging = matches!(state.phase, Phase::Judge | Phase::JudgeState);
        let gives_up = state.turn == Side::Challenger && !judging && rng.one_in(40);
        if gives_up || (judging && leaves_it) {
            tally.timeouts += 1;
            assert_eq!(game.time_out(chain), Side::Defender);
            return;
        }
        let mv = match (state.phase, state.turn) {
            (Phase::Judge, _) => witness::judge(work.parts(), state, &game.posted(), run).unwrap(),
            (Phase::JudgeState, _) => witness::judge_state(work.parts(), state, run).unwrap(),
            (_, Side::Defender) => Defender::new(work.parts()).next(state, run).unwrap(),
            _ => random_pointer(state, &game.posted(), rng),
        };
        if state.turn == Side::Challenger && !judging {
            for (illegal, name) in illegal_pointers(state, &game.posted(), rng) {
                let words = game.play(chain, &illegal).unwrap_err();
                assert!(words.starts_with(name), "{name} is due for {illegal:?}, got {words}");
                tally.refused += 1;
            }
        }
        for illegal in false_witnesses(&mv) {
            game.play(chain, &illegal).unwrap_err();
            tally.refused += 1;
        }
        if judging {
            tally.judged += 1;
            tally.states_judged += u64::from(state.phase == Phase::JudgeState);
        }
        game.play(chain, &mv).unwrap();
    }
}

fn honest_work_wins(batch: u32, games: u64, seed: u64) -> Tally {
    let work = Work::new(batch);
    let (mut chain, mut run) = (Chain::new(), work.honest());
    let parties = [SOLVER, CHALLENGER, ARBITER, REQUESTER, TREASURY];
    let before = parties.map(|party| chain.balance_wei(party));
    let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut run));
    let mut tally = Tally::default();
    let mut defended = 0;
    for number in 0..games {
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
        println!("COURT_SEED={seed}, batch {batch}, game {number}");
        let dispute = [SOLVER, CHALLENGER, ARBITER].map(|party| chain.balance_wei(party));
        let judged = tally.judged;
        wild_game(&mut chain, &work, &claimed, &mut run, &mut rng, &mut tally);
        let tip = if tally.judged > judged { TIP_WEI as i128 } else { 0 };
        let after = [SOLVER, CHALLENGER, ARBITER].map(|party| chain.balance_wei(party));
        let got: Vec<i128> = after.iter().zip(dispute).map(|(after, before)| after - before).collect();
        let bond = BOND_WEI as i128;
        let defender = lost_bond(&AMOUNTS, &shares(), tip != 0).solver_wei as i128;
        assert_eq!(got, [defender, -bond, tip], "game {number}");
        defended += defender;
        assert_eq!(claimed.status(&mut chain), TAKEN, "game {number}: the claim stands");
    }
    claimed.settle(&mut chain);
    assert_eq!(claimed.status(&mut chain), DONE);
    let after = parties.map(|party| chain.balance_wei(party));
    let got: Vec<i128> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let (price, fee) = (PRICE_WEI as i128, settlement(&AMOUNTS, &shares()).treasury_wei as i128);
    let (bonds, tips) = (BOND_WEI as i128 * i128::from(games), TIP_WEI as i128 * i128::from(tally.judged));
    let lost = bonds - tips - defended;
    assert_eq!(got, [price - fee + defended, -bonds, tips, -price, fee + lost], "{STAKE_WEI} of stake came back");
    println!("{} judged, {} of them states; {} timeouts", tally.judged, tally.states_judged, tally.timeouts);
    println!("{} illegal moves refused; dearest transaction: {} gas", tally.refused, chain.most_gas());
    tally
}

#[test]
fn honest_work_wins_against_pointers_anywhere() {
    let tally = honest_work_wins(32, setting("COURT_GAMES", 300), setting("COURT_SEED", 1));
    assert!(tally.states_judged > 0 && tally.timeouts > 0 && tally.refused > 1_000, "all kinds of games were played");
}

#[test]
fn honest_long_folds_win_against_pointers_anywhere() {
    honest_work_wins(300, setting("COURT_GAMES", 300) / 5, setting("COURT_SEED", 1) ^ 0xb10c);
}
