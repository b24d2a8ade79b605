//! Assigned verifiers: enlisted with a stake, drawn for a claim, committing and revealing what they reached by themselves.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolValue,
};
use lockstep_contracts::VerifierDraw;

use crate::{
    chain::Outcome,
    client::{Client, Job},
    error::Error,
};

const DRAW: &str = "VerifierDraw";

/// The number of a claim among all: of the current attempt at a job.
#[must_use]
pub fn claim_key(job: &Job, milestone: u32) -> B256 {
    keccak256((U256::from(job.id), job.attempt, milestone).abi_encode())
}

/// Where a seat stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatStatus {
    /// Nobody fits, or it was declined twice.
    Empty,
    /// A verifier is drawn and has not committed.
    Drawn,
    /// It has.
    Committed,
    /// It revealed its root.
    Revealed,
    /// It gave its root up.
    Conceded,
    /// Paid or slashed.
    Collected,
}

/// One assigned verifier of a claim.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Who.
    pub verifier: Address,
    /// How far it is.
    pub status: SeatStatus,
    /// The claim root that it reached, once revealed.
    pub root: B256,
}

impl Client {
    /// The assigned verifiers of a claim; none before the draw.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn seats(&self, key: B256) -> Result<Vec<Seat>, Error> {
        let seats = self.chain().call(DRAW, self.deployment().draw, VerifierDraw::seatsCall { key }).await?;
        use SeatStatus::*;
        let all = [Empty, Drawn, Committed, Revealed, Conceded, Collected];
        let unknown = |code: u8| Error::Answer {
            contract: DRAW,
            address: self.deployment().draw,
            call: "seats",
            reason: format!("{code} is no status of a seat"),
        };
        let seat = |s: VerifierDraw::Seat| {
            let status = all.get(usize::from(s.status)).copied().ok_or_else(|| unknown(s.status))?;
            Ok(Seat { verifier: s.verifier, status, root: s.root })
        };
        seats.into_iter().map(seat).collect()
    }

    /// A draw: its claim, times and outcome.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn draw_of(&self, key: B256) -> Result<VerifierDraw::Draw, Error> {
        self.chain().call(DRAW, self.deployment().draw, VerifierDraw::drawOfCall { key }).await
    }

    /// Puts the stake into the draws of a hardware class, or takes it out.
    ///
    /// # Errors
    /// The free stake is below the least one.
    pub async fn enlist(&self, hardware_class: u32, listed: bool) -> Result<Outcome, Error> {
        let call = VerifierDraw::enlistCall { hardwareClass: hardware_class, on: listed };
        self.chain().send(DRAW, self.deployment().draw, call).await
    }

    /// Draws the verifiers of a claim, once its L1 block is there. Anyone may.
    ///
    /// # Errors
    /// The block is not there yet, or they are drawn.
    pub async fn draw(&self, key: B256) -> Result<Outcome, Error> {
        self.chain().send(DRAW, self.deployment().draw, VerifierDraw::drawCall { key }).await
    }

    /// Gives a seat up, early.
    ///
    /// # Errors
    /// It is too late, or another's seat.
    pub async fn decline(&self, key: B256, seat: u64) -> Result<Outcome, Error> {
        let call = VerifierDraw::declineCall { key, seat: U256::from(seat) };
        self.chain().send(DRAW, self.deployment().draw, call).await
    }

    /// Commits to the claim root that this verifier reached.
    ///
    /// # Errors
    /// It is too late, or another's seat.
    pub async fn commit_root(&self, job: &Job, milestone: u32, seat: u64, root: B256) -> Result<Outcome, Error> {
        let (key, me) = (claim_key(job, milestone), self.chain().address()?);
        let chain_id = U256::from(self.chain().chain_id());
        let said = (chain_id, U256::from(job.id), job.attempt, milestone, me, root, self.root_salt(key)?);
        let commitment = keccak256(said.abi_encode());
        let call = VerifierDraw::commitCall { key, seat: U256::from(seat), commitment };
        self.chain().send(DRAW, self.deployment().draw, call).await
    }

    /// Reveals the root that was committed to.
    ///
    /// # Errors
    /// The solver has not revealed, it is too late, or it is another root.
    pub async fn reveal_root(&self, key: B256, seat: u64, root: B256) -> Result<Outcome, Error> {
        let call = VerifierDraw::revealCall { key, seat: U256::from(seat), root, salt: self.root_salt(key)? };
        self.chain().send(DRAW, self.deployment().draw, call).await
    }

    /// Gives up another root than the solver's for a small penalty.
    ///
    /// # Errors
    /// The claim is decided, or the root is the solver's.
    pub async fn concede(&self, key: B256, seat: u64) -> Result<Outcome, Error> {
        let call = VerifierDraw::concedeCall { key, seat: U256::from(seat) };
        self.chain().send(DRAW, self.deployment().draw, call).await
    }

    /// Pays or slashes a seat of a claim that is decided. Anyone may.
    ///
    /// # Errors
    /// The claim is not decided.
    pub async fn collect_seat(&self, key: B256, seat: u64) -> Result<Outcome, Error> {
        let call = VerifierDraw::collectCall { key, seat: U256::from(seat) };
        self.chain().send(DRAW, self.deployment().draw, call).await
    }

    fn root_salt(&self, key: B256) -> Result<B256, Error> {
        self.chain().secret(&("root".to_owned(), key).abi_encode_params())
    }
}
