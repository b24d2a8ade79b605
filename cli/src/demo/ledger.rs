//! What the demo shows at the end: balances, moves, gas, bytes, seconds, promises.

use lockstep_sdk::report::Event;
use serde::Serialize;

use super::{act::Act, world::Party};
use crate::output::{Output, thousands, tokens};

/// A promise and whether it was kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Promise {
    pub(crate) promise: String,
    pub(crate) kept: bool,
}

/// One act in numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    act: &'static str,
    seconds: f64,
    transactions: usize,
    dispute_moves: usize,
    dispute_gas: u64,
    dispute_calldata_bytes: usize,
    judge_gas: u64,
    total_gas: u64,
    balances: Vec<Balance>,
}

/// One party's balance, in the payment token's smallest unit.
#[derive(Clone, Debug, Serialize)]
struct Balance {
    party: &'static str,
    before_wei: String,
    after_wei: String,
    #[serde(skip)]
    wei: (i128, i128),
}

impl Summary {
    pub(crate) fn new(act: Act, before_wei: Vec<i128>, after_wei: Vec<i128>, seconds: f64, events: &[Event]) -> Self {
        let costs = || events.iter().filter_map(|e| Some((e, e.cost?)));
        let game = || costs().filter(|(e, _)| e.dispute_id.is_some());
        let judged = game().find(|(e, _)| e.detail.starts_with("Judge"));
        let balance = |(party, (before, after)): (Party, (i128, i128))| Balance {
            party: party.name(),
            before_wei: before.to_string(),
            after_wei: after.to_string(),
            wei: (before, after),
        };
        Self {
            act: match act {
                Act::Honest => "honest job",
                Act::Cheat => "convicted cheat",
                Act::FalseChallenge => "false challenge",
            },
            seconds,
            transactions: costs().count(),
            dispute_moves: game().count(),
            dispute_gas: game().map(|(_, cost)| cost.gas).sum(),
            dispute_calldata_bytes: game().map(|(_, cost)| cost.calldata_bytes).sum(),
            judge_gas: judged.map_or(0, |(_, cost)| cost.gas),
            total_gas: costs().map(|(_, cost)| cost.gas).sum(),
            balances: Party::ALL.into_iter().zip(before_wei.into_iter().zip(after_wei)).map(balance).collect(),
        }
    }
}

/// Prints the tables.
pub(crate) fn tell(acts: &[Summary], promises: &[Promise], seconds: f64, output: &Output) {
    if output.is_json() {
        let summary = serde_json::json!({ "what": "summary", "seconds": seconds, "acts": acts, "promises": promises });
        return output.result("", &summary);
    }
    output.text(format!(
        "\n{:<12}{:>14}{:>16}{:>16}{:>16}",
        "balances", "before", "after act 1", "after act 2", "after act 3"
    ));
    for (i, party) in Party::ALL.iter().enumerate() {
        let mut line =
            format!("{:<12}{:>14}", party.name(), acts.first().map_or(String::new(), |a| tokens(a.balances[i].wei.0)));
        for act in acts {
            line += &format!("{:>16}", tokens(act.balances[i].wei.1));
        }
        output.text(line);
    }
    output.text(format!(
        "\n{:<18}{:>8}{:>8}{:>13}{:>13}{:>10}{:>13}",
        "act", "seconds", "moves", "dispute gas", "judge gas", "bytes", "all gas"
    ));
    for act in acts {
        output.text(format!(
            "{:<18}{:>8.1}{:>8}{:>13}{:>13}{:>10}{:>13}",
            act.act,
            act.seconds,
            act.dispute_moves,
            thousands(act.dispute_gas.into()),
            thousands(act.judge_gas.into()),
            thousands(act.dispute_calldata_bytes as u128),
            thousands(act.total_gas.into()),
        ));
    }
    output.text("");
    for p in promises {
        output.text(format!("{} {}", if p.kept { "kept  " } else { "BROKEN" }, p.promise));
    }
    output.text(format!("\n{seconds:.1} seconds in all."));
}
