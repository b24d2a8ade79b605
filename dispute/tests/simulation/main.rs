//! Whole games from seeds: the honest side wins every one of them, whatever the other side does.
//! `DISPUTE_SEED` sets the first seed, `DISPUTE_GAMES` the games per world.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped must fail it")]

mod players;
mod rules;
mod world;

use std::collections::BTreeSet;

use lockstep_dispute::{MemoryReplay, Phase, Replay, Side, State, Terms};
use players::{Tally, honest_challenger, honest_defender, liar, play, wild_challenger};
use world::{Fault, Liar, Rng, Shape, World};

const LONG: &[u32] = &[70_000, 257, 65_537];
const WORLDS: &[(&str, Shape)] = &[
    ("one of everything", Shape { nodes: 1, states: 1, steps: 1, folds: &[], elements: 1, last_elements: 0 }),
    ("two nodes", Shape { nodes: 2, states: 2, steps: 3, folds: &[], elements: 700, last_elements: 0 }),
    ("blocks of 256", Shape { nodes: 4, states: 3, steps: 2, folds: &[256, 1, 255], elements: 40, last_elements: 0 }),
    ("two blocks", Shape { nodes: 9, states: 5, steps: 4, folds: &[257, 512, 3000], elements: 40, last_elements: 0 }),
    ("full level", Shape { nodes: 1, states: 1, steps: 2, folds: &[65_536], elements: 1, last_elements: 0 }),
    ("two levels of blocks", Shape { nodes: 1, states: 1, steps: 1, folds: &[70_000], elements: 1, last_elements: 0 }),
    ("long folds", Shape { nodes: 12, states: 4, steps: 2, folds: LONG, elements: 30, last_elements: 0 }),
    ("255 nodes", Shape { nodes: 255, states: 256, steps: 2, folds: &[300], elements: 20, last_elements: 0 }),
    ("256 nodes", Shape { nodes: 256, states: 257, steps: 2, folds: &[], elements: 20, last_elements: 0 }),
    ("257 nodes", Shape { nodes: 257, states: 300, steps: 2, folds: &[], elements: 20, last_elements: 0 }),
    ("1,000 nodes", Shape { nodes: 1000, states: 7, steps: 2, folds: &[], elements: 5, last_elements: 0 }),
    ("293 chunks", Shape { nodes: 2, states: 1, steps: 1, folds: &[], elements: 9, last_elements: 300_000 }),
    ("256 steps", Shape { nodes: 2, states: 2, steps: 256, folds: &[], elements: 3, last_elements: 0 }),
    ("600 steps", Shape { nodes: 3, states: 2, steps: 600, folds: &[260], elements: 3, last_elements: 0 }),
];
const MANY_STEPS: Shape = Shape { nodes: 1, states: 1, steps: 70_000, folds: &[], elements: 2, last_elements: 0 };

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

/// The segment that a dispute over a run with faults is about: from the last agreed state, or before, to a wrong one.
fn segment(world: &mut World, cheat: &mut MemoryReplay, rng: &mut Rng) -> Option<(u64, u64)> {
    let differs = |steps: &u64| cheat.state_root(*steps).unwrap() != world.honest.state_root(*steps).unwrap();
    let wrong: Vec<u64> = (1..=world.steps).filter(differs).collect();
    let first_wrong = *wrong.first()?;
    let end = wrong[rng.below(wrong.len() as u64) as usize];
    let start = rng.below(first_wrong);
    Some((start, end - start))
}

fn open(terms: &Terms, before: &mut MemoryReplay, after: &mut MemoryReplay, (first, steps): (u64, u64)) -> State {
    let before_root = before.state_root(first).unwrap();
    let after_root = after.state_root(first + steps).unwrap();
    State::open(terms, first, steps, before_root, after_root, 50)
}

/// A challenger that runs honestly, against cheats of all kinds.
fn against_cheats(name: &str, world: &mut World, runs: u64, games: u64, seed: u64, tally: &mut Tally) {
    let terms = world.terms();
    for run in 0..runs {
        let seed = seed.wrapping_add(run);
        let rng = &mut Rng::new(seed);
        let faults: Vec<Fault> = (0..=rng.below(3)).map(|_| world.fault(rng)).collect();
        let mut cheat = world.with_faults(&faults);
        for game in 0..games {
            let Some(segment) = segment(world, &mut cheat, rng) else { break };
            let start = open(&terms, &mut world.honest.clone(), &mut cheat, segment);
            let mut honest = world.honest.clone();
            let about_states_but = rng.one_in(3).then_some(segment.0 + segment.1);
            let mut run =
                Liar { run: &mut cheat, rng: Rng::new(rng.bits()), about_blocks: !rng.one_in(3), about_states_but };
            let job = world.job();
            let winner = play(&terms, start, liar(job, &mut run), honest_challenger(job, &mut honest), tally);
            assert_eq!(winner, Side::Challenger, "{name}, seed {seed}, game {game}: {faults:?}");
        }
    }
}

/// A defender that ran honestly, against challengers that point anywhere.
fn against_wild_challengers(name: &str, world: &mut World, games: u64, seed: u64, tally: &mut Tally) {
    let terms = world.terms();
    for game in 0..games {
        let seed = seed.wrapping_add(game);
        let rng = &mut Rng::new(seed);
        let first = rng.below(world.steps);
        let steps = 1 + rng.below(world.steps - first);
        let start = open(&terms, &mut world.honest.clone(), &mut world.honest.clone(), (first, steps));
        let (mut ours, mut theirs) = (world.honest.clone(), world.honest.clone());
        let job = world.job();
        let wild = wild_challenger(job, &mut theirs, Rng::new(rng.bits()));
        let winner = play(&terms, start, honest_defender(job, &mut ours), wild, tally);
        assert_eq!(winner, Side::Defender, "{name}, seed {seed}");
    }
}

#[test]
fn the_honest_side_always_wins() {
    let seed = setting("DISPUTE_SEED", 1);
    let games = setting("DISPUTE_GAMES", 40);
    let mut convicted = Tally::default();
    let mut cleared = Tally::default();
    for (name, shape) in WORLDS {
        let started = std::time::Instant::now();
        let mut world = World::new(shape, seed);
        // The reference evaluator takes its time over long folds.
        let long = shape.folds.iter().any(|&fold| fold > 60_000);
        let games = if long { games.div_ceil(4) } else { games };
        against_cheats(name, &mut world, games.div_ceil(5), 5, seed, &mut convicted);
        against_wild_challengers(name, &mut world, games, seed, &mut cleared);
        println!("{name}: {} ms", started.elapsed().as_millis());
    }
    let all: BTreeSet<u8> = (0..4).collect();
    println!("cheats: {convicted:?}\nchallengers: {cleared:?}");
    assert_eq!(convicted.units, all, "every kind of unit convicts");
    assert_eq!(cleared.units, all, "every kind of unit clears");
    let walked: BTreeSet<u8> = (Phase::Steps as u8..=Phase::JudgeState as u8).collect();
    assert_eq!(convicted.phases, walked, "every phase leads to a conviction");
    assert_eq!(cleared.phases, walked, "every phase leads to an acquittal");
}

#[test]
fn many_steps_are_split_three_times() {
    let mut world = World::new(&MANY_STEPS, 7);
    let mut tally = Tally::default();
    against_cheats("70,000 steps", &mut world, 1, 5, 11, &mut tally);
    against_wild_challengers("70,000 steps", &mut world, 10, 3, &mut tally);
    assert!(tally.games >= 15);
}
