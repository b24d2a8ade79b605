//! A whole dispute over a step of the size of GPT-2 small. Roots are made up where nobody looks; every move goes to the real contracts.

use alloy_primitives::{B256, U256};
use lockstep_commit::{ProgramTree, Tree, tensor, tensor_root, tree};
use lockstep_dispute::{
    Move, Phase, Side, State, UnitKind,
    layout::{block_list, level},
    referee::Unit,
};
use lockstep_ir::{Node, Source};

use crate::chain::Chain;
use crate::game::Game;
use crate::gpt2::Model;
use crate::market::{Claimed, Subject};
use crate::sparse::{SparseTree, chunk, stored, tensor_tree};
use crate::step::Around;

/// Steps between two checkpoints: one list of state roots.
const STEPS: u64 = 256;
/// The step that is wrong.
const STEP: u64 = 100;
/// The block of a long fold that is wrong.
const BLOCK: u64 = 1;

/// The solver's numbers for one node of the step, all made up; and what surrounds the one that is disputed.
pub(crate) struct Lie<'a> {
    descriptor: &'a Node,
    index: u64,
    hashes: &'a ProgramTree,
    unit: Unit,
    around: Around<'a>,
    output: SparseTree,
    /// State roots after every step of the segment.
    steps: Vec<B256>,
}

/// The real subtrees of the level under a cursor.
fn children(tree: &SparseTree, count: u64, depth: u8, index: u64) -> Vec<B256> {
    let level = level(count, depth, index);
    (0..level.real).map(|child| tree.node(level.below, (index << level.levels) + child)).collect()
}

impl<'a> Lie<'a> {
    /// About the middle of the first node of this kind.
    pub(crate) fn new(model: &'a Model, hashes: &'a ProgramTree, kind: &str) -> Self {
        let index = model.kinds.iter().find(|(name, _)| name == kind).unwrap().1;
        let descriptor = &model.program.nodes[index as usize];
        let element = descriptor.out.elements().unwrap() / 2;
        let unit = match descriptor.fold_length() {
            0..=256 => Unit { kind: UnitKind::Element, element, block_index: 0 },
            _ => Unit { kind: UnitKind::Leaf, element, block_index: BLOCK },
        };
        let output = tensor_tree(&descriptor.out, Source::Node(index), [chunk_of(descriptor, element)]);
        let leaf = (u64::from(index), tensor_root(&descriptor.out, output.root()));
        let around = Around::new(&model.program, index, &unit, &[leaf]);
        let mut steps: Vec<B256> = (0..STEPS).map(|i| B256::from(U256::from(i + 1_000))).collect();
        steps[STEP as usize - 1] = around.state.root();
        Self { descriptor, index: u64::from(index), hashes, unit, around, output, steps }
    }

    /// Plays the dispute; the moves in order, by the defender or not, with the two that open it. The gas is with the chain.
    pub(crate) fn play(&self, chain: &mut Chain) -> Vec<(String, Side)> {
        let initial_root = B256::repeat_byte(0x10);
        let subject = Subject { hashes: self.hashes, initial_root, data_root: self.around.data.root() };
        let claimed = Claimed::long(chain, &subject, STEPS, vec![self.steps[STEPS as usize - 1]]);
        chain.gas.clear();
        let mut game = Game::over(chain, self.hashes, &claimed, 0);
        let mut moves = ["`announce`", "`open`"].map(|name| (name.to_owned(), Side::Challenger)).to_vec();
        while !game.state.phase.is_over() {
            let mv = self.next(&game.state);
            moves.push((game.name(&mv), game.state.turn));
            game.play(chain, &mv).unwrap();
        }
        assert_eq!(game.state.winner(), Some(Side::Challenger));
        moves
    }

    /// Index of the node.
    pub(crate) fn node(&self) -> usize {
        self.index as usize
    }

    fn chunk(&self) -> Vec<u8> {
        chunk(&self.descriptor.out, Source::Node(self.index as u32), chunk_of(self.descriptor, self.unit.element))
    }

    /// Results of the fold's blocks.
    fn values(&self) -> Vec<u32> {
        let count = block_list(self.descriptor.fold_length(), 0, 0).count;
        let source = Source::Node(self.index as u32);
        (0..count).map(|i| stored(&self.descriptor.out, source, 1 << 40 | i)).collect()
    }

    fn next(&self, state: &State) -> Move {
        match (state.phase, state.turn) {
            (Phase::Steps, Side::Defender) => Move::PostSteps { state_roots: self.steps.clone() },
            (Phase::Steps, _) => self.point_step(),
            (Phase::Trace, _) => {
                let trace = &self.around.trace;
                let count = node_count(self.hashes);
                let children = children(trace, count, tree::depth(count), 0);
                Move::PostTrace { trace_root: trace.root(), children }
            }
            (Phase::Nodes | Phase::Chunks, Side::Defender) => {
                let children = children(self.walked(state).0, state.count, state.depth, state.index);
                Move::PostChildren { children }
            }
            (Phase::Nodes | Phase::Chunks, _) => self.point_child(state),
            (Phase::Tensor, _) => self.post_tensor(),
            (Phase::Chunk, Side::Defender) => Move::PostChunk { chunk: self.chunk() },
            (Phase::Chunk, _) => Move::PointElement { element: self.unit.element, chunk: self.chunk() },
            (Phase::Blocks, Side::Defender) => Move::PostBlocks { values: self.values() },
            (Phase::Blocks, _) => Move::PointBlock { child: Some(BLOCK as u32), values: self.values() },
            (Phase::Judge, _) => {
                assert_ne!(self.around.value(&self.unit, &[]), state.value, "made-up numbers are wrong");
                Move::Judge { node: self.descriptor.encode(), values: vec![], witness: self.around.witness() }
            }
            other => panic!("no move in {other:?}"),
        }
    }

    fn point_step(&self) -> Move {
        let tree = Tree::new(self.steps.clone());
        let [before_root, after_root] = [STEP - 1, STEP].map(|step| self.steps[step as usize]);
        let [before_proof, after_proof] = [STEP - 1, STEP].map(|step| tree.prove(step).unwrap());
        Move::PointStep { part: STEP as u32, before_root, before_proof, after_root, after_proof }
    }

    /// The tree that is walked, and the leaf that the walk ends in.
    fn walked(&self, state: &State) -> (&SparseTree, u64) {
        match state.phase {
            Phase::Chunks => (&self.output, chunk_of(self.descriptor, self.unit.element)),
            _ => (&self.around.trace, self.index),
        }
    }

    fn point_child(&self, state: &State) -> Move {
        let (tree, leaf) = self.walked(state);
        let entries = children(tree, state.count, state.depth, state.index);
        let level = state.level();
        let child = (leaf >> level.below) & ((1 << level.levels) - 1);
        let proof = tree::prove_child(&entries, state.depth, level.levels, child).unwrap();
        Move::PointChild { child: child as u32, hash: entries[child as usize], proof }
    }

    fn post_tensor(&self) -> Move {
        let count = tensor::chunk_count(tensor::byte_count(&self.descriptor.out).unwrap());
        let depth = tree::depth(count);
        Move::PostTensor {
            node: self.descriptor.encode(),
            node_proof: self.hashes.nodes().prove(self.index).unwrap(),
            merkle_root: self.output.root(),
            children: if depth == 0 { vec![] } else { children(&self.output, count, depth, 0) },
        }
    }
}

fn node_count(hashes: &ProgramTree) -> u64 {
    u64::from(hashes.header().nodeCount)
}

/// The number of the chunk that has an element of a node's output.
fn chunk_of(node: &Node, element: u64) -> u64 {
    element * node.out.dtype.size() as u64 / lockstep_commit::CHUNK_BYTES as u64
}
