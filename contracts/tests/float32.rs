//! `Float32.sol` against the machine's own IEEE arithmetic, at least a million cases for every operation.
#![allow(clippy::unwrap_used, reason = "a failed set-up ends a test")]

#[path = "common/alarm.rs"]
mod alarm;
mod common;

use std::thread;

use alarm::Alarm;
use alloy_primitives::{Bytes, U256};
use common::Deployed;
use lockstep_contracts::harness::Float32Harness;

const CASES: usize = 1 << 20;
const BATCH: usize = 4096;
const NAN: u32 = 0x7fc0_0000;

/// SplitMix64: a small generator with a fixed sequence, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Bits of a float: any bits, edges, short significands (ties), or near one (cancellation).
    fn float(&mut self) -> u32 {
        const EDGES: [u32; 20] = [
            0,
            1,
            2,
            0x007f_ffff,
            0x0080_0000,
            0x0080_0001,
            0x00ff_ffff,
            0x3eff_ffff,
            0x3f00_0000,
            0x3f00_0001,
            0x3f7f_ffff,
            0x3f80_0000,
            0x3f80_0001,
            0x4b00_0000,
            0x4eff_ffff,
            0x4f80_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7f80_0001,
            0x7fff_ffff,
        ];
        let random = self.next();
        let sign = ((random >> 40) as u32) << 31;
        match random % 8 {
            0 => EDGES[self.below(20) as usize] | sign,
            1 => (self.next() as u32 & 0x007f_ffff) | sign,
            2 => ((self.next() as u32) & 0xffff_f000 & 0x7fff_ffff) | sign,
            3 => {
                let bits = 1u32 << self.below(23);
                ((self.below(254) as u32 + 1) << 23 | bits.wrapping_sub(self.below(3) as u32) & 0x007f_ffff) | sign
            }
            4 => 0x3f00_0000u32.wrapping_add(self.next() as u32 & 0x01ff_ffff) | sign,
            5 => (0x3f80_0000 + (self.below(64) as u32) - 32) | sign,
            _ => self.next() as u32,
        }
    }

    /// Three floats; often related, so that sums cancel, tie, or meet at the ends of the range.
    fn case(&mut self, op: u32) -> [u32; 3] {
        let (a, b) = (self.float(), self.float());
        let near = |bits: u32, by: u64| bits.wrapping_add(by as u32).wrapping_sub(4);
        let c = match self.below(4) {
            0 if op == FMA => {
                let product = -(f32::from_bits(a) * f32::from_bits(b));
                near(product.to_bits(), self.below(9))
            }
            1 if op == FMA => {
                // 24 or 25 binary places below the product: ties and sticky bits
                let product = f32::from_bits(a) * f32::from_bits(b);
                (product.to_bits() & 0xff80_0000).wrapping_sub((20 + self.below(10) as u32) << 23)
            }
            _ => self.float(),
        };
        let b = match self.below(4) {
            0 if op == ADD || op == SUB => near(a ^ ((self.next() as u32) << 31), self.below(9)),
            1 if op == ADD || op == SUB => (a & 0xff80_0000).wrapping_sub((20 + self.below(10) as u32) << 23),
            _ => b,
        };
        [a, b, c]
    }
}

const ADD: u32 = 0;
const SUB: u32 = 1;
const FMA: u32 = 5;

const NAMES: [&str; 20] = [
    "add",
    "sub",
    "mul",
    "div",
    "sqrt",
    "fma",
    "neg",
    "abs",
    "floor",
    "rint",
    "eq",
    "lt",
    "le",
    "to_i32",
    "to_u32",
    "from_i32",
    "from_u32",
    "to_bf16",
    "from_bf16",
    "canonical",
];

fn canonical(x: f32) -> u32 {
    if x.is_nan() { NAN } else { x.to_bits() }
}

/// bf16 by its definition: of the two neighbours the nearer, the even one at a tie; in f64, where all are exact.
fn to_bf16(bits: u32) -> u32 {
    let x = f32::from_bits(bits);
    if x.is_nan() {
        return 0x7fc0;
    }
    if x.is_infinite() {
        return bits >> 16;
    }
    // beyond the largest finite bf16 the next value would be 2^128
    let value = |high: u32| match high & 0x7fff {
        0x7f80 => 2f64.powi(128),
        magnitude => f64::from(f32::from_bits(magnitude << 16)),
    };
    let (low, high, magnitude) = (bits >> 16, (bits >> 16) + 1, f64::from(x.abs()));
    let (below, above) = (magnitude - value(low), value(high) - magnitude);
    if below < above || (below == above && low & 1 == 0) { low } else { high }
}

fn expected(op: u32, [a, b, c]: [u32; 3]) -> u32 {
    let (x, y, z) = (f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
    match NAMES[op as usize] {
        "add" => canonical(x + y),
        "sub" => canonical(x - y),
        "mul" => canonical(x * y),
        "div" => canonical(x / y),
        "sqrt" => canonical(x.sqrt()),
        "fma" => canonical(x.mul_add(y, z)),
        "neg" => canonical(-x),
        "abs" => canonical(x.abs()),
        "floor" => canonical(x.floor()),
        "rint" => canonical(x.round_ties_even()),
        "eq" => u32::from(x == y),
        "lt" => u32::from(x < y),
        "le" => u32::from(x <= y),
        "to_i32" => x as i32 as u32,
        "to_u32" => x as u32,
        "from_i32" => (a as i32 as f32).to_bits(),
        "from_u32" => (a as f32).to_bits(),
        "to_bf16" => to_bf16(a),
        "from_bf16" => canonical(f32::from_bits(a << 16)),
        "canonical" => canonical(x),
        other => panic!("no expectation for {other}"),
    }
}

/// An operation in comparison.
struct Comparison {
    op: u32,
    random: Random,
    contract: Deployed,
}

impl Comparison {
    fn new(op: u32) -> Self {
        let contract = Deployed::new("Float32Harness", &Float32Harness::DEPLOYED_BYTECODE);
        Self { op, random: Random(u64::from(op) + 1), contract }
    }

    fn batch(&mut self) {
        let op = self.op;
        let batch: Vec<[u32; 3]> = (0..BATCH).map(|_| self.random.case(op)).collect();
        let inputs: Vec<u8> = batch.iter().flatten().flat_map(|x| x.to_be_bytes()).collect();
        let call = Float32Harness::batchCall { op: U256::from(op), inputs: inputs.into() };
        let results: Bytes = self.contract.call(&call).0.unwrap();
        assert_eq!(results.len(), 4 * BATCH);
        for (case, bytes) in batch.iter().zip(results.chunks_exact(4)) {
            let got = u32::from_be_bytes(bytes.try_into().unwrap());
            let want = expected(op, *case);
            assert_eq!(got, want, "{}({case:08x?}) = {got:08x}, not {want:08x}", NAMES[op as usize]);
        }
    }
}

#[test]
fn every_operation_agrees_with_the_hardware() {
    // one thread per core; each takes every second operation, in turns, so that a wrong one shows early
    let alarm = Alarm::default();
    thread::scope(|scope| {
        for part in 0..2 {
            let watch = alarm.watch();
            scope.spawn(move || {
                let mut operations: Vec<_> = (part..NAMES.len() as u32).step_by(2).map(Comparison::new).collect();
                for _ in 0..CASES.div_ceil(BATCH) {
                    operations.iter_mut().take_while(|_| !watch.rings()).for_each(Comparison::batch);
                }
            });
        }
    });
}

#[test]
fn the_machine_does_not_flush_subnormals() {
    // else the comparison above would prove nothing about them
    let tiny = std::hint::black_box(f32::from_bits(3));
    assert_eq!((tiny / 2.0).to_bits(), 2);
}
