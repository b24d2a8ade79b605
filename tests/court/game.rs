//! One dispute, played on the contract and in the model at once.

use alloy_primitives::{Address, B256, Log, U256};
use lockstep_commit::ProgramTree;
use lockstep_contracts::Docket;
use lockstep_dispute::{
    Challenger, Defender, Illegal, Job, Move, NoMove, Phase, Posted, Replay, Side, State, Terms, witness,
};
use lockstep_sdk::moves;

use crate::chain::{ARBITER, CHALLENGER, Chain, SOLVER, posted};
use crate::market::Claimed;
use crate::work::Work;

/// Codes of the docket's entry status.
const WON: u8 = 4;
const LOST: u8 = 5;

/// A dispute.
pub(crate) struct Game<'a> {
    pub(crate) id: u64,
    pub(crate) terms: &'a Terms,
    /// The model, which the contract must equal.
    pub(crate) state: State,
    /// The last state before the game ended.
    pub(crate) judged: Option<State>,
    pub(crate) logs: Vec<Log>,
    /// Kept from the moves; must equal what the logs give.
    by_moves: Posted,
    hashes: &'a ProgramTree,
}

impl<'a> Game<'a> {
    /// Opens a dispute over `checkpoint` of the claim.
    pub(crate) fn open(chain: &mut Chain, work: &'a Work, claimed: &'a Claimed, checkpoint: u32) -> Self {
        Self::over(chain, &work.hashes, claimed, checkpoint)
    }

    /// The same over any program.
    pub(crate) fn over(chain: &mut Chain, hashes: &'a ProgramTree, claimed: &'a Claimed, checkpoint: u32) -> Self {
        let (id, logs) = claimed.dispute(chain, checkpoint);
        let (before, after) = claimed.segment(checkpoint);
        let steps = claimed.spec.stepsPerCheckpoint;
        let first = u64::from(checkpoint) * steps;
        let state = State::open(&claimed.terms, first, steps, before, after, chain.now_s);
        assert_eq!(chain.standing(id).state, state, "a dispute that was just opened");
        let terms = &claimed.terms;
        Self { id, terms, state, judged: None, logs, by_moves: Posted::default(), hashes }
    }

    /// What the defender posted, as parties read it.
    pub(crate) fn posted(&self) -> Posted {
        let posted = posted(&self.logs);
        assert_eq!(posted, self.by_moves, "events and moves tell the same");
        posted
    }

    /// The call that makes a move, and what it says.
    pub(crate) fn name(&self, mv: &Move) -> String {
        let call = moves::call(self.id, B256::ZERO, self.hashes.header(), mv.clone());
        format!("`{}`, {}", call.name, moves::describe(mv))
    }

    /// Who sends a move of this kind.
    pub(crate) fn sender(&self, mv: &Move) -> Address {
        match (mv, self.state.turn) {
            (Move::Judge { .. } | Move::JudgeState { .. } | Move::Timeout, _) => ARBITER,
            (_, Side::Defender) => SOLVER,
            _ => CHALLENGER,
        }
    }

    /// Makes a move on both; they must agree.
    pub(crate) fn play(&mut self, chain: &mut Chain, mv: &Move) -> Result<(), String> {
        self.play_by(chain, self.sender(mv), mv)
    }

    /// The same with another judge.
    pub(crate) fn play_by(&mut self, chain: &mut Chain, by: Address, mv: &Move) -> Result<(), String> {
        let standing = chain.standing(self.id);
        let model = self.state.apply(self.terms, mv, chain.now_s);
        let call = moves::call(self.id, standing.position, self.hashes.header(), mv.clone());
        let what = moves::describe(mv);
        match (chain.send_raw(by, chain.disputes, call.calldata), model) {
            (Ok(logs), Ok(next)) => {
                self.logs.extend(logs);
                self.by_moves.record(self.state.phase, mv);
                let after = chain.standing(self.id);
                assert_eq!(after.state, next, "game {}: the contract and the model after `{what}`", self.id);
                assert_eq!(after.deadline_s, next.deadline_s(self.terms), "game {}: after `{what}`", self.id);
                assert_eq!(
                    after.position == standing.position,
                    matches!(mv, Move::Timeout),
                    "a move takes the position on"
                );
                let before = std::mem::replace(&mut self.state, next);
                if self.state.phase.is_over() {
                    self.judged = Some(before);
                    self.pay(chain);
                }
                Ok(())
            }
            (Err(words), Err(illegal)) => {
                let names = names(&illegal);
                assert!(
                    names.iter().any(|name| words.starts_with(name)),
                    "`{what}`: {illegal:?}, but the contract: {words}"
                );
                assert_eq!(chain.standing(self.id).position, standing.position, "a refused move changes nothing");
                Err(words)
            }
            (Ok(_), Err(illegal)) => panic!("game {}: only the model refuses `{what}`: {illegal}", self.id),
            (Err(words), Ok(_)) => panic!("game {}: only the contract refuses `{what}`: {words}", self.id),
        }
    }

    /// Pays what was decided, unless the claim was void.
    fn pay(&self, chain: &mut Chain) {
        let id = U256::from(self.id);
        let entry = chain.view(chain.docket, &Docket::entryCall { disputeId: id });
        assert!(!entry.paid, "game {}: a verdict pays nobody", self.id);
        if [WON, LOST].contains(&entry.status) {
            chain.send(ARBITER, chain.docket, &Docket::payCall { disputeId: id }).unwrap();
        }
    }

    /// Both sides play to the end; `patience_s` passes before every move.
    pub(crate) fn finish<D: Replay, C: Replay>(
        &mut self,
        chain: &mut Chain,
        job: Job<'_>,
        defender: &mut D,
        challenger: &mut C,
        patience_s: u64,
    ) -> Side {
        loop {
            if let Some(winner) = self.state.winner() {
                return winner;
            }
            chain.now_s += patience_s;
            let mv =
                self.strategic(job, defender, challenger).unwrap_or_else(|stuck| panic!("game {}: {stuck}", self.id));
            self.play(chain, &mv).unwrap_or_else(|words| panic!("game {}: {words}", self.id));
        }
    }

    /// The move that the strategy of the side to move makes.
    pub(crate) fn strategic<D: Replay, C: Replay>(
        &self,
        job: Job<'_>,
        defender: &mut D,
        challenger: &mut C,
    ) -> Result<Move, String> {
        let words = |e: NoMove<C::Error>| e.to_string();
        match (self.state.phase, self.state.turn) {
            (Phase::Judge, _) => witness::judge(job, &self.state, &self.posted(), challenger).map_err(words),
            (Phase::JudgeState, _) => witness::judge_state(job, &self.state, challenger).map_err(words),
            (_, Side::Defender) => Defender::new(job).next(&self.state, defender).map_err(|e| e.to_string()),
            _ => Challenger::new(job).next(&self.state, &self.posted(), challenger).map_err(words),
        }
    }

    /// Lets the side to move run out of time.
    pub(crate) fn time_out(&mut self, chain: &mut Chain) -> Side {
        let deadline_s = self.state.deadline_s(self.terms);
        chain.now_s = deadline_s;
        let early = self.play(chain, &Move::Timeout).unwrap_err();
        assert!(early.starts_with("NotYetTimedOut"), "{early}");
        chain.now_s = deadline_s + 1;
        self.play(chain, &Move::Timeout).unwrap();
        self.state.winner().unwrap()
    }
}

/// The contract's names for what the model refuses: proofs fail in more ways there.
fn names(illegal: &Illegal) -> &'static [&'static str] {
    match illegal {
        Illegal::WrongPhase { .. } => &["WrongPhase"],
        Illegal::WrongTurn { .. } => &["WrongTurn"],
        Illegal::TimeIsUp { .. } => &["TimeIsUp"],
        Illegal::NotYetTimedOut { .. } => &["NotYetTimedOut"],
        Illegal::WrongCount { .. } => &["WrongCount", "WrongProofLength", "WrongChunkLength"],
        Illegal::WrongHash { .. } => &["WrongHash", "WrongBeforeRoot"],
        Illegal::PastTheEnd { .. } => &["PastTheEnd"],
        Illegal::Proof(_) => &["PastTheEnd", "WrongHash", "WrongProofLength"],
        Illegal::NotAtRoot { .. } => &["NotAtRoot"],
        Illegal::NotInChunk { .. } => &["NotInChunk"],
        Illegal::Referee(_) => &[
            "WrongOperandRoot",
            "WrongChunkProof",
            "WrongChunkLength",
            "WrongProofLength",
            "IndexOutOfTree",
            "MissingChunk",
            "NotJudgeable",
        ],
        _ => &[],
    }
}
