//! Gas of the referee's parts, under Cancun's rules. Bounds fail the build; run with `--nocapture` for the table.
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
    expr::{acc, f, load, rhs},
    sample::{Rng, tensors},
    scalar::{Instr, Op, encode},
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

#[test]
fn every_instruction_has_a_bounded_cost() {
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
    for &op in Op::ALL.iter().filter(|op| op.arity() > 0) {
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
        let usual = gas(&code, [0x3fc0_0000, 0x40f5_a5a5, 0x4049_0fdb]) - nothing;
        println!("{:>10}  usual {usual:>5}  worst {worst:>5}  charged {:>5}", op.text(), op.gas());
        assert!(worst <= 1_700, "{} costs {worst} gas", op.text());
    }
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

/// Gas of a transaction's data, without the floor of later forks.
fn calldata_gas(data: &[u8]) -> u64 {
    data.iter().map(|&byte| if byte == 0 { 4 } else { 16 }).sum()
}

/// Fills a tensor with numbers between -1 and 1.
fn ordinary(tensor: &mut Tensor, rng: &mut Rng) {
    for index in 0..tensor.len() {
        let number = (rng.below(1 << 24) as f32 - (1 << 23) as f32) / (1 << 23) as f32;
        tensor.set_stored(index, number.to_bits());
    }
}

/// Judges `unit` of element 5 of a program of one node, and bounds the gas, calldata included.
fn judge<T>(name: &str, node: Draft, setup: impl FnOnce(&mut ProgramBuilder) -> T, unit: Unit, bound: u64) {
    let mut builder = ProgramBuilder::new();
    setup(&mut builder);
    builder.node(node).unwrap();
    let program = builder.build().unwrap();
    let (mut state, mut data) = tensors(&mut Rng::new(7), &program);
    if !name.ends_with("edge values") {
        let mut rng = Rng::new(8);
        state.iter_mut().chain(&mut data).for_each(|tensor| ordinary(tensor, &mut rng));
    }
    let step = Step::new(program, state, data);
    let mut referee = Deployed::new(&Referee::DEPLOYED_BYTECODE);
    let (expected, call) = step.unit(0, 5, &unit);
    let (result, gas) = referee.call(&call);
    assert_eq!(result.unwrap(), expected);
    let data = calldata_gas(&call.abi_encode());
    println!("{name:>40} {gas:>8}, of which calldata {data:>8}");
    assert!(gas <= bound, "{name} costs {gas} gas, more than {bound}");
}
#[test]
fn units_stay_within_a_block() {
    // operand 0 is the state tensor, operand 1 the data tensor
    let setup = |shapes: [&'static [u32]; 2]| {
        move |builder: &mut ProgramBuilder| {
            let a = builder.state(DType::F32, shapes[0]);
            let b = builder.data(DType::F32, shapes[1]);
            builder.keep(&a);
            (a, b)
        }
    };
    let dot = || load(0).fma(&load(1), &acc());
    let wide = setup([&[64, 1024], &[64, 1024]]);
    let (a, b) = wide(&mut ProgramBuilder::new());
    let matmul = || {
        NodeBuilder::new(DType::F32, &[64, 64])
            .operand(a.at([o(0), k(0)]))
            .operand(b.at([o(1), k(0)]))
            .fold(&[1024], Order::Chain, f(0.0), dot())
            .combine(acc() + rhs())
    };
    judge("leaf block of x·wᵀ, 256 fma", matmul().finish(acc()), wide, Unit::Leaf(1), 250_000);
    judge("top of x·wᵀ, 4 values", matmul().finish(acc()), wide, Unit::Top(vec![0x3f80_0000; 4]), 70_000);
    let sum = NodeBuilder::new(DType::F32, &[64])
        .operand(a.at([o(0), k(0)]))
        .fold(&[1024], Order::Lanes, f(0.0), acc() + load(0))
        .combine(acc() + rhs());
    judge("leaf block of a row sum in lanes", sum.finish(acc()), wide, Unit::Leaf(2), 290_000);
    let map = NodeBuilder::new(DType::F32, &[64, 1024]).operand(a.at([o(0), o(1)])).operand(b.at([o(0), o(1)]));
    judge("element of a sum of two tensors", map.finish(load(0) + load(1)), wide, Unit::Element, 140_000);

    let tall = setup([&[16, 64], &[64, 32]]);
    let (a, b) = tall(&mut ProgramBuilder::new());
    let short = NodeBuilder::new(DType::F32, &[16, 32]).operand(a.at([o(0), k(0)])).operand(b.at([k(0), o(1)])).fold(
        &[64],
        Order::Chain,
        f(0.0),
        dot(),
    );
    judge("element of x·w, 64 fma, 8 chunks", short.finish(acc()), tall, Unit::Element, 350_000);

    // 3×3 convolution of 16 channels with a border that is left out
    let image = setup([&[8, 8, 16], &[3, 3, 16]]);
    let (a, b) = image(&mut ProgramBuilder::new());
    let convolution = NodeBuilder::new(DType::F32, &[8, 8])
        .operand(a.at([o(0) + k(0) + at(-1), o(1) + k(1) + at(-1), k(2)]).skip())
        .operand(b.at([k(0), k(1), k(2)]))
        .fold(&[3, 3, 16], Order::Chain, f(0.0), dot());
    judge("element of a 3×3×16 convolution", convolution.finish(acc()), image, Unit::Element, 290_000);
}
