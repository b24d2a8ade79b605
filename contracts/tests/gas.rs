//! Gas of the referee's parts, under Cancun's rules: what is charged covers what is measured, limits hold, and
//! docs/benchmarks/gas.md is up to date.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

mod common;
#[path = "../benches/gas/gpt2.rs"]
mod gpt2;
#[path = "../benches/gas/operators.rs"]
mod operators;
#[path = "../benches/gas/small.rs"]
mod small;
#[path = "../benches/gas/sparse.rs"]
mod sparse;
#[path = "../benches/gas/step.rs"]
mod step;
#[path = "../benches/gas/units.rs"]
mod units;

use alloy_primitives::U256;
use common::Deployed;
use lockstep_bench::{Record, table};
use lockstep_contracts::harness::Float32Harness;
use lockstep_ir::judge::{DISPUTE_GAS, MAX_UNIT_GAS};

/// Gas does not depend on the machine, so every figure must be in the table as measured now.
fn assert_current(records: &[Record]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks/gas.md");
    let kept = std::fs::read_to_string(path).unwrap();
    for line in table(records).lines().skip(2) {
        assert!(kept.contains(line), "not in docs/benchmarks/gas.md; run `cargo xtask bench gas`: {line}");
    }
}

#[test]
fn every_instruction_is_charged_what_it_costs_at_worst() {
    let wrong: Vec<String> = operators::prices()
        .iter()
        .filter(|price| !(price.worst..=price.worst + 60).contains(&price.op.gas()))
        .map(|price| format!("{} costs {}, not {}", price.op.text(), price.worst, price.op.gas()))
        .collect();
    assert!(wrong.is_empty(), "ir/src/scalar.rs charges another price: {wrong:#?}");
}

#[test]
fn soft_floats_stay_cheap() {
    let mut floats = Deployed::new("Float32Harness", &Float32Harness::DEPLOYED_BYTECODE);
    for (name, op, bound) in [("add", 0, 560), ("mul", 2, 420), ("div", 3, 500), ("sqrt", 4, 560), ("fma", 5, 800)] {
        let bits = |x: f32| U256::from(x.to_bits());
        let call = Float32Harness::gasOfCall { op: U256::from(op), a: bits(1.7), b: bits(-3.3), c: bits(0.9) };
        let gas = floats.call(&call).0.unwrap().to::<u64>();
        println!("{name:>5} {gas}");
        assert!(gas <= bound, "{name} costs {gas} gas, more than {bound}");
    }
}

#[test]
fn every_kind_of_node_of_every_model_is_judged_within_its_bound() {
    let judged = units::judgements();
    assert!(judged.len() > 40, "{} units", judged.len());
    for unit in &judged {
        let units::Judged { name, gas, floor, bound } = unit;
        assert!(gas + DISPUTE_GAS <= *bound && *bound <= MAX_UNIT_GAS, "{name}: {gas} gas, bound {bound}");
        assert!(*floor <= MAX_UNIT_GAS, "{name}: {floor} gas under Isthmus");
        let dense = name.starts_with("dense: ");
        assert!(!dense || *gas <= units::DENSE_BLOCK_GAS, "{name}: {gas} gas");
    }
}

#[test]
fn the_table_is_current() {
    let mut records = operators::records();
    records.extend(units::records());
    assert_current(&records);
}
