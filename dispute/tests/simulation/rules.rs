//! The rules one by one: what must never work, each by name.

use lockstep_commit::{B256, tree};
use lockstep_dispute::{
    Challenger, Defender, Illegal, MemoryReplay, Move, NoMove, Phase, Posted, Side, State, Terms, UnitKind, witness,
};

use crate::open;
use crate::world::{Fault, Shape, World};

const SMALL: Shape = Shape { nodes: 4, states: 3, steps: 3, folds: &[600], elements: 700, last_elements: 0 };
const WIDE: Shape = Shape { nodes: 257, states: 257, steps: 1, folds: &[], elements: 3, last_elements: 0 };
const BYTES: Shape = Shape { nodes: 2, states: 1, steps: 1, folds: &[], elements: 9, last_elements: 300_000 };
const SINGLE: Shape = Shape { nodes: 1, states: 1, steps: 1, folds: &[], elements: 1, last_elements: 0 };

/// A game between a cheat and an honest challenger that can be stopped anywhere.
struct Board {
    world: World,
    cheat: MemoryReplay,
    terms: Terms,
    state: State,
    posted: Posted,
    /// Every move so far with the state that it answered.
    moves: Vec<(State, Move)>,
}

impl Board {
    fn new(shape: &Shape, faults: &[Fault]) -> Self {
        let mut world = World::new(shape, 5);
        let mut cheat = world.with_faults(faults);
        let terms = world.terms();
        let state = open(&terms, &mut world.honest.clone(), &mut cheat, (0, world.steps));
        Self { world, cheat, terms, state, posted: Posted::default(), moves: vec![] }
    }

    /// What the side to move would do.
    fn due(&mut self) -> Move {
        let job = self.world.job();
        match self.state.turn {
            Side::Defender => Defender::new(job).next(&self.state, &mut self.cheat).unwrap(),
            Side::Challenger => {
                Challenger::new(job).next(&self.state, &self.posted, &mut self.world.honest.clone()).unwrap()
            }
        }
    }

    fn apply(&mut self, mv: Move) {
        let next = self.state.apply(&self.terms, &mv, self.state.turn_started_s + 1).unwrap();
        self.posted.record(self.state.phase, &mv);
        self.moves.push((std::mem::replace(&mut self.state, next), mv));
    }

    fn step(&mut self) {
        let mv = self.due();
        self.apply(mv);
    }

    /// Plays on until it is `turn`'s turn in `phase`.
    fn until(&mut self, phase: Phase, turn: Side) {
        while (self.state.phase, self.state.turn) != (phase, turn) {
            assert_eq!(self.state.winner(), None, "the game ended before {phase:?}");
            self.step();
        }
    }

    fn end(&mut self) -> Side {
        while self.state.winner().is_none() {
            self.step();
        }
        self.state.winner().unwrap()
    }

    #[track_caller]
    fn refuses(&self, mv: &Move, expected: impl Fn(&Illegal) -> bool) {
        let refused = self.state.apply(&self.terms, mv, self.state.turn_started_s + 1).unwrap_err();
        assert!(expected(&refused), "refused as {refused:?}");
    }
}

fn element(step: u64, node: u32, element: u64) -> Fault {
    Fault::Element { step, node, element, xor: 1, seen: true }
}

fn past_the_end(refused: &Illegal) -> bool {
    matches!(refused, Illegal::PastTheEnd { .. } | Illegal::Proof(lockstep_commit::Error::IndexOutOfRange { .. }))
}

#[test]
fn judge_timeout_blames_the_challenger() {
    let mut board = Board::new(&SMALL, &[element(1, 0, 0)]);
    board.until(Phase::Judge, Side::Challenger);
    let late = board.state.deadline_s(&board.terms) + 1;
    let over = board.state.apply(&board.terms, &Move::Timeout, late).unwrap();
    assert_eq!(over.winner(), Some(Side::Defender));
}

#[test]
fn a_witness_that_is_refused_is_no_judgement() {
    let mut board = Board::new(&SMALL, &[element(1, 0, 0)]);
    board.until(Phase::Judge, Side::Challenger);
    let Move::Judge { node, values, mut witness } = board.due() else { panic!("a judgement is due") };
    let operand = witness.iter_mut().find(|operand| !operand.chunks.is_empty()).unwrap();
    operand.chunks.clear();
    board.refuses(&Move::Judge { node, values, witness }, |refused| matches!(refused, Illegal::Referee(_)));
    assert_eq!(board.end(), Side::Challenger);
}

#[test]
fn a_pointer_past_the_end_is_refused_at_every_level() {
    let mut board = Board::new(&SMALL, &[element(1, 0, 300)]);
    let mut seen = vec![];
    while board.state.winner().is_none() {
        match board.due() {
            Move::PointStep { before_root, before_proof, after_root, after_proof, .. } => {
                let part = board.state.count as u32;
                let wrong = Move::PointStep { part, before_root, before_proof, after_root, after_proof };
                board.refuses(&wrong, past_the_end);
            }
            Move::PointChild { hash, proof, .. } => {
                let child = board.state.level().real as u32;
                board.refuses(&Move::PointChild { child, hash, proof }, past_the_end);
            }
            Move::PointElement { chunk, .. } => {
                let element = board.state.element_count;
                board.refuses(&Move::PointElement { element, chunk: chunk.clone() }, past_the_end);
                let other = Move::PointElement { element: 0, chunk };
                board.refuses(&other, |refused| matches!(refused, Illegal::NotInChunk { .. }));
            }
            _ => {}
        }
        seen.push(board.state.phase);
        board.step();
    }
    for phase in [Phase::Steps, Phase::Nodes, Phase::Chunks, Phase::Chunk] {
        assert!(seen.contains(&phase), "{phase:?} was not tested");
    }
    let mut board = Board::new(&SMALL, &[element(1, 3, 0)]);
    board.until(Phase::Blocks, Side::Challenger);
    let values = board.posted.values.clone();
    board.refuses(&Move::PointBlock { child: Some(values.len() as u32), values }, past_the_end);
}

#[test]
fn padding_is_never_posted_as_bytes() {
    let mut board = Board::new(&SMALL, &[element(1, 0, 0)]);
    board.until(Phase::Chunk, Side::Defender);
    let Move::PostChunk { chunk } = board.due() else { panic!("a chunk is due") };
    let wrong_length = |refused: &Illegal| matches!(refused, Illegal::WrongCount { .. });
    let mut padded = chunk.clone();
    padded.push(0);
    board.refuses(&Move::PostChunk { chunk: padded }, wrong_length);
    board.refuses(&Move::PostChunk { chunk: chunk[..chunk.len() - 1].to_vec() }, wrong_length);
    let mut other = chunk;
    other[0] ^= 1;
    board.refuses(&Move::PostChunk { chunk: other }, |refused| matches!(refused, Illegal::WrongHash { .. }));
}

#[test]
fn padding_is_never_posted_as_a_subtree() {
    let mut board = Board::new(&WIDE, &[element(0, 100, 0)]);
    let Move::PostTrace { trace_root, mut children } = board.due() else { panic!("a trace is due") };
    assert_eq!(children.len(), 129, "subtrees of two nodes");
    children.push(tree::empty(1));
    let wrong_count = |refused: &Illegal| matches!(refused, Illegal::WrongCount { expected: 129, actual: 130 });
    board.refuses(&Move::PostTrace { trace_root, children: children.clone() }, wrong_count);
    // A non-empty padded subtree changes nothing about the count.
    children[129] = B256::repeat_byte(1);
    board.refuses(&Move::PostTrace { trace_root, children }, wrong_count);
}

#[test]
fn a_level_with_one_child_is_passed_without_the_challenger() {
    let mut board = Board::new(&WIDE, &[element(0, 256, 0)]);
    board.until(Phase::Nodes, Side::Defender);
    assert_eq!((board.state.index, board.state.depth), (128, 1));
    board.step();
    assert_eq!((board.state.phase, board.state.turn, board.state.node), (Phase::Tensor, Side::Defender, 256));
    assert_eq!(board.end(), Side::Challenger);
    // The same in the state's tree leads to the judge, and there the challenger is on the clock.
    let mut board = Board::new(&WIDE, &[Fault::State { step: 0, tensor: 256, element: 0, xor: 1 }]);
    board.until(Phase::JudgeState, Side::Challenger);
    assert_eq!(board.state.index, 256);
    assert_eq!(board.end(), Side::Challenger);
}

#[test]
fn a_tensor_of_one_chunk_has_no_walk() {
    let mut board = Board::new(&SINGLE, &[element(0, 0, 0)]);
    assert_eq!(board.end(), Side::Challenger);
    let phases: Vec<Phase> = board.moves.iter().map(|(state, _)| state.phase).collect();
    assert_eq!(phases, [Phase::Trace, Phase::Nodes, Phase::Tensor, Phase::Chunk, Phase::Chunk, Phase::Judge]);
}

#[test]
fn the_only_node_can_be_right_and_the_state_wrong() {
    let mut board = Board::new(&SINGLE, &[Fault::State { step: 0, tensor: 0, element: 0, xor: 1 }]);
    assert_eq!(board.end(), Side::Challenger);
    let phases: Vec<Phase> = board.moves.iter().map(|(state, _)| state.phase).collect();
    assert_eq!(phases, [Phase::Trace, Phase::Nodes, Phase::JudgeState]);
}

#[test]
fn a_tensor_of_more_than_256_chunks_takes_two_levels() {
    for at in [0, 1023, 1024, 262_143, 262_144, 299_999] {
        let mut board = Board::new(&BYTES, &[element(0, 1, at)]);
        assert_eq!(board.end(), Side::Challenger);
        assert_eq!(board.state.element, at);
        assert_eq!(board.posted.chunk_levels.len(), 2);
    }
}

#[test]
fn the_witness_holds_with_the_defenders_siblings_only() {
    // Every node from the disputed one on is the defender's own invention.
    let invented: Vec<Fault> = (200..257).map(|node| Fault::Garbage { step: 0, node, seed: u64::from(node) }).collect();
    let mut board = Board::new(&WIDE, &invented);
    board.until(Phase::Judge, Side::Challenger);
    assert_eq!(board.state.node, 200);
    let blind = Posted { trace_levels: vec![], ..board.posted.clone() };
    let job = board.world.job();
    let without = witness::judge(job, &board.state, &blind, &mut board.world.honest.clone());
    assert!(matches!(without, Err(NoMove::Incomplete { .. })), "own siblings would not prove anything");
    assert_eq!(board.end(), Side::Challenger);
}

#[test]
fn the_state_cannot_be_pointed_at_below_the_root() {
    let mut board = Board::new(&WIDE, &[element(0, 3, 0)]);
    board.until(Phase::Nodes, Side::Defender);
    board.step();
    assert_eq!((board.state.phase, board.state.turn), (Phase::Nodes, Side::Challenger));
    board.refuses(&Move::PointState, |refused| matches!(refused, Illegal::NotAtRoot { .. }));
}

#[test]
fn what_was_posted_cannot_be_misquoted() {
    let mut board = Board::new(&SMALL, &[element(1, 3, 0)]);
    while board.state.winner().is_none() {
        let wrong_hash = |refused: &Illegal| matches!(refused, Illegal::WrongHash { .. } | Illegal::Proof(_));
        let other = B256::repeat_byte(9);
        match board.due() {
            Move::PointStep { part, before_root, before_proof, after_root, after_proof } => {
                let (before, after) = (before_proof.clone(), after_proof.clone());
                let wrong = Move::PointStep { part, before_root: other, before_proof: before, after_root, after_proof };
                board.refuses(&wrong, wrong_hash);
                let wrong = Move::PointStep { part, before_root, before_proof, after_root: other, after_proof: after };
                board.refuses(&wrong, wrong_hash);
            }
            Move::PointChild { child, proof, .. } => {
                board.refuses(&Move::PointChild { child, hash: other, proof }, wrong_hash);
            }
            Move::PointElement { element, mut chunk } => {
                chunk[0] ^= 1;
                board.refuses(&Move::PointElement { element, chunk }, wrong_hash);
            }
            Move::PointBlock { child, mut values } => {
                values[0] ^= 1;
                board.refuses(&Move::PointBlock { child, values }, wrong_hash);
            }
            _ => {}
        }
        board.step();
    }
}

#[test]
fn every_move_is_refused_outside_its_phase_and_turn() {
    let mut all = vec![];
    for faults in [[element(1, 3, 0)], [element(1, 0, 300)], [Fault::State { step: 0, tensor: 1, element: 0, xor: 1 }]]
    {
        let mut board = Board::new(&SMALL, &faults);
        board.end();
        all.push((board.state.clone(), None));
        let moves = std::mem::take(&mut board.moves);
        all.extend(moves.into_iter().map(|(state, mv)| (state, Some((board.terms.clone(), mv)))));
    }
    let moves: Vec<_> = all.iter().filter_map(|(state, made)| made.as_ref().map(|made| (state, made))).collect();
    for (state, _) in &all {
        for (answers, (terms, mv)) in &moves {
            let judges = matches!(mv, Move::Judge { .. } | Move::JudgeState { .. });
            let fits = (state.phase, state.turn) == (answers.phase, answers.turn);
            // A walk's levels and pointers look alike in all three trees.
            let walks = |phase| matches!(phase, Phase::Nodes | Phase::States | Phase::Chunks);
            let alike = walks(state.phase) && walks(answers.phase) && state.turn == answers.turn;
            if fits || alike {
                continue;
            }
            assert!(!judges || state.phase != answers.phase);
            let refused = state.apply(terms, mv, state.turn_started_s);
            let expected = matches!(refused, Err(Illegal::WrongPhase { .. } | Illegal::WrongTurn { .. }));
            assert!(expected, "{mv:?} in {:?}: {refused:?}", state.phase);
        }
        if state.phase.is_over() {
            let late = state.apply(&moves[0].1.0, &Move::Timeout, u64::MAX / 2);
            assert!(matches!(late, Err(Illegal::WrongPhase { .. })));
        }
    }
}

#[test]
fn clocks_run_only_for_the_side_to_move_and_leave_the_grace() {
    let mut board = Board::new(&SMALL, &[element(1, 3, 0)]);
    let start = board.state.turn_started_s;
    assert_eq!(board.state.deadline_s(&board.terms), start + 1000);
    let mv = board.due();
    let next = board.state.apply(&board.terms, &mv, start + 1000).unwrap();
    assert_eq!((next.defender_clock_s, next.challenger_clock_s), (0, 1000));
    let late = board.state.apply(&board.terms, &mv, start + 1001);
    assert!(matches!(late, Err(Illegal::TimeIsUp { .. })));
    board.posted.record(board.state.phase, &mv);
    board.state = next;
    board.step();
    // Nothing is left on the clock; the grace still is.
    assert_eq!(board.state.turn, Side::Defender);
    assert_eq!(board.state.deadline_s(&board.terms), board.state.turn_started_s + 100);
    board.step();
    assert_eq!(board.end(), Side::Challenger);
}

#[test]
fn equal_block_results_lead_to_the_top() {
    let mut board = Board::new(&SMALL, &[element(2, 3, 0)]);
    board.until(Phase::Judge, Side::Challenger);
    assert_eq!(board.state.unit_kind, UnitKind::Top);
    assert_eq!(board.end(), Side::Challenger);
}

#[test]
fn a_challenger_that_agrees_has_no_move() {
    let mut board = Board::new(&SMALL, &[]);
    board.step();
    let own = &mut board.world.honest.clone();
    let none = Challenger::new(board.world.job()).next(&board.state, &board.posted, own);
    assert!(matches!(none, Err(NoMove::NoDifference { phase: Phase::Steps })));
    let mine = Defender::new(board.world.job()).next(&board.state, own);
    assert!(matches!(mine, Err(NoMove::NotMyTurn { phase: Phase::Steps })));
    let blind = Challenger::new(board.world.job()).next(&board.state, &Posted::default(), own);
    assert!(matches!(blind, Err(NoMove::Incomplete { .. })));
}
