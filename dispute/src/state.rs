//! Where a dispute stands: the fields of the contract's `Dispute` that the game reads.

use alloy_primitives::B256;
use lockstep_commit::program::header_root;
use lockstep_ir::abi::Header;

use crate::layout::{self, BlockList, Level};

/// Phases, with the contract's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// State roots that split the segment.
    Steps = 1,
    /// Defender: trace root and the first subtree hashes.
    Trace = 2,
    /// Walk down the trace tree.
    Nodes = 3,
    /// Walk down the state tree after the step.
    States = 4,
    /// Defender: node descriptor, Merkle root, first subtree hashes.
    Tensor = 5,
    /// Walk down the tensor tree.
    Chunks = 6,
    /// Defender: the chunk. Challenger: the element.
    Chunk = 7,
    /// Block results under the element.
    Blocks = 8,
    /// Anyone: witness of the unit. The challenger's clock runs.
    Judge = 9,
    /// Anyone: proof for the state tensor. The challenger's clock runs.
    JudgeState = 10,
    /// Over.
    DefenderWon = 11,
    /// Over.
    ChallengerWon = 12,
}

impl Phase {
    /// The phase with this code; `None` for 0, which the contract uses for no dispute, and for unknown codes.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        use Phase::*;
        let all =
            [Steps, Trace, Nodes, States, Tensor, Chunks, Chunk, Blocks, Judge, JudgeState, DefenderWon, ChallengerWon];
        all.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether the game is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::DefenderWon | Self::ChallengerWon)
    }
}

/// The two sides, with the contract's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// The solver, whose claim is disputed. It posts.
    Defender = 0,
    /// It points.
    Challenger = 1,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Defender => Self::Challenger,
            Self::Challenger => Self::Defender,
        }
    }
}

/// What is asked of the referee, with the codes of `IReferee.Unit.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum UnitKind {
    /// Fold of at most one leaf block, or none, and finish: the stored element.
    Element = 0,
    /// One leaf block: the accumulator.
    Leaf = 1,
    /// `combine` over posted values: the accumulator.
    Combine = 2,
    /// `combine` over posted values, then finish: the stored element.
    Top = 3,
}

impl UnitKind {
    /// The kind with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Element, Self::Leaf, Self::Combine, Self::Top].get(usize::from(code)).copied()
    }
}

/// What the job fixes for all its disputes.
#[derive(Clone)]
pub struct Terms {
    /// The program: counts, and the roots that nodes and declarations are proven under.
    pub header: Header,
    /// Root of the data tensors.
    pub data_root: B256,
    /// Chess clock of each side, in seconds.
    pub clock_s: u32,
    /// What an accepted move leaves the other side at least, in seconds.
    pub grace_s: u32,
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms")
            .field("program_root", &header_root(&self.header))
            .field("data_root", &self.data_root)
            .field("clock_s", &self.clock_s)
            .field("grace_s", &self.grace_s)
            .finish()
    }
}

/// Where a dispute stands. Fields are those of the contract's `Dispute`, with its meaning; parties, job and `position` (a hash of
/// calldata) stay with the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where in the game.
    pub phase: Phase,
    /// Who moves.
    pub turn: Side,
    /// Time left to the defender at the start of the turn, in seconds.
    pub defender_clock_s: u32,
    /// Time left to the challenger at the start of the turn, in seconds.
    pub challenger_clock_s: u32,
    /// When the turn began, in seconds.
    pub turn_started_s: u64,
    /// State root before the segment.
    pub before_root: B256,
    /// State root claimed after the segment.
    pub after_root: B256,
    /// Steps of the job before the segment.
    pub first_step: u64,
    /// Steps of the segment.
    pub steps: u64,
    /// Steps: Merkle root over the posted state roots. Walks: hash of the subtree pointed at. Blocks: keccak256 of the values.
    pub cursor: B256,
    /// Levels below the cursor.
    pub depth: u8,
    /// Index of the cursor among the subtrees of its level.
    pub index: u64,
    /// Real leaves of the tree being walked, or entries of the posted list.
    pub count: u64,
    /// What the defender says is the root of the step's trace.
    pub trace_root: B256,
    /// The node pointed at.
    pub node: u32,
    /// keccak256 of its encoding.
    pub node_hash: B256,
    /// Elements of its output.
    pub element_count: u64,
    /// Bytes of one.
    pub element_size: u8,
    /// `K`; 0 for a map.
    pub fold_length: u64,
    /// The element pointed at, within the whole tensor.
    pub element: u64,
    /// What the defender says it, or the block pointed at, is.
    pub value: u32,
    /// 0: nothing chosen yet; else level of the block pointed at (1 is a leaf block).
    pub block_level: u8,
    /// Its index within its level.
    pub block_index: u64,
    /// What is to be judged.
    pub unit_kind: UnitKind,
}

impl State {
    /// A dispute over `steps` ≥ 1 steps from `first_step` on, opened at `now_s`.
    #[must_use]
    pub fn open(terms: &Terms, first_step: u64, steps: u64, before_root: B256, after_root: B256, now_s: u64) -> Self {
        Self {
            phase: Self::segment_phase(steps),
            turn: Side::Defender,
            defender_clock_s: terms.clock_s,
            challenger_clock_s: terms.clock_s,
            turn_started_s: now_s,
            before_root,
            after_root,
            first_step,
            steps,
            cursor: B256::ZERO,
            depth: 0,
            index: 0,
            count: 0,
            trace_root: B256::ZERO,
            node: 0,
            node_hash: B256::ZERO,
            element_count: 0,
            element_size: 0,
            fold_length: 0,
            element: 0,
            value: 0,
            block_level: 0,
            block_index: 0,
            unit_kind: UnitKind::Element,
        }
    }

    /// A segment is split, a single step is traced.
    pub(crate) fn segment_phase(steps: u64) -> Phase {
        if steps == 1 { Phase::Trace } else { Phase::Steps }
    }

    /// When the side to move runs out of time.
    #[must_use]
    pub fn deadline_s(&self, terms: &Terms) -> u64 {
        let clock_s = match self.turn {
            Side::Defender => self.defender_clock_s,
            Side::Challenger => self.challenger_clock_s,
        };
        self.turn_started_s + u64::from(clock_s.max(terms.grace_s))
    }

    /// Who won, once the game is over.
    #[must_use]
    pub fn winner(&self) -> Option<Side> {
        match self.phase {
            Phase::DefenderWon => Some(Side::Defender),
            Phase::ChallengerWon => Some(Side::Challenger),
            _ => None,
        }
    }

    /// The level posted under the cursor, in `Nodes`, `States` and `Chunks`.
    #[must_use]
    pub fn level(&self) -> Level {
        layout::level(self.count, self.depth, self.index)
    }

    /// The list owed or pointed into, in `Blocks`.
    #[must_use]
    pub fn block_list(&self) -> BlockList {
        layout::block_list(self.fold_length, self.block_level, self.block_index)
    }
}
