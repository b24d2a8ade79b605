//! Witnesses that somebody tampered with: the referee gives the reference's value or refuses by name, and never another value. What it
//! spends on them is bounded.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

mod common;
#[path = "common/witness.rs"]
mod witness;

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes};
use alloy_sol_types::{Panic, Revert, SolCall, SolError, SolInterface};
use common::Deployed;
use lockstep_contracts::Referee::{self, OperandWitness, RefereeErrors, recomputeCall};
use lockstep_ir::{
    eval::Unit,
    judge::MAX_UNIT_GAS,
    program::level_count,
    sample::{Rng, tensors, valid_program},
};
use witness::Step;

const PROGRAMS: u64 = 150;
/// Attempts on every unit, of either kind.
const ATTEMPTS: u64 = 12;
/// What an attempt may cost: a witness that is refused late has been read, and more was sent than is needed.
const MOST_GAS: u64 = 2 * MAX_UNIT_GAS;

/// Numbers that lengths and offsets are replaced by.
fn word(rng: &mut Rng) -> [u8; 32] {
    let mut word = [0; 32];
    match rng.below(5) {
        0 => word = [0xff; 32],
        // just below 2^256, 2^255 and 2^64, and small
        1 => word.iter_mut().zip(0..).for_each(|(byte, i)| *byte = if i == 31 { 0xe0 } else { 0xff }),
        2 => word[0] = 0x80,
        3 => word[24..].fill(0xff),
        _ => word[31] = rng.below(256) as u8,
    }
    word
}

/// Where the witness begins in the calldata: after the selector and at the offset that the last of the five arguments names.
fn witness_at(data: &[u8]) -> usize {
    // node, six words of inputs, three of the unit, values, witness
    let offset = 4 + 32 * 11;
    4 + u32::from_be_bytes(data[offset + 28..offset + 32].try_into().unwrap()) as usize
}

/// Tampers with the bytes of the witness; says how.
fn tamper(data: &mut Vec<u8>, rng: &mut Rng) -> &'static str {
    let start = witness_at(data);
    if start >= data.len() {
        return "nothing";
    }
    let at = start + rng.below((data.len() - start) as u64) as usize;
    let aligned = start + (at - start) / 32 * 32;
    match rng.below(5) {
        0 => {
            data[at] ^= 1 << rng.below(8);
            "a bit flipped"
        }
        1 => {
            data.truncate(at);
            "cut off"
        }
        2 => {
            data.extend((0..1 + rng.below(200)).map(|_| rng.bits() as u8));
            "bytes appended"
        }
        3 => {
            data[aligned..aligned + 32].copy_from_slice(&word(rng));
            "a word replaced"
        }
        _ => {
            let other = start + rng.below(((data.len() - start) / 32) as u64) as usize * 32;
            let (a, b) = (aligned.min(other), aligned.max(other));
            let (left, right) = data.split_at_mut(b);
            if a < b {
                left[a..a + 32].swap_with_slice(&mut right[..32]);
            }
            "two words exchanged"
        }
    }
}

/// Tampers with what the witness says; says how.
fn alter(witness: &mut [OperandWitness], rng: &mut Rng) -> &'static str {
    let used: Vec<usize> = (0..witness.len()).filter(|&i| !witness[i].chunks.is_empty()).collect();
    let Some(&i) = used.get(rng.below(used.len().max(1) as u64) as usize) else { return "nothing" };
    let hash = B256::repeat_byte(rng.bits() as u8);
    let chunk = rng.below(witness[i].chunks.len() as u64) as usize;
    match rng.below(10) {
        0 => {
            witness.swap(i, used[used.len() - 1]);
            "operands exchanged"
        }
        1 => {
            let last = witness[i].chunks.len() - 1;
            let (a, b) = (witness[i].chunks[chunk].proof.clone(), witness[i].chunks[last].proof.clone());
            (witness[i].chunks[chunk].proof, witness[i].chunks[last].proof) = (b, a);
            "proofs exchanged"
        }
        2 => {
            witness[i].chunks[chunk].proof.push(hash);
            "a proof too long"
        }
        3 => {
            witness[i].chunks[chunk].proof.pop();
            "a proof too short"
        }
        4 => {
            witness[i].rootProof.push(hash);
            "a root's proof too long"
        }
        5 => {
            let twice = witness[i].chunks[chunk].clone();
            witness[i].chunks.push(twice);
            "a chunk twice"
        }
        6 => {
            witness[i].chunks[chunk].index ^= 1 << rng.below(64);
            "another index"
        }
        7 => {
            let longer = [&witness[i].chunks[chunk].data[..], &[0]].concat();
            witness[i].chunks[chunk].data = longer.into();
            "a chunk with a byte more"
        }
        8 => {
            witness[i].chunks.remove(chunk);
            "a chunk missing"
        }
        _ => {
            let shorter = witness[i].chunks[chunk].data.slice(1..);
            witness[i].chunks[chunk].data = shorter;
            "a chunk with a byte less"
        }
    }
}

/// The name of a refusal; empty bytes are what the decoder of calldata answers to calldata that is none.
fn name(revert: &Bytes, malformed: bool) -> String {
    if revert.is_empty() && malformed {
        return "malformed calldata".into();
    }
    if let Ok(error) = RefereeErrors::abi_decode(revert) {
        let words = format!("{error:?}");
        return words.split(['(', ' ']).next().unwrap_or_default().to_owned();
    }
    // only calldata that no encoder makes may run into arithmetic
    if malformed && (Panic::abi_decode(revert).is_ok() || Revert::abi_decode(revert).is_ok()) {
        return "panic".into();
    }
    panic!("a refusal without a name: {revert}");
}

#[derive(Default)]
struct Tally {
    refused: BTreeMap<String, u64>,
    right: u64,
    most_gas: u64,
}

impl Tally {
    fn attempt(&mut self, referee: &mut Deployed, data: Vec<u8>, expected: u32, malformed: bool, how: &str) {
        let (result, gas) = referee.raw(data);
        assert!(gas <= MOST_GAS, "{how}: {gas} gas");
        self.most_gas = self.most_gas.max(gas);
        match result {
            Ok(bytes) => {
                let value = recomputeCall::abi_decode_returns(&bytes).unwrap();
                assert_eq!(value, expected, "{how}: another value");
                self.right += 1;
            }
            Err(revert) => *self.refused.entry(name(&revert, malformed)).or_default() += 1,
        }
    }
}

fn attack(referee: &mut Deployed, call: &recomputeCall, expected: u32, rng: &mut Rng, tally: &mut Tally) {
    for _ in 0..ATTEMPTS {
        let mut data = call.abi_encode();
        let how = tamper(&mut data, rng);
        tally.attempt(referee, data, expected, true, how);
        let mut altered = call.clone();
        let how = alter(&mut altered.witness, rng);
        tally.attempt(referee, altered.abi_encode(), expected, false, how);
    }
}

#[test]
fn a_tampered_witness_never_gives_another_value() {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let mut tally = Tally::default();
    for seed in 0..PROGRAMS {
        let mut rng = Rng::new(90_000 + seed);
        let program = valid_program(&mut rng, 2, 3_000);
        let (state, data) = tensors(&mut rng, &program);
        let step = Step::new(program, state, data);
        for index in 0..step.program.nodes.len() {
            let length = step.program.nodes[index].fold_length();
            let element = rng.below(step.trace[index].len());
            let unit = if length <= 256 { Unit::Element } else { Unit::Leaf(rng.below(level_count(length, 1))) };
            let (expected, call) = step.unit(index, element, &unit);
            assert_eq!(referee.call(&call).0.unwrap(), expected, "seed {seed}, node {index}");
            attack(&mut referee, &call, expected, &mut rng, &mut tally);
        }
    }
    let refused: u64 = tally.refused.values().sum();
    println!("{} right, {refused} refused, at most {} gas: {:#?}", tally.right, tally.most_gas, tally.refused);
    assert!(refused > 3_000 && tally.right > 1_000 && tally.refused.len() > 5);
}
