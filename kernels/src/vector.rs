//! The vector evaluator: each operation runs over all lanes of a block before the next one.
//!
//! The same loops are compiled once per instruction set; the compiler turns them into vector instructions. NaNs keep whatever payload
//! the hardware gives them until they are stored or their bits are taken, which is where a payload could be seen.

use lockstep_ir::{
    number::{self, canonical},
    scalar::Op,
};

use crate::{
    Isa,
    code::{Reg, Step},
};

/// Runs `steps` over the first `lanes` lanes, rounded up to whole vectors.
pub(crate) fn run(isa: Isa, steps: &[Step], regs: &mut [Reg], lanes: usize) {
    let lanes = lanes.next_multiple_of(16).min(crate::code::WIDTH);
    match isa {
        Isa::Portable => execute::<false>(steps, regs, lanes),
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "calls what needs instructions that were found to be there")]
        // SAFETY: a plan only holds an `Isa` that `is_available`.
        Isa::Avx2 => unsafe { x86::execute_avx2(steps, regs, lanes) },
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "calls what needs instructions that were found to be there")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { x86::execute_avx512(steps, regs, lanes) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => execute::<false>(steps, regs, lanes),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Reg, Step, execute};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn execute_avx2(steps: &[Step], regs: &mut [Reg], lanes: usize) {
        execute::<true>(steps, regs, lanes);
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn execute_avx512(steps: &[Step], regs: &mut [Reg], lanes: usize) {
        execute::<true>(steps, regs, lanes);
    }
}

/// Destination and arguments of a step.
struct Args<'a> {
    dst: &'a mut [u32],
    a: &'a [u32],
    b: &'a [u32],
    c: &'a [u32],
}

#[inline(always)]
#[allow(unsafe_code, reason = "one mutable and up to three shared registers of one file")]
fn args<'a>(s: &Step, regs: &'a mut [Reg], lanes: usize) -> Args<'a> {
    let (dst, a, b, c) = (s.dst as usize, s.a as usize, s.b as usize, s.c as usize);
    assert!(dst < regs.len() && a < regs.len() && b < regs.len() && c < regs.len());
    assert!(dst != a && dst != b && dst != c && lanes <= crate::code::WIDTH);
    let base = regs.as_mut_ptr();
    // SAFETY: the indices are within the file, and `dst` is none of the others, both checked above.
    unsafe {
        Args {
            dst: &mut (&mut (*base.add(dst)).0)[..lanes],
            a: &(&(*base.add(a)).0)[..lanes],
            b: &(&(*base.add(b)).0)[..lanes],
            c: &(&(*base.add(c)).0)[..lanes],
        }
    }
}

#[inline(always)]
fn map1(x: Args<'_>, f: impl Fn(u32) -> u32) {
    for (d, &a) in x.dst.iter_mut().zip(x.a) {
        *d = f(a);
    }
}

#[inline(always)]
fn map2(x: Args<'_>, f: impl Fn(u32, u32) -> u32) {
    for ((d, &a), &b) in x.dst.iter_mut().zip(x.a).zip(x.b) {
        *d = f(a, b);
    }
}

#[inline(always)]
fn map3(x: Args<'_>, f: impl Fn(u32, u32, u32) -> u32) {
    for (((d, &a), &b), &c) in x.dst.iter_mut().zip(x.a).zip(x.b).zip(x.c) {
        *d = f(a, b, c);
    }
}

#[inline(always)]
fn float1(x: Args<'_>, f: impl Fn(f32) -> f32) {
    map1(x, |a| f(f32::from_bits(a)).to_bits());
}

#[inline(always)]
fn float2(x: Args<'_>, f: impl Fn(f32, f32) -> f32) {
    map2(x, |a, b| f(f32::from_bits(a), f32::from_bits(b)).to_bits());
}

#[inline(always)]
fn compare(x: Args<'_>, f: impl Fn(f32, f32) -> bool) {
    map2(x, |a, b| u32::from(f(f32::from_bits(a), f32::from_bits(b))));
}

#[inline(always)]
fn signed(x: Args<'_>, f: impl Fn(i32, i32) -> bool) {
    map2(x, |a, b| u32::from(f(a as i32, b as i32)));
}

#[inline(always)]
fn fma<const HARDWARE: bool>(x: Args<'_>) {
    if HARDWARE {
        map3(x, |a, b, c| f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c)).to_bits());
    } else {
        map3(x, number::fma);
    }
}

#[inline(always)]
fn execute<const HARDWARE: bool>(steps: &[Step], regs: &mut [Reg], lanes: usize) {
    for s in steps {
        let x = args(s, regs, lanes);
        match s.op {
            Op::Acc => map1(x, |a| a),
            Op::Fma => fma::<HARDWARE>(x),
            op if op as u8 <= Op::FLe as u8 => float_step(op, x),
            op if op as u8 <= Op::LeU as u8 => integer_step(op, x),
            op => other_step(op, x),
        }
    }
}

#[inline(always)]
fn float_step(op: Op, x: Args<'_>) {
    match op {
        Op::FAdd => float2(x, |a, b| a + b),
        Op::FSub => float2(x, |a, b| a - b),
        Op::FMul => float2(x, |a, b| a * b),
        Op::FDiv => float2(x, |a, b| a / b),
        Op::FSqrt => float1(x, f32::sqrt),
        Op::FNeg => map1(x, |a| a ^ 0x8000_0000),
        Op::FAbs => map1(x, |a| a & 0x7fff_ffff),
        Op::FFloor => float1(x, f32::floor),
        Op::FRint => float1(x, f32::round_ties_even),
        Op::FEq => compare(x, |a, b| a == b),
        Op::FNe => compare(x, |a, b| a != b),
        Op::FLt => compare(x, |a, b| a < b),
        _ => compare(x, |a, b| a <= b),
    }
}

#[inline(always)]
fn integer_step(op: Op, x: Args<'_>) {
    match op {
        Op::Add => map2(x, u32::wrapping_add),
        Op::Sub => map2(x, u32::wrapping_sub),
        Op::Mul => map2(x, u32::wrapping_mul),
        Op::MulHiS => map2(x, |a, b| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32),
        Op::MulHiU => map2(x, |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        Op::And => map2(x, |a, b| a & b),
        Op::Or => map2(x, |a, b| a | b),
        Op::Xor => map2(x, |a, b| a ^ b),
        Op::Shl => map2(x, |a, b| if b < 32 { a << (b & 31) } else { 0 }),
        Op::ShrU => map2(x, |a, b| if b < 32 { a >> (b & 31) } else { 0 }),
        Op::ShrS => map2(x, |a, b| ((a as i32) >> b.min(31)) as u32),
        Op::Eq => map2(x, |a, b| u32::from(a == b)),
        Op::Ne => map2(x, |a, b| u32::from(a != b)),
        Op::LtS => signed(x, |a, b| a < b),
        Op::LeS => signed(x, |a, b| a <= b),
        Op::LtU => map2(x, |a, b| u32::from(a < b)),
        _ => map2(x, |a, b| u32::from(a <= b)),
    }
}

#[inline(always)]
fn other_step(op: Op, x: Args<'_>) {
    match op {
        Op::Select => map3(x, |c, a, b| if c != 0 { a } else { b }),
        Op::FToI => map1(x, |a| f32::from_bits(a) as i32 as u32),
        Op::FToU => map1(x, |a| f32::from_bits(a) as u32),
        Op::IToF => map1(x, |a| (a as i32 as f32).to_bits()),
        Op::UToF => map1(x, |a| (a as f32).to_bits()),
        Op::FToBits => map1(x, canonical),
        // Bits keep their value between integer types, and a NaN becomes canonical when it is seen.
        _ => map1(x, |a| a),
    }
}

/// `next[i] = current[i]` where `active[i]` is 0: an accumulator that this fold position leaves alone.
pub(crate) fn keep_inactive(next: &mut [u32], current: &[u32], active: &[u32]) {
    for ((n, &c), &a) in next.iter_mut().zip(current).zip(active) {
        *n = if a == 0 { c } else { *n };
    }
}
