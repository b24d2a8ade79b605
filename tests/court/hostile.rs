//! Hostile judgements, through the real game: tampered witnesses, nodes, values and calldata. Whatever is sent, the verdict is the right
//! one or there is none, a refusal has a name, and gas is bounded.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, Log};
use alloy_sol_types::SolEvent;
use lockstep_contracts::Disputes;
use lockstep_dispute::{ChunkWitness, Defender, Move, OperandWitness, Phase, Side, witness};
use lockstep_ir::{Source, judge::MAX_UNIT_GAS};
use lockstep_sdk::{chain::revert_words, moves, run::Fault, run::Run};

use crate::accuser::random_pointer;
use crate::chain::{ARBITER, Chain};
use crate::game::Game;
use crate::market::Claimed;
use crate::random::{Rng, setting};
use crate::work::{Work, checkpoint_roots};

/// More than any unit may take, for what is appended costs calldata.
const MOST_GAS: u64 = 2 * MAX_UNIT_GAS;
/// Attempts of each kind at every judgement.
const ATTEMPTS: u64 = 40;

/// A verdict: who won, and what the referee said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    defender_wins: bool,
    recomputed: Option<u32>,
    correct: Option<B256>,
}

fn verdict(logs: &[Log]) -> Verdict {
    let resolved = logs.iter().find_map(|log| Disputes::Resolved::decode_log(log).ok()).unwrap();
    assert!(!resolved.byTimeout);
    Verdict {
        defender_wins: resolved.winner == 0,
        recomputed: logs.iter().find_map(|log| Disputes::Judged::decode_log(log).ok()).map(|log| log.recomputed),
        correct: logs.iter().find_map(|log| Disputes::StateJudged::decode_log(log).ok()).map(|log| log.correct),
    }
}

#[derive(Default)]
struct Tally {
    right: u64,
    refused: BTreeMap<String, u64>,
    most_gas: u64,
}

impl Tally {
    /// Sends calldata that changes nothing here, and holds what comes back to the truth.
    fn attempt(&mut self, chain: &mut Chain, data: Vec<u8>, truth: Verdict, encoded: bool) {
        let what = Bytes::copy_from_slice(&data[..4]);
        let (result, gas) = chain.attempt(ARBITER, chain.disputes, data);
        assert!(gas <= MOST_GAS, "{what}: {gas} gas");
        self.most_gas = self.most_gas.max(gas);
        match result {
            Ok(logs) => {
                assert_eq!(verdict(&logs), truth, "a wrong verdict");
                self.right += 1;
            }
            Err(revert) => {
                let words = revert_words(&revert);
                let name = words.split(['(', ' ', '{', ':']).next().unwrap().to_owned();
                // what no encoder makes, the decoder of calldata may refuse in its own way
                let own = revert.is_empty() || words.contains("panic");
                assert!(!words.contains("unknown error") && (!own || !encoded), "a refusal without a name: {words}");
                *self.refused.entry(if own { "malformed".to_owned() } else { name }).or_default() += 1;
            }
        }
    }

    fn attack(&mut self, chain: &mut Chain, game: &Game<'_>, mv: &Move, rng: &mut Rng) {
        let position = chain.standing(game.id).position;
        let call = |mv: Move| moves::call(game.id, position, &game.terms.header, mv).calldata;
        let truth = match chain.attempt(ARBITER, chain.disputes, call(mv.clone())).0 {
            Ok(logs) => verdict(&logs),
            Err(revert) => panic!("the true judgement: {}", revert_words(&revert)),
        };
        for _ in 0..ATTEMPTS {
            let mut altered = mv.clone();
            for _ in 0..1 + rng.below(3) {
                alter(&mut altered, rng);
            }
            self.attempt(chain, call(altered), truth, true);
            let mut data = call(mv.clone());
            tamper(&mut data, rng);
            self.attempt(chain, data, truth, false);
        }
        let mut header = game.terms.header.clone();
        header.stateCount += 1;
        let other = moves::call(game.id, position, &header, mv.clone()).calldata;
        self.attempt(chain, other, truth, true);
        let stale = moves::call(game.id, rng.hash(), &game.terms.header, mv.clone()).calldata;
        self.attempt(chain, stale, truth, true);
    }
}

fn one<'a, T>(all: &'a mut [T], rng: &mut Rng) -> Option<&'a mut T> {
    let index = rng.below(all.len().max(1) as u64) as usize;
    all.get_mut(index)
}

fn flip(bytes: &mut [u8], rng: &mut Rng) {
    if let Some(byte) = one(bytes, rng) {
        *byte ^= 1 << rng.below(8);
    }
}

/// A list of hashes with one altered, more or missing.
fn alter_list(list: &mut Vec<B256>, rng: &mut Rng) {
    match rng.below(3) {
        0 => list.push(rng.hash()),
        1 => drop(list.pop()),
        _ => {
            if let Some(hash) = one(list, rng) {
                *hash = rng.hash();
            }
        }
    }
}

/// Something else than the true judgement says, as any encoder would write it.
fn alter(mv: &mut Move, rng: &mut Rng) {
    match mv {
        Move::Judge { node, values, witness } => match rng.below(8) {
            0 => flip(node, rng),
            1 => node.truncate(rng.below(node.len() as u64 + 1) as usize),
            2 => values.push(rng.bits() as u32),
            3 => drop(one(values, rng).map(|value| *value ^= 1)),
            4 => alter_operands(witness, rng),
            _ => drop(one(witness, rng).map(|operand| alter_operand(operand, rng))),
        },
        Move::JudgeState { decl, decl_proof, source_root, source_proof } => match rng.below(5) {
            0 => *source_root = rng.hash(),
            1 => alter_list(decl_proof, rng),
            2 => alter_list(source_proof, rng),
            3 => decl.next = Source::State(rng.below(40) as u32),
            _ => decl.next = Source::Node(rng.below(40) as u32),
        },
        other => panic!("{other:?} is no judgement"),
    }
}

fn alter_operands(witness: &mut Vec<OperandWitness>, rng: &mut Rng) {
    let Some(last) = witness.pop() else { return witness.push(OperandWitness::default()) };
    match rng.below(4) {
        0 => witness.insert(rng.below(witness.len() as u64 + 1) as usize, last),
        1 => witness.extend([last, OperandWitness::default()]),
        2 => witness.extend([last.clone(), last]),
        _ => {}
    }
}

fn alter_operand(operand: &mut OperandWitness, rng: &mut Rng) {
    match rng.below(6) {
        0 => operand.merkle_root = rng.hash(),
        1 => alter_list(&mut operand.root_proof, rng),
        2 => operand.chunks.reverse(),
        3 => {
            let twice = operand.chunks.first().cloned();
            operand.chunks.extend(twice);
        }
        4 => drop(operand.chunks.pop()),
        _ => drop(one(&mut operand.chunks, rng).map(|chunk| alter_chunk(chunk, rng))),
    }
}

fn alter_chunk(chunk: &mut ChunkWitness, rng: &mut Rng) {
    match rng.below(5) {
        0 => chunk.index ^= 1 << rng.below(64),
        1 => flip(&mut chunk.data, rng),
        2 => chunk.data.push(0),
        3 => drop(chunk.data.pop()),
        _ => alter_list(&mut chunk.proof, rng),
    }
}

/// Bytes that no encoder writes, after the selector and the dispute's number.
fn tamper(data: &mut Vec<u8>, rng: &mut Rng) {
    let at = 36 + rng.below(data.len() as u64 - 36) as usize;
    let word = 36 + (at - 36) / 32 * 32;
    match rng.below(4) {
        0 => data[at] ^= 1 << rng.below(8),
        1 => data.truncate(at),
        2 => data.extend((0..1 + rng.below(200)).map(|_| rng.bits() as u8)),
        _ => {
            let end = data.len().min(word + 32);
            let filler = [0x00, 0x80, 0xff][rng.below(3) as usize];
            data[word..end].fill(filler);
        }
    }
}

/// Games against honest work, which may not be convicted, and against a cheat, which may not get away.
fn attack_games(batch: u32, games: u64, seed: u64, tally: &mut Tally) -> u64 {
    let work = Work::new(batch);
    let (mut chain, mut honest) = (Chain::new(), work.honest());
    let mut judged = 0;
    for number in 0..games {
        let mut rng = Rng::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
        println!("COURT_SEED={seed}, batch {batch}, game {number}");
        let cheats = number % 2 == 1;
        let mut defender = if cheats { cheat(&work, &mut rng) } else { work.honest() };
        let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut defender));
        let mut game = Game::open(&mut chain, &work, &claimed, 1);
        while !game.state.phase.is_over() {
            let state = &game.state.clone();
            let judging = matches!(state.phase, Phase::Judge | Phase::JudgeState);
            let mv = match (state.phase, state.turn) {
                _ if cheats => game.strategic(work.parts(), &mut defender, &mut honest).unwrap(),
                (Phase::Judge, _) => witness::judge(work.parts(), state, &game.posted(), &mut honest).unwrap(),
                (Phase::JudgeState, _) => witness::judge_state(work.parts(), state, &mut honest).unwrap(),
                (_, Side::Defender) => Defender::new(work.parts()).next(state, &mut defender).unwrap(),
                _ => random_pointer(state, &game.posted(), &mut rng),
            };
            if judging {
                tally.attack(&mut chain, &game, &mv, &mut rng);
                judged += 1;
            }
            game.play(&mut chain, &mv).unwrap();
        }
        let right = if cheats { Side::Challenger } else { Side::Defender };
        assert_eq!(game.state.winner(), Some(right), "game {number}");
        claimed.end(&mut chain);
    }
    judged
}

/// A number altered anywhere in the segment that is disputed, or in the state after it.
fn cheat(work: &Work, rng: &mut Rng) -> Run {
    let step = 3 + rng.below(3);
    let nodes = &work.job.program.nodes;
    let node = rng.below(nodes.len() as u64) as u32;
    let element = rng.below(nodes[node as usize].out.elements().unwrap());
    let state = Fault::State { step, tensor: work.state_index("rng_key"), element: 1, flip: 1 };
    let lie = Fault::Node { step, node, element, flip: 1 << rng.below(23) };
    work.faulty(step, if rng.one_in(4) { vec![state] } else { vec![lie, state] })
}

#[test]
fn no_hostile_judgement_gives_another_verdict() {
    let (games, seed) = (setting("COURT_GAMES", 300) / 5, setting("COURT_SEED", 1));
    let mut tally = Tally::default();
    let judged = attack_games(32, games, seed, &mut tally) + attack_games(300, games / 3, seed ^ 0xb10c, &mut tally);
    let refused: u64 = tally.refused.values().sum();
    println!("{judged} judgements attacked, {refused} attempts refused, {} right all the same", tally.right);
    println!("dearest attempt {} gas; refused by name: {:?}", tally.most_gas, tally.refused);
    assert!(judged >= games && tally.refused.len() > 8, "{:?}", tally.refused);
}
