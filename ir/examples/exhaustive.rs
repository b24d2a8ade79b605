//! The worst error of each scalar function over all 2^32 inputs, as the table of docs/numbers.md.
//!
//! `RUSTFLAGS="-C target-cpu=native" cargo run --release -p lockstep-ir --example exhaustive -- [NAME…] [--step N]`
//!
//! Each instruction is one loop over a block of inputs, so that 2^32 of them take minutes on one core (without an FMA
//! instruction, much longer). What the loops compute is compared with [`number::apply`] in passing. The reference is the same
//! function in `f64`. An error is in units of the last place of the correctly rounded result's binade.
#![allow(clippy::unwrap_used, reason = "it runs on expressions that are written here")]

use std::{env, process::ExitCode, time::Instant};

use lockstep_ir::{
    Ty,
    expr::{Types, load},
    func,
    number::{self, canonical},
    scalar::{Instr, Op},
};

/// Inputs of a block.
const BLOCK: usize = 256;

type Lanes = [u32; BLOCK];

fn reference(name: &str) -> fn(f64) -> f64 {
    match name {
        "exp" => f64::exp,
        "log" => f64::ln,
        "tanh" => f64::tanh,
        "sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        "erf" => libm::erf,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "rsqrt" => |x| 1.0 / x.sqrt(),
        _ => panic!("{name} has no reference in f64"),
    }
}

#[inline(always)]
fn each(out: &mut Lanes, f: impl Fn(usize) -> u32) {
    for (i, slot) in out.iter_mut().enumerate() {
        *slot = f(i);
    }
}

#[inline(always)]
fn floats(out: &mut Lanes, args: [&Lanes; 3], f: impl Fn(f32, f32, f32) -> f32) {
    let [a, b, c] = args;
    each(out, |i| f(f32::from_bits(a[i]), f32::from_bits(b[i]), f32::from_bits(c[i])).to_bits());
}

/// One instruction on a whole block. NaNs are made canonical where their bits can be seen.
fn apply(op: Op, args: [&Lanes; 3], out: &mut Lanes) {
    let [a, b, c] = args;
    let fl = f32::from_bits;
    match op {
        Op::FAdd => floats(out, args, |a, b, _| a + b),
        Op::FSub => floats(out, args, |a, b, _| a - b),
        Op::FMul => floats(out, args, |a, b, _| a * b),
        Op::FDiv => floats(out, args, |a, b, _| a / b),
        Op::FSqrt => floats(out, args, |a, _, _| a.sqrt()),
        Op::Fma => floats(out, args, |a, b, c| a.mul_add(b, c)),
        Op::FFloor => floats(out, args, |a, _, _| a.floor()),
        Op::FRint => floats(out, args, |a, _, _| a.round_ties_even()),
        Op::FNeg => each(out, |i| a[i] ^ 0x8000_0000),
        Op::FAbs => each(out, |i| a[i] & 0x7fff_ffff),
        Op::FEq => each(out, |i| u32::from(fl(a[i]) == fl(b[i]))),
        Op::FNe => each(out, |i| u32::from(fl(a[i]) != fl(b[i]))),
        Op::FLt => each(out, |i| u32::from(fl(a[i]) < fl(b[i]))),
        Op::FLe => each(out, |i| u32::from(fl(a[i]) <= fl(b[i]))),
        Op::BitsToF | Op::FToBits => each(out, |i| canonical(a[i])),
        Op::AsI | Op::AsU => out.copy_from_slice(a),
        Op::Select => each(out, |i| if a[i] != 0 { b[i] } else { c[i] }),
        Op::Add => each(out, |i| a[i].wrapping_add(b[i])),
        Op::Sub => each(out, |i| a[i].wrapping_sub(b[i])),
        Op::Mul => each(out, |i| a[i].wrapping_mul(b[i])),
        Op::MulHiU => each(out, |i| ((u64::from(a[i]) * u64::from(b[i])) >> 32) as u32),
        Op::And => each(out, |i| a[i] & b[i]),
        Op::Or => each(out, |i| a[i] | b[i]),
        Op::Xor => each(out, |i| a[i] ^ b[i]),
        Op::Shl => each(out, |i| if b[i] < 32 { a[i] << (b[i] & 31) } else { 0 }),
        Op::ShrU => each(out, |i| if b[i] < 32 { a[i] >> (b[i] & 31) } else { 0 }),
        _ => each(out, |i| number::apply(op, a[i], b[i], c[i])),
    }
}

/// The code on a block of inputs; the results are the last values.
fn run(code: &[Instr], input: &Lanes, values: &mut [Lanes]) {
    for (at, &instr) in code.iter().enumerate() {
        let (before, rest) = values.split_at_mut(at);
        match instr {
            Instr::Const(_, bits) => rest[0].fill(bits),
            Instr::Op { op: Op::Load, .. } => rest[0].copy_from_slice(input),
            Instr::Op { op, a, b, c } => {
                let args = [a, b, c].map(|v| &before[usize::from(v)]);
                apply(op, args, &mut rest[0]);
            }
        }
    }
    values[code.len() - 1].iter_mut().for_each(|v| *v = canonical(*v));
}

/// The same for one input, by the definition.
fn defined(code: &[Instr], x: u32) -> u32 {
    let mut values = Vec::with_capacity(code.len());
    for &instr in code {
        values.push(match instr {
            Instr::Const(_, bits) => bits,
            Instr::Op { op: Op::Load, .. } => canonical(x),
            Instr::Op { op, a, b, c } => {
                let [a, b, c] = [a, b, c].map(|v| values.get(usize::from(v)).copied().unwrap_or(0));
                number::apply(op, a, b, c)
            }
        });
    }
    *values.last().unwrap()
}

/// Distance in units of the last place of the correctly rounded result's binade.
fn ulps(got: u32, exact: f64) -> f64 {
    let rounded = exact as f32;
    let got = f32::from_bits(got);
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() == exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if !rounded.is_finite() || got.is_infinite() {
        return if got == rounded { 0.0 } else { f64::INFINITY };
    }
    // 2^-(exponent of the last place), as the bits of an f64.
    let exponent = i64::from((rounded.to_bits() >> 23 & 0xff).max(1)) - 150;
    (f64::from(got) - exact).abs() * f64::from_bits(((1023 - exponent) as u64) << 52)
}

/// What a run over the inputs found. A correctly rounded result is no error.
#[derive(Default)]
struct Worst {
    error: f64,
    input: u32,
    /// How many results are not the correctly rounded ones.
    inexact: u64,
    inputs: u64,
}

fn measure(code: &[Instr], exact: fn(f64) -> f64, step: u64) -> Worst {
    let mut values = vec![[0; BLOCK]; code.len()];
    let mut worst = Worst::default();
    let mut input = [0; BLOCK];
    let mut next = 0u64;
    while next <= u64::from(u32::MAX) {
        let first = next;
        // Past the end the last input is repeated.
        each(&mut input, |i| (first + i as u64 * step).min(u64::from(u32::MAX)) as u32);
        next += BLOCK as u64 * step;
        let loaded: Lanes = std::array::from_fn(|i| canonical(input[i]));
        run(code, &loaded, &mut values);
        let results = &values[code.len() - 1];
        for (&x, &got) in loaded.iter().zip(results) {
            let exact = exact(f64::from(f32::from_bits(x)));
            if canonical((exact as f32).to_bits()) == got {
                continue;
            }
            worst.inexact += 1;
            let error = ulps(got, exact);
            if error > worst.error {
                (worst.error, worst.input) = (error, x);
            }
        }
        worst.inputs += BLOCK as u64;
        let probe = (first / step / BLOCK as u64 % BLOCK as u64) as usize;
        assert_eq!(
            results[probe],
            defined(code, input[probe]),
            "the loops differ from the definition at {:#x}",
            input[probe]
        );
    }
    worst
}

fn main() -> ExitCode {
    let mut names = Vec::new();
    let mut step = 1;
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--step" {
            step = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(0);
        } else {
            names.push(arg);
        }
    }
    let known = |name: &String| func::UNARY.iter().any(|(n, _)| n == name);
    if step == 0 || !names.iter().all(known) {
        let all: Vec<&str> = func::UNARY.iter().map(|(n, _)| *n).collect();
        eprintln!("usage: exhaustive [{}]… [--step N]", all.join("|"));
        return ExitCode::FAILURE;
    }
    println!("| function | instructions | worst error, ulp | input | not correctly rounded | inputs |");
    println!("|---|---|---|---|---|---|");
    for (name, function) in func::UNARY.iter().filter(|(n, _)| names.is_empty() || names.iter().any(|m| m == n)) {
        let (code, _) = function(&load(0)).compile(&Types { loads: &[Ty::F32], acc: None }).unwrap();
        let start = Instant::now();
        let worst = measure(&code, reference(name), step);
        let x = f32::from_bits(worst.input);
        let share = 100.0 * worst.inexact as f64 / worst.inputs as f64;
        println!(
            "| `{name}` | {} | {:.4} | `{:#010x}` ({x:e}) | {share:.3} % | {} |",
            code.len(),
            worst.error,
            worst.input,
            worst.inputs
        );
        eprintln!("{name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    ExitCode::SUCCESS
}
