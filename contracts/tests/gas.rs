//! Gas of the referee's parts, under Cancun's rules: what is charged covers what is measured, and docs/benchmarks/gas.md is up to date.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

mod common;
#[path = "common/witness.rs"]
mod witness;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use common::Deployed;
use lockstep_contracts::{
    Referee,
    harness::{Float32Harness, ScalarVmHarness},
};
use lockstep_ir::{
    DType, Order, Tensor,
    build::{Draft, NodeBuilder, ProgramBuilder, at, k, o},
    eval::Unit,
    expr::{Expr, acc, f, i, load, max, rhs},
    func::exp,
    judge::{DISPUTE_GAS, MAX_UNIT_GAS},
    sample::{Rng, tensors},
    scalar::{Instr, Op, encode},
    validate,
};
use witness::Step;

/// Numbers that make the operations work: ordinary, cancelling, subnormal, at the ends, not numbers.
const HARD: [u32; 16] = [
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x40f5_a5a5,
    0xc0f5_a5a6,
    0x0000_0001,
    0x8000_0003,
    0x007f_ffff,
    0x0080_0001,
    0x1f7f_ffff,
    0x7f7f_ffff,
    0xff7f_fffe,
    0x7f80_0000,
    0x7fc0_0000,
    0x0000_0000,
    0x4eff_ffff,
];

/// An operation's gas: on ordinary numbers, and the worst of all hard ones.
struct Price {
    op: Op,
    usual: u64,
    worst: u64,
}

fn prices() -> Vec<Price> {
    let mut vm = Deployed::new(&ScalarVmHarness::DEPLOYED_BYTECODE);
    let mut gas = |code: &[Instr], loads: [u32; 3]| {
        let mut frame = [0u32; 31];
        frame[15..18].copy_from_slice(&loads);
        let frames: Vec<u8> = frame.iter().flat_map(|word| word.to_be_bytes()).collect();
        let call = ScalarVmHarness::batchCall { code: encode(code).into(), frames: frames.into() };
        vm.call(&call).0.unwrap().gas_.to::<u64>()
    };
    let load = |a| Instr::Op { op: Op::Load, a, b: 0, c: 0 };
    let nothing = gas(&[load(0), load(1), load(2)], [0; 3]);
    let computing = Op::ALL.iter().copied().filter(|op| op.arity() > 0);
    let price = |op: Op| {
        let arg = |i: usize| if i < op.arity() { i as u16 } else { 0 };
        let code = [load(0), load(1), load(2), Instr::Op { op, a: arg(0), b: arg(1), c: arg(2) }];
        let mut worst = 0;
        for &a in &HARD {
            for &b in &HARD {
                for &c in if op.arity() == 3 { &HARD[..] } else { &HARD[..1] } {
                    worst = worst.max(gas(&code, [a, b, c]) - nothing);
                }
            }
        }
        Price { op, usual: gas(&code, [0x3fc0_0000, 0x40f5_a5a5, 0x4049_0fdb]) - nothing, worst }
    };
    computing.map(price).collect()
}

#[test]
fn every_instruction_is_charged_what_it_costs_at_worst() {
    let wrong: Vec<String> = prices()
        .iter()
        .filter(|price| !(price.worst..=price.worst + 60).contains(&price.op.gas()))
        .map(|price| format!("{} costs {}, not {}", price.op.text(), price.worst, price.op.gas()))
        .collect();
    assert!(wrong.is_empty(), "ir/src/scalar.rs charges another price: {wrong:#?}");
}

#[test]
fn soft_floats_stay_cheap() {
    let mut floats = Deployed::new(&Float32Harness::DEPLOYED_BYTECODE);
    for (name, op, bound) in [("add", 0, 560), ("mul", 2, 420), ("div", 3, 500), ("sqrt", 4, 560), ("fma", 5, 800)] {
        let bits = |x: f32| U256::from(x.to_bits());
        let call = Float32Harness::gasOfCall { op: U256::from(op), a: bits(1.7), b: bits(-3.3), c: bits(0.9) };
        let gas = floats.call(&call).0.unwrap().to::<u64>();
        println!("{name:>5} {gas}");
        assert!(gas <= bound, "{name} costs {gas} gas, more than {bound}");
    }
}

/// Fills a tensor with numbers between -1 and 1.
fn ordinary(tensor: &mut Tensor, rng: &mut Rng) {
    for index in 0..tensor.len() {
        let number = (rng.below(1 << 24) as f32 - (1 << 23) as f32) / (1 << 23) as f32;
        tensor.set_stored(index, number.to_bits());
    }
}

/// A unit that was judged, and what it took.
struct Judged {
    name: &'static str,
    gas: u64,
    calldata: u64,
    /// What a transaction costs at least for its data since Prague (Isthmus).
    floor: u64,
    /// The validator's bound, and its limit for the test.
    bound: u64,
    limit: u64,
}

/// Judges `unit` of element 5 of a program of one node.
fn judge(name: &'static str, node: Draft, shapes: [(DType, &[u32]); 2], unit: &Unit, limit: u64) -> Judged {
    let mut builder = ProgramBuilder::new();
    let [(a, a_shape), (b, b_shape)] = shapes;
    let a = builder.state(a, a_shape);
    builder.data(b, b_shape);
    builder.keep(&a);
    builder.node(node).unwrap();
    let program = builder.build().unwrap();
    let bound = validate(&program).unwrap()[0].gas;
    let (mut state, mut data) = tensors(&mut Rng::new(7), &program);
    let mut rng = Rng::new(8);
    let floats = state.iter_mut().chain(&mut data).filter(|tensor| tensor.decl().dtype == DType::F32);
    floats.for_each(|tensor| ordinary(tensor, &mut rng));
    let step = Step::new(program, state, data);
    let mut referee = Deployed::new(&Referee::DEPLOYED_BYTECODE);
    let (expected, call) = step.unit(0, 5, unit);
    let (result, gas) = referee.call(&call);
    assert_eq!(result.unwrap(), expected);
    let data = call.abi_encode();
    let zeros = data.iter().filter(|&&byte| byte == 0).count() as u64;
    let others = data.len() as u64 - zeros;
    Judged { name, gas, calldata: 4 * zeros + 16 * others, floor: 21_000 + 10 * (zeros + 4 * others), bound, limit }
}

const F: DType = DType::F32;

/// The nodes that models are made of, with the shapes that count: one row, one block.
fn judgements() -> Vec<Judged> {
    let wide: [(DType, &[u32]); 2] = [(F, &[64, 1024]), (F, &[64, 1024])];
    let two = |shapes: [(DType, &[u32]); 2]| {
        let mut builder = ProgramBuilder::new();
        (builder.state(shapes[0].0, shapes[0].1), builder.data(shapes[1].0, shapes[1].1))
    };
    let dot = || load(0).fma(&load(1), &acc());
    let (a, b) = two(wide);
    let matmul = || {
        NodeBuilder::new(F, &[64, 64])
            .operand(a.at([o(0), k(0)]))
            .operand(b.at([o(1), k(0)]))
            .fold(&[1024], Order::Chain, f(0.0), dot())
            .combine(acc() + rhs())
            .finish(acc())
    };
    let row = |body: Expr, combine: Expr| {
        NodeBuilder::new(F, &[64])
            .operand(a.at([o(0), k(0)]))
            .fold(&[1024], Order::Lanes, f(0.0), body)
            .combine(combine)
            .finish(acc())
    };
    let map = |finish: Expr| {
        NodeBuilder::new(F, &[64, 1024]).operand(a.at([o(0), o(1)])).operand(b.at([o(0), o(1)])).finish(finish)
    };
    let tall: [(DType, &[u32]); 2] = [(F, &[16, 64]), (F, &[64, 32])];
    let (x, w) = two(tall);
    let short = NodeBuilder::new(F, &[16, 32])
        .operand(x.at([o(0), k(0)]))
        .operand(w.at([k(0), o(1)]))
        .fold(&[64], Order::Chain, f(0.0), dot())
        .finish(acc());
    let image: [(DType, &[u32]); 2] = [(F, &[8, 8, 16]), (F, &[3, 3, 16])];
    let (picture, filter) = two(image);
    let convolution = NodeBuilder::new(F, &[8, 8])
        .operand(picture.at([o(0) + k(0) + at(-1), o(1) + k(1) + at(-1), k(2)]).skip())
        .operand(filter.at([k(0), k(1), k(2)]))
        .fold(&[3, 3, 16], Order::Chain, f(0.0), dot())
        .finish(acc());
    let bytes: [(DType, &[u32]); 2] = [(DType::I8, &[64, 1024]), (DType::I8, &[64, 1024])];
    let (p, q) = two(bytes);
    let integers = NodeBuilder::new(DType::I32, &[64, 64])
        .operand(p.at([o(0), k(0)]))
        .operand(q.at([o(1), k(0)]))
        .fold(&[1024], Order::Chain, i(0), acc() + load(0) * load(1))
        .combine(acc() + rhs())
        .finish(acc());
    let values = |n: usize| Unit::Top(vec![0x3f80_0000; n]);
    vec![
        judge("`x·wᵀ`, leaf block of 256", matmul(), wide, &Unit::Leaf(1), 250_000),
        judge("`x·wᵀ`, top over 4 values", matmul(), wide, &values(4), 70_000),
        judge("row sum in lanes, leaf block", row(acc() + load(0), acc() + rhs()), wide, &Unit::Leaf(2), 280_000),
        judge(
            "row maximum, leaf block",
            row(max(&acc(), &load(0)), max(&acc(), &rhs())),
            wide,
            &Unit::Leaf(2),
            400_000,
        ),
        judge(
            "sum of squares, leaf block",
            row(load(0).fma(&load(0), &acc()), acc() + rhs()),
            wide,
            &Unit::Leaf(2),
            280_000,
        ),
        judge("sum of two tensors, element", map(load(0) + load(1)), wide, &Unit::Element, 140_000),
        judge("exponential of a difference, element", map(exp(&(load(0) - load(1)))), wide, &Unit::Element, 180_000),
        judge("`x·w` of 64 rows in 8 chunks, element", short, tall, &Unit::Element, 350_000),
        judge("3×3×16 convolution with a border, element", convolution, image, &Unit::Element, 290_000),
        judge("int8 `x·wᵀ`, leaf block of 256", integers, bytes, &Unit::Leaf(1), 200_000),
    ]
}

#[test]
fn units_stay_within_a_block() {
    for unit in judgements() {
        assert!(unit.gas <= unit.limit, "{} costs {} gas, more than {}", unit.name, unit.gas, unit.limit);
        assert!(
            unit.gas + DISPUTE_GAS <= unit.bound && unit.bound <= MAX_UNIT_GAS,
            "{}: bound {}",
            unit.name,
            unit.bound
        );
    }
}

/// The table of docs/benchmarks/gas.md; gas does not depend on the machine.
fn table() -> String {
    let mut text = String::from(HEAD);
    for Price { op, usual, worst } in prices() {
        text += &format!("| `{}` | {usual} | {worst} | {} |\n", op.text(), op.gas());
    }
    text += UNITS;
    for unit in judgements() {
        let Judged { name, gas, calldata, floor, bound, .. } = unit;
        text += &format!("| {name} | {gas} | {calldata} | {} | {bound} |\n", gas.max(floor));
    }
    text
}

const HEAD: &str = "# Gas of the referee\n\nMade by `cargo xtask bench gas`. Rules of Granite (Cancun); gas does not depend on the machine.\n\n\
    ## Operations\n\nRun by `ScalarVm`, dispatch included; `charged` is what the validator counts.\n\n\
    | operation | usual | worst | charged |\n|---|---:|---:|---:|\n";

const UNITS: &str = "\n## Units\n\nOne call of `Referee.recompute` with everything it needs, as a transaction: ordinary numbers, tensors of 64 rows of 1,024 where \
    nothing else is said. Isthmus counts at least 10 gas for a zero byte of calldata and 40 for any other. `bound` is the validator's worst case for the \
    node's dearest unit, on any numbers, with what `Disputes.judge` spends around the referee; it never exceeds 1,000,000.\n\n\
    | unit | gas | of which calldata | Isthmus | bound |\n|---|---:|---:|---:|---:|\n";

#[test]
fn the_table_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks/gas.md");
    let fresh = table();
    if std::env::var_os("LOCKSTEP_WRITE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), fresh, "run `cargo xtask bench gas`");
}
