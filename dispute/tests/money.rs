//! The market's money against every coalition: nobody gains by lying, by accusing falsely, or by playing against itself.
//!
//! `MONEY_ROUNDS` sets how many random jobs are played (default 200,000; ten million were played by hand).
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

use lockstep_dispute::money::{Amounts, Shares, Split, conviction, lost_bond, settlement};
use lockstep_ir::SplitMix64;

struct Rng(SplitMix64);

impl Rng {
    fn below(&mut self, n: u128) -> u128 {
        let mut word = || u128::from(self.0.bits());
        (word() << 64 | word()) % n
    }

    fn between(&mut self, low: u128, high: u128) -> u128 {
        low + self.below(high - low + 1)
    }

    /// Any size of amount, small ones as often as large ones.
    fn amount(&mut self) -> u128 {
        let bits = self.below(90) as u32;
        1 + self.below(1 << bits)
    }

    fn bps(&mut self, low: u128, high: u128) -> u16 {
        u16::try_from(self.between(low, high)).unwrap()
    }

    /// Shares within the contract's bounds.
    fn shares(&mut self) -> Shares {
        Shares {
            fee_bps: self.bps(0, 1_000),
            winner_bps: self.bps(1_000, 5_000),
            reserved_bps: self.bps(2_500, 5_000),
            requester_bps: self.bps(0, 9_000),
            defender_bps: self.bps(2_500, 9_000),
        }
    }

    /// Amounts that the market accepts, often just so.
    fn amounts(&mut self, shares: &Shares) -> Amounts {
        loop {
            let price_wei = self.amount();
            let least_wei = price_wei * 10_000 / (10_000 - u128::from(shares.winner_bps)) + 2;
            let stake_wei = least_wei + if self.below(2) == 0 { 0 } else { self.amount() };
            let share_wei = stake_wei * u128::from(shares.winner_bps) / 10_000;
            if share_wei < 10 {
                continue;
            }
            let bond_wei = self.between(10, share_wei);
            let tip_wei = self.below(bond_wei / 2 + 1);
            return Amounts { price_wei, stake_wei, bond_wei, tip_wei };
        }
    }
}

fn rounds() -> u64 {
    std::env::var("MONEY_ROUNDS").map_or(200_000, |n| n.parse().unwrap())
}

fn play(seed: u64, mut check: impl FnMut(&mut Rng, &Shares, &Amounts)) {
    for round in 0..rounds() {
        let mut rng = Rng(SplitMix64::new(seed.wrapping_mul(1_000_003).wrapping_add(round)));
        let shares = rng.shares();
        let amounts = rng.amounts(&shares);
        assert!(amounts.are_sound(&shares), "round {round}: {amounts:?} {shares:?}");
        check(&mut rng, &shares, &amounts);
    }
}

/// What the parties `who` hold of a split.
fn of(split: &Split, winner: bool, verifiers: bool, judge: bool, solver: bool) -> u128 {
    let parts = [
        (winner, split.winner_wei),
        (verifiers, split.verifiers_wei),
        (judge, split.judge_wei),
        (solver, split.solver_wei),
    ];
    parts.iter().filter(|(mine, _)| *mine).map(|(_, wei)| wei).sum()
}

#[test]
fn every_ending_gives_away_exactly_what_there_is() {
    play(1, |rng, shares, amounts| {
        let judged = rng.below(2) == 0;
        let dissenters = [None, Some(0), Some(3)][rng.below(3) as usize];
        assert_eq!(settlement(amounts, shares).total_wei(), amounts.price_wei);
        assert_eq!(conviction(amounts, shares, judged, dissenters).total_wei(), amounts.stake_wei);
        assert_eq!(lost_bond(amounts, shares, judged).total_wei(), amounts.bond_wei);
    });
}

/// Solver, winner, judge and even the verifiers are one: still it loses more than the milestone would have paid.
#[test]
fn convicting_oneself_costs_more_than_a_milestone_pays() {
    play(2, |rng, shares, amounts| {
        let (judged, dissenters) = (rng.below(2) == 0, [None, Some(0), Some(2)][rng.below(3) as usize]);
        let back = of(&conviction(amounts, shares, judged, dissenters), true, true, true, true);
        assert!(amounts.stake_wei - back > amounts.price_wei, "{amounts:?} {shares:?}");
    });
}

/// Even with the requester in it, the coalition loses: the treasury's part leaves.
#[test]
fn a_requester_in_the_coalition_does_not_change_that() {
    play(3, |rng, shares, amounts| {
        let split = conviction(amounts, shares, rng.below(2) == 0, None);
        assert!(split.treasury_wei > 0, "{amounts:?} {shares:?}");
    });
}

#[test]
fn losing_to_oneself_always_costs() {
    play(4, |rng, shares, amounts| {
        let back = of(&lost_bond(amounts, shares, rng.below(2) == 0), true, true, true, true);
        assert!(back < amounts.bond_wei, "{amounts:?} {shares:?}");
    });
}

/// An honest solver under false challenges never has less than its pay; an honest challenger of a lie never less than its bond.
#[test]
fn honest_parties_never_lose() {
    play(5, |rng, shares, amounts| {
        let challenges = rng.below(9);
        let pay = settlement(amounts, shares).solver_wei;
        let compensated: u128 = (0..challenges).map(|_| lost_bond(amounts, shares, rng.below(2) == 0).solver_wei).sum();
        assert!(pay + compensated >= pay);
        assert!(pay <= amounts.price_wei);
        // the tip comes out of what the loser loses, never out of the winner's bond
        let split = conviction(amounts, shares, true, Some(1));
        assert!(split.winner_wei + split.judge_wei <= amounts.stake_wei / 2);
    });
}

/// A lie pays only if it is not found with a chance that anybody can work out: gain and loss at stake.
#[test]
fn a_lie_that_is_found_costs_more_than_it_could_earn() {
    play(6, |rng, shares, amounts| {
        let gain = settlement(amounts, shares).solver_wei;
        let accomplice = rng.below(2) == 0;
        let back = if accomplice { of(&conviction(amounts, shares, true, None), true, false, true, true) } else { 0 };
        let loss = amounts.stake_wei - back;
        assert!(loss > gain, "found with one chance in two, a lie earns less than nothing");
    });
}

/// Amounts outside the bounds are those under which one of the promises breaks.
#[test]
fn unsound_amounts_are_refused() {
    let shares =
        Shares { fee_bps: 100, winner_bps: 5_000, reserved_bps: 5_000, requester_bps: 8_000, defender_bps: 7_500 };
    let sound = Amounts { price_wei: 333, stake_wei: 668, bond_wei: 334, tip_wei: 167 };
    assert!(sound.are_sound(&shares));
    for wrong in [
        Amounts { stake_wei: 667, bond_wei: 333, tip_wei: 0, ..sound },
        Amounts { bond_wei: 335, ..sound },
        Amounts { bond_wei: 9, tip_wei: 0, ..sound },
        Amounts { tip_wei: 168, ..sound },
        Amounts { price_wei: 0, ..sound },
    ] {
        assert!(!wrong.are_sound(&shares), "{wrong:?}");
    }
}
