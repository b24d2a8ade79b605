//! Benchmarks: tables for people, written under docs/benchmarks; one JSON object a line for machines.

use serde_json::{Value, json};

use crate::{cargo, contracts::workspace_root, demo, write};

/// Seconds that the demo may take.
const DEMO_LIMIT_S: f64 = 60.0;
/// Gas that a whole dispute may take.
const DISPUTE_LIMIT_GAS: f64 = 5_000_000.0;
/// Gas that judging a unit may take.
const JUDGE_LIMIT_GAS: f64 = 1_000_000.0;

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let flags: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    if let Some(unknown) = flags.iter().find(|f| !["--quick", "--json"].contains(f)) {
        return Err(format!("`bench` has no `{unknown}`; there are --quick and --json"));
    }
    match args.first().map(String::as_str) {
        Some("kernels") => {
            let words =
                [&["bench", "--profile", "release", "-p", "lockstep-kernels", "--bench", "kernels", "--"][..], &flags]
                    .concat();
            cargo(&words, &[])
        }
        Some("market") => market(flags.contains(&"--json"), flags.contains(&"--quick")),
        Some(later @ ("train" | "gas" | "node" | "gpu")) => Err(format!("the suite `{later}` does not exist yet")),
        _ => Err("which suite? kernels or market".into()),
    }
}

/// The demo's three acts in gas and seconds. `--quick` plays one seed, else three.
fn market(machine: bool, quick: bool) -> Result<(), String> {
    let seeds: &[u64] = if quick { &[1] } else { &[1, 2, 3] };
    let mut rows = Vec::new();
    for &seed in seeds {
        let summary = demo::summary(seed)?;
        rows.push(row(&format!("demo, seed {seed}"), "s", &summary["seconds"], Some(DEMO_LIMIT_S)));
        for act in summary["acts"].as_array().into_iter().flatten() {
            let name = act["act"].as_str().unwrap_or("?");
            let case = |what: &str| format!("{name}, {what}, seed {seed}");
            rows.push(row(&case("all"), "s", &act["seconds"], None));
            rows.push(row(&case("all"), "gas", &act["total_gas"], None));
            if act["dispute_moves"].as_u64().unwrap_or(0) > 0 {
                rows.push(row(&case("transactions of the dispute"), "", &act["dispute_moves"], None));
                rows.push(row(&case("dispute"), "gas", &act["dispute_gas"], Some(DISPUTE_LIMIT_GAS)));
                rows.push(row(&case("judgement"), "gas", &act["judge_gas"], Some(JUDGE_LIMIT_GAS)));
                rows.push(row(&case("calldata of the dispute"), "B", &act["dispute_calldata_bytes"], None));
            }
        }
    }
    if machine {
        rows.iter().for_each(|row| println!("{row}"));
        return Ok(());
    }
    let table = table(&rows);
    print!("{table}");
    let head = "# The demo in gas and seconds\n\nMade by `cargo xtask bench market`: the program is the 64–32–10 perceptron on the digits, \
                blocks come every 200 ms, and each act waits out windows of 3 s.\n\n";
    write(&workspace_root().join("docs/benchmarks/market.md"), format!("{head}{table}").as_bytes())
}

fn row(case: &str, unit: &str, ours: &Value, limit: Option<f64>) -> Value {
    let share = limit.and_then(|limit| Some(ours.as_f64()? / limit));
    json!({
        "suite": "market", "case": case, "unit": unit, "ours": ours, "peer": null, "peer_name": null,
        "ratio": null, "limit": limit, "share": share,
    })
}

fn table(rows: &[Value]) -> String {
    let mut text = String::from("| case | ours | unit | limit | share |\n|---|---:|---|---:|---:|\n");
    for row in rows {
        let ours = row["ours"].as_f64().unwrap_or(0.0);
        let ours = if row["unit"] == "s" { format!("{ours:.1}") } else { format!("{ours:.0}") };
        let limit = row["limit"].as_f64().map_or(String::new(), |limit| format!("{limit:.0}"));
        let share = row["share"].as_f64().map_or(String::new(), |share| format!("{:.0} %", share * 100.0));
        let (case, unit) = (row["case"].as_str().unwrap_or(""), row["unit"].as_str().unwrap_or(""));
        text += &format!("| {case} | {ours} | {unit} | {limit} | {share} |\n");
    }
    text
}
