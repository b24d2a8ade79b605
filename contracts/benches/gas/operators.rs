//! Every operation of scalar programs: gas on ordinary numbers, and the worst of all hard ones.

use lockstep_bench::Record;
use lockstep_contracts::harness::ScalarVmHarness;
use lockstep_ir::scalar::{Instr, Op, encode};

use crate::common::Deployed;

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

/// An operation's gas.
pub(crate) struct Price {
    pub(crate) op: Op,
    pub(crate) usual: u64,
    pub(crate) worst: u64,
}

pub(crate) fn prices() -> Vec<Price> {
    let mut vm = Deployed::new("ScalarVmHarness", &ScalarVmHarness::DEPLOYED_BYTECODE);
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

/// The limit is what the validator charges.
pub(crate) fn records() -> Vec<Record> {
    let of = |price: &Price| {
        let record =
            |what: &str, gas: u64| Record::new("gas", format!("`{}`, {what}", price.op.text()), "gas", gas as f64);
        let charged = price.op.gas() as f64;
        // a name for an earlier value costs nothing
        if charged == 0.0 {
            return vec![record("always", price.worst)];
        }
        vec![record("usual", price.usual).of_limit(charged), record("worst", price.worst).of_limit(charged)]
    };
    prices().iter().flat_map(of).collect()
}
