//! Scalar functions against the host's f64 library, and Philox against the published vectors.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use lockstep_ir::{
    DType, Node, Source, Tensor, TensorDecl, Ty, eval,
    expr::{Expr, Types, load, u},
    func,
    scalar::Instr,
};

fn unary(make: impl Fn(&Expr) -> Expr) -> impl Fn(u32) -> u32 {
    let (code, _) = make(&load(0)).compile(&Types { loads: &[Ty::F32], acc: None }).unwrap();
    move |x| run(&code, DType::F32, x)
}

/// Runs straight-line code whose only input is one f32.
fn run(code: &[Instr], out: DType, x: u32) -> u32 {
    let decl = TensorDecl { dtype: DType::F32, shape: vec![] };
    let operand = lockstep_ir::Operand {
        source: Source::State(0),
        decl,
        view: vec![],
        access: vec![],
        gathers: vec![],
        fill: 0,
        skip: false,
    };
    let out = TensorDecl { dtype: out, shape: vec![] };
    let node = Node { out, domain: vec![], operands: vec![operand], fold: None, finish: code.to_vec() };
    let x = Tensor::from_f32(&[], &[f32::from_bits(x)]).unwrap();
    let mut operands: &[&Tensor] = &[&x];
    eval::Element::new(&node, &mut operands, 0).value()
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

#[test]
fn exp_is_within_one_ulp_on_a_stride() {
    let (e, x) = worst(unary(func::exp), f64::exp, 40_009);
    assert!(e <= 1.0, "{e} ulp at {x:e}");
    println!("exp: {e} ulp at {x:e}");
}

#[test]
fn log_is_within_one_ulp_on_a_stride() {
    let (e, x) = worst(unary(func::log), f64::ln, 40_009);
    assert!(e <= 1.0, "{e} ulp at {x:e}");
    println!("log: {e} ulp at {x:e}");
}

#[test]
fn functions_at_the_edges() {
    let (exp, log) = (unary(func::exp), unary(func::log));
    for (x, y) in [(0.0f32, 1.0f32), (-0.0, 1.0), (f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, 0.0)] {
        assert_eq!(f32::from_bits(exp(x.to_bits())), y, "exp({x})");
    }
    assert_eq!(exp(f32::NAN.to_bits()), 0x7fc0_0000);
    for (x, y) in
        [(1.0f32, 0.0f32), (0.0, f32::NEG_INFINITY), (-0.0, f32::NEG_INFINITY), (f32::INFINITY, f32::INFINITY)]
    {
        assert_eq!(f32::from_bits(log(x.to_bits())), y, "log({x})");
    }
    for x in [-1.0f32, f32::NEG_INFINITY, f32::NAN, -1e-45] {
        assert_eq!(log(x.to_bits()), 0x7fc0_0000, "log({x})");
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
            let (code, _) = word.compile(&Types { loads: &[], acc: None }).unwrap();
            assert_eq!(run(&code, DType::U32, 0), want);
        }
    }
}
