//! Scalar functions against the host's f64 library, integers against the host, and Philox against the published vectors.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::{
    f32::consts::{FRAC_PI_2, PI},
    num::{NonZeroI32, NonZeroU32},
};

use lockstep_ir::{
    Ty,
    expr::{Expr, Types, load, u},
    func, number,
    sample::Rng,
    scalar::{Instr, Op},
};

/// The code of an expression of `load(0)`, `load(1)`, … of these types.
fn compile(e: &Expr, loads: &[Ty]) -> Vec<Instr> {
    e.compile(&Types { loads, acc: None }).unwrap().0
}

fn run(code: &[Instr], inputs: &[u32]) -> u32 {
    let mut values: Vec<u32> = Vec::with_capacity(code.len());
    for &instr in code {
        values.push(match instr {
            Instr::Const(_, bits) => bits,
            Instr::Op { op: Op::Load, a, .. } => inputs[usize::from(a)],
            Instr::Op { op, a, b, c } => {
                let [a, b, c] = [a, b, c].map(|v| values.get(usize::from(v)).copied().unwrap_or(0));
                number::apply(op, a, b, c)
            }
        });
    }
    *values.last().unwrap()
}

fn unary(make: impl Fn(&Expr) -> Expr) -> impl Fn(u32) -> u32 {
    let code = compile(&make(&load(0)), &[Ty::F32]);
    move |x| run(&code, &[number::canonical(x)])
}

/// Distance in units of the last place of the correctly rounded result's binade.
fn ulps(got: u32, exact: f64) -> f64 {
    let got = f64::from(f32::from_bits(got));
    let rounded = exact as f32;
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() == exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if !rounded.is_finite() || got.is_infinite() {
        return if got == f64::from(rounded) { 0.0 } else { f64::INFINITY };
    }
    let exponent = if rounded == 0.0 { -126 } else { (rounded.abs().log2().floor() as i32).max(-126) };
    (got - exact).abs() / 2f64.powi(exponent - 23)
}

fn worst(f: impl Fn(u32) -> u32, exact: impl Fn(f64) -> f64, step: usize) -> (f64, f32) {
    let inputs = (0..=u32::MAX).step_by(step);
    inputs.fold((0.0, 0.0), |worst, x| {
        let e = ulps(f(x), exact(f64::from(f32::from_bits(x))));
        if e > worst.0 { (e, f32::from_bits(x)) } else { worst }
    })
}

/// Worst error over every 40,009th input; docs/numbers.md has the worst of all.
#[track_caller]
fn within(name: &str, limit: f64, exact: impl Fn(f64) -> f64) {
    let (_, function) = func::UNARY.iter().find(|(n, _)| *n == name).unwrap();
    let (e, x) = worst(unary(function), exact, 40_009);
    println!("{name}: {e} ulp at {x:e}");
    assert!(e <= limit, "{name}: {e} ulp at {x:e}");
}

#[test]
fn exp_and_log_are_within_one_ulp() {
    within("exp", 1.0, f64::exp);
    within("log", 1.0, f64::ln);
}

#[test]
fn the_others_are_within_two_ulp() {
    within("tanh", 2.0, f64::tanh);
    within("sigmoid", 2.0, |x| 1.0 / (1.0 + (-x).exp()));
    within("erf", 2.0, libm::erf);
    within("sin", 2.0, f64::sin);
    within("cos", 2.0, f64::cos);
    within("rsqrt", 2.0, |x| 1.0 / x.sqrt());
}

#[test]
fn large_arguments_of_sine_and_cosine_are_reduced_exactly() {
    // Floats next to multiples of π/2, where most is lost: the worst of all binary32 numbers is 16367173·2^72 (Muller, Elementary
    // Functions), the largest float, and one just below a multiple, where cos once lost 3.2 ulp.
    let below = f32::from_bits(0x7ebd_cda0);
    for x in [16_367_173.0 * 2f32.powi(72), f32::MAX, below, 1e30, PI, FRAC_PI_2, 25_735.926, 1.0e7] {
        for (name, exact) in [("sin", f64::sin as fn(f64) -> f64), ("cos", f64::cos)] {
            let (_, function) = func::UNARY.iter().find(|(n, _)| *n == name).unwrap();
            for bits in [x.to_bits(), (-x).to_bits(), x.to_bits() - 1] {
                let e = ulps(unary(function)(bits), exact(f64::from(f32::from_bits(bits))));
                assert!(e <= 2.0, "{name}({:e}): {e} ulp", f32::from_bits(bits));
            }
        }
    }
}

#[test]
fn functions_at_the_edges() {
    const INF: f32 = f32::INFINITY;
    let exact: [(&str, &[(f32, f32)]); 8] = [
        ("exp", &[(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (89.0, INF), (-104.0, 0.0), (1e-45, 1.0)]),
        ("log", &[(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (1e-45, -103.27893)]),
        ("tanh", &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (20.0, 1.0), (1e-45, 1e-45), (-1e-38, -1e-38)]),
        ("sigmoid", &[(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (30.0, 1.0), (-104.0, 0.0)]),
        ("erf", &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (4.5, 1.0), (-4.0, -1.0), (1e-45, 1e-45)]),
        ("sin", &[(0.0, 0.0), (-0.0, -0.0), (1e-45, 1e-45), (-1e-38, -1e-38)]),
        ("cos", &[(0.0, 1.0), (-0.0, 1.0), (1e-45, 1.0)]),
        ("rsqrt", &[(0.0, INF), (-0.0, -INF), (INF, 0.0), (4.0, 0.5), (1.0, 1.0)]),
    ];
    let nans: [(&str, &[f32]); 8] = [
        ("exp", &[]),
        ("log", &[-1.0, -INF, -1e-45]),
        ("tanh", &[]),
        ("sigmoid", &[]),
        ("erf", &[]),
        ("sin", &[INF, -INF]),
        ("cos", &[INF, -INF]),
        ("rsqrt", &[-1.0, -INF, -1e-45]),
    ];
    for (((name, function), (at, cases)), (same, nans)) in func::UNARY.iter().zip(exact).zip(nans) {
        assert!(*name == at && at == same);
        let function = unary(function);
        for &(x, y) in cases {
            assert_eq!(function(x.to_bits()), y.to_bits(), "{name}({x:e})");
        }
        for x in nans.iter().copied().chain([f32::NAN]) {
            assert_eq!(function(x.to_bits()), number::NAN, "{name}({x:e})");
        }
    }
}

#[test]
fn maxima_of_nans_and_zeros() {
    let of = |make: fn(&Expr, &Expr) -> Expr| {
        let code = compile(&make(&load(0), &load(1)), &[Ty::F32; 2]);
        move |a: f32, b: f32| run(&code, &[a.to_bits(), b.to_bits()])
    };
    let (max, max_nan, min) = (of(func::max), of(func::max_nan), of(func::min));
    let nan = f32::NAN;
    for (a, b, want) in
        [(1.0f32, 2.0f32, 2.0f32), (2.0, 1.0, 2.0), (-0.0, 0.0, 0.0), (0.0, -0.0, -0.0), (nan, 1.0, 1.0)]
    {
        assert_eq!(max(a, b), want.to_bits(), "max({a}, {b})");
    }
    assert_eq!(max(1.0, nan), number::NAN, "the second one, on NaN");
    for (a, b) in [(nan, 1.0), (1.0, nan), (nan, nan)] {
        assert_eq!(max_nan(a, b), number::NAN, "max_nan({a}, {b})");
    }
    assert_eq!(max_nan(3.0, -1.0), 3f32.to_bits());
    assert_eq!((min(3.0, -1.0), min(0.0, -0.0)), ((-1f32).to_bits(), (-0f32).to_bits()));
}

/// Divisors that are small, next to powers of two, and anything.
fn divisors(rng: &mut Rng) -> Vec<u32> {
    let powers = (0..32).flat_map(|p| [1u32 << p, (1 << p) + 1, (1u32 << p) - 1]);
    let any = (0..200).map(|_| rng.bits() as u32 >> rng.below(31));
    let mut all: Vec<u32> = (1..=300).chain(powers).chain(any.collect::<Vec<_>>()).chain([641, u32::MAX]).collect();
    all.retain(|&d| d > 0);
    all
}

/// Dividends around multiples of `d`, extremes and anything.
fn dividends(rng: &mut Rng, d: u32) -> Vec<u32> {
    let largest = u32::MAX / d * d;
    let mut all = vec![0, 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX, largest, largest.wrapping_sub(1)];
    for _ in 0..100 {
        let multiple = (rng.bits() as u32 / d).wrapping_mul(d);
        all.extend([multiple, multiple.wrapping_sub(1), multiple.wrapping_add(1), rng.bits() as u32]);
    }
    all
}

#[test]
fn division_by_constants_is_exact() {
    let mut rng = Rng::new(1);
    for d in divisors(&mut rng) {
        let unsigned = NonZeroU32::new(d).unwrap();
        let quotient = compile(&func::div_u32(&load(0), unsigned), &[Ty::U32]);
        let rest = compile(&func::rem_u32(&load(0), unsigned), &[Ty::U32]);
        let signed = NonZeroI32::new(d as i32).unwrap();
        let signed_quotient = compile(&func::div_i32(&load(0), signed), &[Ty::I32]);
        let signed_rest = compile(&func::rem_i32(&load(0), signed), &[Ty::I32]);
        assert!(quotient.len() <= 9 && signed_quotient.len() <= 20, "{} {}", quotient.len(), signed_quotient.len());
        for x in dividends(&mut rng, d) {
            assert_eq!((run(&quotient, &[x]), run(&rest, &[x])), (x / d, x % d), "{x} / {d}");
            let (sx, sd) = (x as i32, d as i32);
            let want = (sx.wrapping_div(sd) as u32, sx.wrapping_rem(sd) as u32);
            assert_eq!((run(&signed_quotient, &[x]), run(&signed_rest, &[x])), want, "{sx} / {sd}");
        }
    }
}

fn permuted(n: u32) -> impl Fn(u32, [u32; 2]) -> u32 {
    let code = compile(&func::permutation(&load(0), NonZeroU32::new(n).unwrap(), [load(1), load(2)]), &[Ty::U32; 3]);
    assert!(code.len() < 420, "{n}: {}", code.len());
    move |i, [a, b]| run(&code, &[i, a, b])
}

#[test]
fn a_permutation_takes_every_place_once() {
    let mut rng = Rng::new(2);
    for n in (1..=130).chain([255, 256, 257, 1_797, 65_535, 65_537, 100_003]) {
        let permuted = permuted(n);
        for _ in 0..if n < 2_000 { 5 } else { 1 } {
            let key = [rng.bits() as u32, rng.bits() as u32];
            let mut seen = vec![false; n as usize];
            for i in 0..n {
                let to = permuted(i, key);
                assert!(to < n && !std::mem::replace(&mut seen[to as usize], true), "{n}: {i} goes to {to}");
            }
        }
    }
    let permuted = permuted(u32::MAX);
    for _ in 0..10_000 {
        assert!(permuted(rng.bits() as u32 % u32::MAX, [7, 8]) < u32::MAX);
    }
}

#[test]
fn a_permutation_looks_drawn_at_random() {
    // Where two neighbours go, over many keys: every pair of places about equally often.
    for n in [7u32, 16, 23] {
        let permuted = permuted(n);
        let draws = 2_000 * n;
        let mut rng = Rng::new(u64::from(n));
        let mut pairs = vec![0u32; (n * n) as usize];
        for _ in 0..draws {
            let key = [rng.bits() as u32, rng.bits() as u32];
            let first = rng.below(u64::from(n) - 1) as u32;
            pairs[(permuted(first, key) * n + permuted(first + 1, key)) as usize] += 1;
        }
        let expected = f64::from(draws) / f64::from(n * (n - 1));
        for (at, &count) in pairs.iter().enumerate() {
            let (a, b) = (at as u32 / n, at as u32 % n);
            let want = if a == b { 0.0 } else { expected };
            // Six standard deviations.
            assert!((f64::from(count) - want).abs() <= 6.0 * want.sqrt(), "{n}: ({a}, {b}) {count} times, not {want}");
        }
    }
    // Keys that differ in one bit give unrelated permutations: about one place in common.
    let permuted = permuted(1_797);
    for bit in 0..64 {
        let other =
            [1u32 << (bit % 32) & if bit < 32 { u32::MAX } else { 0 }, if bit < 32 { 0 } else { 1 << (bit - 32) }];
        let same = (0..1_797).filter(|&i| permuted(i, [0, 0]) == permuted(i, other)).count();
        assert!(same < 12, "bit {bit}: {same} places in common");
    }
}

#[test]
fn philox_gives_the_published_vectors() {
    // Random123's known answers for philox4x32-10.
    let cases: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (counter, key, expected) in cases {
        let words = func::philox(counter.map(u), key.map(u));
        for (word, want) in words.into_iter().zip(expected) {
            assert_eq!(run(&compile(&word, &[]), &[]), want);
        }
    }
}
