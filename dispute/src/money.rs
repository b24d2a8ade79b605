//! What every ending pays, to the smallest unit: the market's money as arithmetic (docs/economics.md). The contracts must pay the
//! same; `tests/court` holds them to it.
//!
//! Amounts are in the payment token's smallest unit and below 2^96, as the market bounds them, so nothing here overflows 128 bits.

/// Hundredths of a percent in a whole.
const BPS: u128 = 10_000;

/// The shares of one version of the parameters, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of a paid milestone: to the treasury.
    pub fee_bps: u16,
    /// Of a convicted solver's stake: to the winner and the verifiers that differed.
    pub winner_bps: u16,
    /// Of the winner's share: kept for assigned verifiers that revealed another root.
    pub reserved_bps: u16,
    /// Of what the winner leaves: to the requester.
    pub requester_bps: u16,
    /// Of a lost bond after the tip: to the defender.
    pub defender_bps: u16,
}

/// What a job puts at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// Paid for a milestone.
    pub price_wei: u128,
    /// The solver's.
    pub stake_wei: u128,
    /// A challenger's.
    pub bond_wei: u128,
    /// A judge's.
    pub tip_wei: u128,
}

impl Amounts {
    /// Whether the market accepts these amounts: convicting oneself must cost more than a milestone pays, and every ending must be
    /// covered.
    #[must_use]
    pub fn are_sound(&self, shares: &Shares) -> bool {
        let least_wei = self.price_wei * BPS / (BPS - u128::from(shares.winner_bps)) + 2;
        let bounded = self.stake_wei < 1 << 96 && (1..1 << 96).contains(&self.price_wei);
        bounded
            && self.stake_wei >= least_wei
            && (10..=part(self.stake_wei, shares.winner_bps)).contains(&self.bond_wei)
            && self.tip_wei <= self.bond_wei / 2
    }
}

/// Who gets what. The fields sum to what was given away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The winner of a conviction.
    pub winner_wei: u128,
    /// All assigned verifiers that stood by another root, together.
    pub verifiers_wei: u128,
    /// Whoever judged.
    pub judge_wei: u128,
    /// The solver: its pay, or the defender's part of a lost bond.
    pub solver_wei: u128,
    /// The requester.
    pub requester_wei: u128,
    /// The treasury.
    pub treasury_wei: u128,
}

impl Split {
    /// The sum of all parts.
    #[must_use]
    pub fn total_wei(&self) -> u128 {
        self.winner_wei + self.verifiers_wei + self.judge_wei + self.solver_wei + self.requester_wei + self.treasury_wei
    }
}

fn part(of_wei: u128, bps: u16) -> u128 {
    of_wei * u128::from(bps) / BPS
}

/// A final milestone: the price.
#[must_use]
pub fn settlement(amounts: &Amounts, shares: &Shares) -> Split {
    let treasury_wei = part(amounts.price_wei, shares.fee_bps);
    Split { treasury_wei, solver_wei: amounts.price_wei - treasury_wei, ..Split::default() }
}

/// A conviction: the stake. `dissenters` is `None` for a job without assigned verifiers, else how many stood by another root.
#[must_use]
pub fn conviction(amounts: &Amounts, shares: &Shares, judged: bool, dissenters: Option<u32>) -> Split {
    let share_wei = part(amounts.stake_wei, shares.winner_bps);
    let rest_wei = amounts.stake_wei - share_wei;
    let mut requester_wei = part(rest_wei, shares.requester_bps);
    let treasury_wei = rest_wei - requester_wei;
    let reserved_wei = dissenters.map_or(0, |_| part(share_wei, shares.reserved_bps));
    let mut verifiers_wei = 0;
    if dissenters == Some(0) {
        requester_wei += reserved_wei;
    } else {
        verifiers_wei = reserved_wei;
    }
    let judge_wei = if judged { amounts.tip_wei } else { 0 };
    let winner_wei = share_wei - reserved_wei - judge_wei;
    Split { winner_wei, verifiers_wei, judge_wei, requester_wei, treasury_wei, solver_wei: 0 }
}

/// A lost challenge: the bond.
#[must_use]
pub fn lost_bond(amounts: &Amounts, shares: &Shares, judged: bool) -> Split {
    let judge_wei = if judged { amounts.tip_wei } else { 0 };
    let rest_wei = amounts.bond_wei - judge_wei;
    let solver_wei = part(rest_wei, shares.defender_bps);
    Split { judge_wei, solver_wei, treasury_wei: rest_wei - solver_wei, ..Split::default() }
}
