//! Moves that the contract must refuse whoever plays: out of turn, out of phase, out of time, by strangers, or about another
//! position; each with an error that says so in words.

use alloy_primitives::{Address, B256};
use lockstep_dispute::{Move, Phase, Side};
use lockstep_sdk::{moves, run::Run};

use crate::chain::{ARBITER, CHALLENGER, Chain, REQUESTER, SOLVER};
use crate::game::Game;
use crate::market::{CLOCK_S, CONVICTED, Claimed, GRACE_S};
use crate::work::{Work, checkpoint_roots};

/// A claim that is wrong in the last step, so that a game goes all the way to the judge.
fn cheat(work: &Work) -> Run {
    use lockstep_sdk::run::Fault;
    let node = work.job.node_names.iter().rposition(|name| name != "increment").unwrap() as u32;
    let state = Fault::State { step: 5, tensor: work.state_index("rng_key"), element: 1, flip: 1 };
    work.faulty(5, vec![Fault::Node { step: 5, node, element: 0, flip: 1 }, state])
}

/// Sends `mv` as it would be played, but by `by` and about `position`; the refusal.
fn refused(chain: &mut Chain, work: &Work, game: &Game<'_>, by: Address, position: B256, mv: Move) -> String {
    let call = moves::call(game.id, position, work.hashes.header(), mv);
    chain.send_raw(by, chain.disputes, call.calldata).unwrap_err()
}

/// All moves of a game to its end, in order.
fn recorded(chain: &mut Chain, work: &Work, claimed: &Claimed, cheat: &mut Run, honest: &mut Run) -> Vec<Move> {
    let mut game = Game::open(chain, work, claimed, 1);
    let mut played = vec![];
    while !game.state.phase.is_over() {
        let mv = game.strategic(work.parts(), cheat, honest).unwrap();
        game.play(chain, &mv).unwrap();
        played.push(mv);
    }
    played
}

#[test]
fn a_move_out_of_phase_or_out_of_turn_is_refused_in_every_position() {
    let work = Work::new(300);
    let (mut chain, mut honest, mut cheat) = (Chain::new(), work.honest(), cheat(&work));
    let roots = checkpoint_roots(&mut cheat);
    let claimed = Claimed::new(&mut chain, &work, roots.clone());
    let mut played = recorded(&mut chain, &work, &claimed, &mut cheat, &mut honest);
    let last = played.last().cloned().unwrap();
    played.extend([Move::PointState, Move::Timeout, Move::PostBlocks { values: vec![1, 2] }]);
    let claimed = Claimed::new(&mut chain, &work, roots);
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    let mut tried = 0;
    while !game.state.phase.is_over() {
        for other in &played {
            if game.state.apply(game.terms, other, chain.now_s).is_err() {
                let by = match other {
                    Move::PostSteps { .. }
                    | Move::PostTrace { .. }
                    | Move::PostChildren { .. }
                    | Move::PostTensor { .. }
                    | Move::PostChunk { .. }
                    | Move::PostBlocks { .. } => SOLVER,
                    _ => CHALLENGER,
                };
                game.play_by(&mut chain, by, other).unwrap_err();
                tried += 1;
            }
        }
        let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
        game.play(&mut chain, &mv).unwrap();
    }
    assert!(tried > 60, "{tried} moves were tried");
    // Over is over, for every move, the clock's among them.
    for other in &played {
        let words = game.play(&mut chain, other).unwrap_err();
        assert!(words.starts_with("WrongPhase"), "{words}");
    }
    assert!(matches!(last, Move::Judge { .. }));
    chain.now_s += 10 * u64::from(CLOCK_S);
    assert!(game.play(&mut chain, &Move::Timeout).unwrap_err().starts_with("WrongPhase"));
}

#[test]
fn strangers_stale_positions_and_other_programs_are_refused_by_name() {
    let work = Work::new(32);
    let (mut chain, mut honest, mut cheat) = (Chain::new(), work.honest(), cheat(&work));
    let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat));
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    let mut earlier = B256::repeat_byte(7);
    let mut headers = 0;
    while !game.state.phase.is_over() {
        let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
        let position = chain.standing(game.id).position;
        let sender = game.sender(&mv);
        for stale in [earlier, B256::ZERO] {
            let words = refused(&mut chain, &work, &game, sender, stale, mv.clone());
            assert!(words.starts_with("WrongPosition"), "{words}");
        }
        let anyone = matches!(game.state.phase, Phase::Judge | Phase::JudgeState);
        if !anyone {
            let (name, other) = match game.state.turn {
                Side::Defender => ("NotDefender", CHALLENGER),
                Side::Challenger => ("NotChallenger", SOLVER),
            };
            for stranger in [other, REQUESTER, ARBITER] {
                let words = refused(&mut chain, &work, &game, stranger, position, mv.clone());
                assert!(words.starts_with(name), "{words}");
            }
        }
        if matches!(mv, Move::PostTrace { .. } | Move::PostTensor { .. } | Move::Judge { .. }) {
            let mut header = work.hashes.header().clone();
            header.nodeCount -= 1;
            let call = moves::call(game.id, position, &header, mv.clone());
            let words = chain.send_raw(sender, chain.disputes, call.calldata).unwrap_err();
            assert!(words.starts_with("WrongHeader"), "{words}");
            headers += 1;
        }
        game.play(&mut chain, &mv).unwrap();
        earlier = position;
    }
    assert_eq!(headers, 3);
    assert_eq!(claimed.status(&mut chain), CONVICTED);
}

#[test]
fn a_game_played_at_the_last_second_ends_as_any_other() {
    let work = Work::new(32);
    let (mut chain, mut honest, mut cheat) = (Chain::new(), work.honest(), cheat(&work));
    let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat));
    let mut game = Game::open(&mut chain, &work, &claimed, 1);
    let started_s = chain.now_s;
    let mut played = 0;
    while !game.state.phase.is_over() {
        let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
        let deadline_s = game.state.deadline_s(game.terms);
        chain.now_s = deadline_s + 1;
        let late = game.play(&mut chain, &mv).unwrap_err();
        assert!(late.starts_with("TimeIsUp"), "{late}");
        chain.now_s = deadline_s;
        let early = game.play(&mut chain, &Move::Timeout).unwrap_err();
        assert!(early.starts_with("NotYetTimedOut"), "{early}");
        game.play(&mut chain, &mv).unwrap();
        played += 1;
    }
    assert_eq!(game.state.winner(), Some(Side::Challenger));
    let most_s = 2 * u64::from(CLOCK_S) + (played - 2) * u64::from(GRACE_S);
    assert_eq!(chain.now_s - started_s, most_s, "both clocks, and a grace for every other move");
}

#[test]
fn whoever_stops_moving_loses_in_every_phase() {
    let work = Work::new(300);
    let (mut chain, mut honest, mut cheat) = (Chain::new(), work.honest(), cheat(&work));
    let mut seen = vec![];
    for stop in 0.. {
        let claimed = Claimed::new(&mut chain, &work, checkpoint_roots(&mut cheat));
        let mut game = Game::open(&mut chain, &work, &claimed, 1);
        for _ in 0..stop {
            let mv = game.strategic(work.parts(), &mut cheat, &mut honest).unwrap();
            game.play(&mut chain, &mv).unwrap();
        }
        if game.state.phase.is_over() {
            break;
        }
        let (phase, turn) = (game.state.phase, game.state.turn);
        assert_eq!(game.time_out(&mut chain), turn.other(), "{phase:?}");
        seen.push((phase, turn));
    }
    assert_eq!(seen.last(), Some(&(Phase::Judge, Side::Challenger)));
    assert!(
        seen.contains(&(Phase::Nodes, Side::Challenger)) && seen.contains(&(Phase::Chunk, Side::Defender)),
        "{seen:?}"
    );
}
