//! Players of all kinds, and the board.

use std::collections::BTreeSet;

use lockstep_commit::{Tree, tree};
use lockstep_dispute::{
    Challenger, Defender, Illegal, Job, MemoryReplay, Move, Phase, Posted, Side, State, Terms, layout, witness,
};

use crate::world::{Liar, Rng};

/// What was seen, so that a test knows that it tested.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) games: u64,
    pub(crate) moves: u64,
    pub(crate) judged: u64,
    pub(crate) phases: BTreeSet<u8>,
    pub(crate) units: BTreeSet<u8>,
}

/// What a player does with its turn.
pub(crate) struct Turn {
    mv: Option<Move>,
    honest: bool,
}

/// Plays a game to its end. A side without a legal move runs out of time; an honest one must have one.
pub(crate) fn play(
    terms: &Terms,
    mut state: State,
    mut defender: impl FnMut(&State) -> Turn,
    mut challenger: impl FnMut(&State, &Posted) -> Turn,
    tally: &mut Tally,
) -> Side {
    tally.games += 1;
    let mut posted = Posted::default();
    let mut now_s = state.turn_started_s;
    for _ in 0..100 {
        tally.phases.insert(state.phase as u8);
        now_s += 1;
        let turn = match state.turn {
            Side::Defender => defender(&state),
            Side::Challenger => challenger(&state, &posted),
        };
        let applied = turn.mv.as_ref().map(|mv| state.apply(terms, mv, now_s));
        let next = match applied {
            Some(Ok(next)) => {
                tally.moves += 1;
                let mv = turn.mv.as_ref().unwrap();
                posted.record(state.phase, mv);
                if matches!(mv, Move::Judge { .. } | Move::JudgeState { .. }) {
                    tally.judged += 1;
                }
                if matches!(mv, Move::Judge { .. }) {
                    tally.units.insert(state.unit_kind as u8);
                }
                next
            }
            refused => {
                assert!(!turn.honest, "an honest {:?} is stuck in {:?}: {refused:?}", state.turn, state.phase);
                now_s = state.deadline_s(terms) + 1;
                let refused = turn.mv.map(|mv| state.apply(terms, &mv, now_s));
                assert!(refused.is_none_or(|late| late.is_err()), "too late is too late");
                state.apply(terms, &Move::Timeout, now_s).unwrap()
            }
        };
        if let Some(winner) = next.winner() {
            return winner;
        }
        let early = next.apply(terms, &Move::Timeout, now_s);
        assert!(matches!(early, Err(Illegal::NotYetTimedOut { .. })), "a fresh turn cannot time out: {early:?}");
        state = next;
    }
    panic!("the game does not end: {state:?}");
}

pub(crate) fn honest_defender<'a>(job: Job<'a>, replay: &'a mut MemoryReplay) -> impl FnMut(&State) -> Turn + use<'a> {
    move |state| Turn { mv: Some(Defender::new(job).next(state, replay).unwrap()), honest: true }
}

pub(crate) fn honest_challenger<'a>(
    job: Job<'a>,
    replay: &'a mut MemoryReplay,
) -> impl FnMut(&State, &Posted) -> Turn + use<'a> {
    move |state, posted| Turn { mv: Some(Challenger::new(job).next(state, posted, replay).unwrap()), honest: true }
}

/// Posts what its altered run gave, and now and then something else.
pub(crate) fn liar<'a, 'b>(job: Job<'a>, run: &'a mut Liar<'b>) -> impl FnMut(&State) -> Turn + use<'a, 'b> {
    move |state| {
        let mv = Defender::new(job).next(state, run).ok();
        let mv = if run.rng.one_in(40) { mv.map(|mv| garbled(mv, &mut run.rng)) } else { mv };
        Turn { mv, honest: false }
    }
}

/// The same kind of move with something else in it; legal if nothing ties it down.
fn garbled(mv: Move, rng: &mut Rng) -> Move {
    let mut shuffled = |mut hashes: Vec<lockstep_commit::B256>, keep_last: bool| {
        let most = hashes.len() - usize::from(keep_last && !hashes.is_empty());
        hashes[..most].iter_mut().for_each(|hash| *hash = rng.hash());
        hashes
    };
    match mv {
        Move::PostSteps { state_roots } => Move::PostSteps { state_roots: shuffled(state_roots, true) },
        Move::PostTrace { children, trace_root } if children.is_empty() => {
            Move::PostTrace { trace_root: tree::empty(trace_root[0] % 60), children }
        }
        Move::PostTrace { children, .. } => {
            // Legal for up to 256 nodes: a tree of leaves that nobody can open.
            let children = shuffled(children, false);
            Move::PostTrace { trace_root: tree::root(&children), children }
        }
        Move::PostChildren { children } => Move::PostChildren { children: shuffled(children, false) },
        Move::PostTensor { node, node_proof, children, merkle_root } => {
            Move::PostTensor { node, node_proof, children: shuffled(children, false), merkle_root }
        }
        Move::PostChunk { mut chunk } => {
            chunk.push(0);
            Move::PostChunk { chunk }
        }
        Move::PostBlocks { values } => Move::PostBlocks { values: values.iter().map(|_| rng.bits() as u32).collect() },
        other => other,
    }
}

/// Points anywhere; when there is something to judge, it brings a good witness most of the time.
pub(crate) fn wild_challenger<'a>(
    job: Job<'a>,
    replay: &'a mut MemoryReplay,
    mut rng: Rng,
) -> impl FnMut(&State, &Posted) -> Turn + use<'a> {
    move |state, posted| {
        let mv = match state.phase {
            Phase::Judge => witness::judge(job, state, posted, replay).unwrap(),
            Phase::JudgeState => witness::judge_state(job, state, replay).unwrap(),
            _ => pointer(state, posted, &mut rng),
        };
        Turn { mv: Some(if rng.one_in(30) { misled(mv, &mut rng) } else { mv }), honest: false }
    }
}

fn pointer(state: &State, posted: &Posted, rng: &mut Rng) -> Move {
    match state.phase {
        Phase::Steps => {
            let roots = &posted.state_roots;
            let tree = Tree::new(roots.clone());
            let part = rng.below(roots.len() as u64);
            let (before_root, before_proof) = match part {
                0 => (state.before_root, vec![]),
                _ => (roots[part as usize - 1], tree.prove(part - 1).unwrap()),
            };
            let (after_root, after_proof) = (roots[part as usize], tree.prove(part).unwrap());
            Move::PointStep { part: part as u32, before_root, before_proof, after_root, after_proof }
        }
        Phase::Nodes if state.depth == tree::depth(state.count) && rng.one_in(4) => Move::PointState,
        Phase::Nodes | Phase::States | Phase::Chunks => {
            let level = posted.level(state.phase).unwrap();
            let level = if level.is_empty() { &[state.cursor] } else { level };
            let child = rng.below(level.len() as u64);
            let proof = tree::prove_child(level, state.depth, state.level().levels, child).unwrap();
            Move::PointChild { child: child as u32, hash: level[child as usize], proof }
        }
        Phase::Chunk => {
            let in_chunk = rng.below(posted.chunk.len() as u64 / u64::from(state.element_size));
            let element = state.index * 1024 / u64::from(state.element_size) + in_chunk;
            Move::PointElement { element, chunk: posted.chunk.clone() }
        }
        Phase::Blocks => {
            let child = (!rng.one_in(4)).then(|| rng.below(posted.values.len() as u64) as u32);
            Move::PointBlock { child, values: posted.values.clone() }
        }
        phase => panic!("nothing to point at in {phase:?}"),
    }
}

/// A move that the rules must refuse: past the end, or with something else than was posted.
fn misled(mv: Move, rng: &mut Rng) -> Move {
    match mv {
        Move::PointStep { before_root, before_proof, after_proof, after_root, .. } => {
            Move::PointStep { part: 256, before_root, before_proof, after_root, after_proof }
        }
        Move::PointChild { hash, proof, .. } if rng.one_in(2) => Move::PointChild { child: 256, hash, proof },
        Move::PointChild { child, proof, .. } => Move::PointChild { child, hash: rng.hash(), proof },
        Move::PointElement { chunk, .. } => Move::PointElement { element: u64::MAX / 8, chunk },
        Move::PointBlock { values, .. } => Move::PointBlock { child: Some(layout::MAX_ENTRIES as u32), values },
        Move::Judge { node, values, mut witness } => {
            let chunks = witness.iter_mut().flat_map(|operand| &mut operand.chunks);
            match chunks.last() {
                Some(chunk) => chunk.data[0] ^= 1,
                None => witness.push(Default::default()),
            }
            Move::Judge { node, values, witness }
        }
        Move::JudgeState { decl, decl_proof, source_proof, .. } => {
            Move::JudgeState { decl, decl_proof, source_root: rng.hash(), source_proof }
        }
        other => other,
    }
}
