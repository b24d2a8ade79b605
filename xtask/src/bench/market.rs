//! The demo's three acts in gas and seconds.

use lockstep_bench::Record;
use serde_json::Value;

use super::Sink;
use crate::demo;

pub(super) const NOTES: &str = "The program is the 64–32–10 perceptron on the digits, blocks come every 200 ms, and each act waits \
                                out windows of 3 s. There is no peer to run beside it.";

/// Seconds that the demo may take.
const DEMO_LIMIT_S: f64 = 60.0;
/// Gas that a whole dispute may take.
const DISPUTE_LIMIT_GAS: f64 = 5_000_000.0;
/// Gas that judging a unit may take.
const JUDGE_LIMIT_GAS: f64 = 1_000_000.0;

/// `quick` plays one seed, else three.
pub(super) fn run(quick: bool, sink: Sink<'_>) -> Result<(), String> {
    let seeds: &[u64] = if quick { &[1] } else { &[1, 2, 3] };
    for &seed in seeds {
        let summary = demo::summary(seed)?;
        sink(record(format!("demo, seed {seed}"), "s", &summary["seconds"]).of_limit(DEMO_LIMIT_S));
        for act in summary["acts"].as_array().into_iter().flatten() {
            of_act(act, seed, sink);
        }
    }
    Ok(())
}

fn of_act(act: &Value, seed: u64, sink: Sink<'_>) {
    let name = act["act"].as_str().unwrap_or("?");
    let case = |what: &str| format!("{name}, {what}, seed {seed}");
    sink(record(case("all"), "s", &act["seconds"]));
    sink(record(case("all"), "gas", &act["total_gas"]));
    if act["dispute_moves"].as_u64().unwrap_or(0) > 0 {
        sink(record(case("dispute"), "transactions", &act["dispute_moves"]));
        sink(record(case("dispute"), "gas", &act["dispute_gas"]).of_limit(DISPUTE_LIMIT_GAS));
        sink(record(case("judgement"), "gas", &act["judge_gas"]).of_limit(JUDGE_LIMIT_GAS));
        sink(record(case("dispute's calldata"), "B", &act["dispute_calldata_bytes"]));
    }
}

fn record(case: String, unit: &str, ours: &Value) -> Record {
    Record::new("market", case, unit, ours.as_f64().unwrap_or(f64::NAN))
}
