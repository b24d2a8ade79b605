//! Named edge cases, on every instruction set: each with its expected bits, and compared with the reference evaluator.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;

use lockstep_ir::{
    DType, Order, Program, Source, Tensor, TensorDecl,
    build::{NodeBuilder, ProgramBuilder, at, gather, k, o},
    eval,
    expr::{Expr, acc, f, load, rhs, select, u},
};
use lockstep_kernels::{Error, Options, Plan, testing};

/// Runs on every path, compares with the reference, and gives the output of the last node as bits.
fn run(p: &Program, state: &[Tensor], data: &[Tensor]) -> Vec<u32> {
    let expected = eval::step(p, state, data).unwrap();
    for isa in testing::paths() {
        let plan = Plan::with(p, Options { isa: Some(isa), ..Options::default() }).unwrap();
        let mut i = 0;
        let after = plan.trace(state, data, |node, out| {
            assert_eq!(*out, expected.trace[node], "{isa:?}, node {node}");
            i += 1;
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(after.unwrap(), ControlFlow::Continue(expected.state.clone()));
        assert_eq!(i, p.nodes.len());
    }
    let last = expected.trace.last().unwrap();
    (0..last.len()).map(|i| last.stored(i)).collect()
}

fn f32_bits(bits: &[u32]) -> Tensor {
    let bytes = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
    Tensor::from_bytes(TensorDecl { dtype: DType::F32, shape: vec![bits.len() as u32] }, bytes).unwrap()
}

/// A program with one `f32` vector as data, and one map of it.
fn map(n: u32, out: DType, finish: Expr) -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::U32, &[1]);
    let x = p.data(DType::F32, &[n]);
    p.node(NodeBuilder::new(out, &[n]).operand(x.at([o(0)])).finish(finish)).unwrap();
    p.keep(&s);
    p.build().unwrap()
}

fn zero_state() -> Vec<Tensor> {
    vec![Tensor::from_u32(&[1], &[0]).unwrap()]
}

#[test]
fn a_nan_payload_is_never_seen() {
    let input = f32_bits(&[0x7fc1_2345, 0xffc0_0000, 0x7f80_0001, 0xff80_0000]);
    let data = std::slice::from_ref(&input);
    for (finish, expected) in [
        (load(0).to_bits(), [0x7fc0_0000, 0x7fc0_0000, 0x7fc0_0000, 0xff80_0000]),
        (load(0).neg().to_bits(), [0x7fc0_0000, 0x7fc0_0000, 0x7fc0_0000, 0x7f80_0000]),
        (select(&u(1), &load(0).abs(), &f(0.0)).to_bits(), [0x7fc0_0000, 0x7fc0_0000, 0x7fc0_0000, 0x7f80_0000]),
        ((load(0) - load(0)).to_bits(), [0x7fc0_0000; 4]),
    ] {
        assert_eq!(run(&map(4, DType::U32, finish), &zero_state(), data), expected);
    }
    assert_eq!(run(&map(4, DType::F32, load(0)), &zero_state(), data)[0], 0x7fc0_0000);
    assert_eq!(run(&map(4, DType::Bf16, load(0).neg()), &zero_state(), data), [0x7fc0, 0x7fc0, 0x7fc0, 0x7f80]);
}

#[test]
fn an_input_with_another_nan_is_refused_when_asked() {
    let p = map(2, DType::F32, load(0));
    let plan = Plan::new(&p).unwrap();
    let good = [f32_bits(&[0x7fc0_0000, 0])];
    plan.check_inputs(&zero_state(), &good).unwrap();
    let bad = [f32_bits(&[0, 0x7fc0_0001])];
    let error = plan.check_inputs(&zero_state(), &bad).unwrap_err();
    assert!(matches!(error, Error::Input { at: Source::Data(0), .. }), "{error}");
}

#[test]
fn subnormals_are_kept() {
    let input = f32_bits(&[1, 0x007f_ffff, 0x8000_0001, 0x0080_0000]);
    let data = std::slice::from_ref(&input);
    assert_eq!(
        run(&map(4, DType::F32, load(0) * f(0.5)), &zero_state(), data),
        [0, 0x0040_0000, 0x8000_0000, 0x0040_0000]
    );
    assert_eq!(
        run(&map(4, DType::F32, load(0) + load(0)), &zero_state(), data),
        [2, 0x00ff_fffe, 0x8000_0002, 0x0100_0000]
    );
    let fma = load(0).fma(&f(1.0), &load(0));
    assert_eq!(run(&map(4, DType::F32, fma), &zero_state(), data), [2, 0x00ff_fffe, 0x8000_0002, 0x0100_0000]);
}

/// `acc + w·x` over three taps, the outer two out of bounds.
fn masked_tap(skip: bool) -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::U32, &[1]);
    let x = p.data(DType::F32, &[1]);
    let access = x.at([o(0) + k(0) + at(-1)]);
    let access = if skip { access.skip() } else { access };
    let node = NodeBuilder::new(DType::F32, &[1])
        .operand(access)
        .fold(&[3], Order::Chain, f(-0.0), load(0).fma(&f(1.0), &acc()))
        .finish(acc());
    p.node(node).unwrap();
    p.keep(&s);
    p.build().unwrap()
}

#[test]
fn minus_zero_at_a_masked_tap() {
    let data = [f32_bits(&[0x8000_0000])];
    // A filled tap is evaluated: −0 + 0·1 is +0. A skipped one is not.
    assert_eq!(run(&masked_tap(false), &zero_state(), &data), [0]);
    assert_eq!(run(&masked_tap(true), &zero_state(), &data), [0x8000_0000]);
}

#[test]
fn a_lanes_block_of_one_element_combines_all_lanes() {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::U32, &[1]);
    let x = p.data(DType::F32, &[2, 1]);
    let node = NodeBuilder::new(DType::F32, &[2])
        .operand(x.at([o(0), k(0)]))
        .fold(&[1], Order::Lanes, f(1.0), load(0) + acc())
        .combine(acc() + rhs())
        .finish(acc());
    p.node(node).unwrap();
    p.keep(&s);
    let data = [Tensor::from_f32(&[2, 1], &[5.0, 7.0]).unwrap()];
    let out = run(&p.build().unwrap(), &zero_state(), &data);
    assert_eq!(out, [21.0f32.to_bits(), 23.0f32.to_bits()]);
}

#[test]
fn a_gather_outside_reads_fill() {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::U32, &[1]);
    let index = p.data(DType::I32, &[5]);
    let table = p.data(DType::F32, &[3, 2]);
    let node = NodeBuilder::new(DType::F32, &[5, 2])
        .operand(index.at([o(0)]))
        .operand(table.at([gather(0), o(1)]).fill(9.0f32.to_bits()))
        .finish(load(1));
    p.node(node).unwrap();
    p.keep(&s);
    let index = Tensor::from_i32(&[5], &[2, -1, 0, 3, i32::MIN]).unwrap();
    let table = Tensor::from_f32(&[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let out = run(&p.build().unwrap(), &zero_state(), &[index, table]);
    let expected = [4.0f32, 5.0, 9.0, 9.0, 0.0, 1.0, 9.0, 9.0, 9.0, 9.0];
    assert_eq!(out, expected.map(f32::to_bits));
}

/// `s ← s + 1`, with a copy of the old state beside it.
fn counter() -> Program {
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::U32, &[1]);
    let old = p.state(DType::U32, &[1]);
    let next = p.node(NodeBuilder::new(DType::U32, &[1]).operand(s.at([o(0)])).finish(load(0) + u(1))).unwrap();
    let again = p.node(NodeBuilder::new(DType::U32, &[1]).operand(next.at([o(0)])).finish(load(0) + u(1))).unwrap();
    p.set(&s, &again);
    p.set(&old, &s);
    p.build().unwrap()
}

#[test]
fn what_the_visitor_writes_is_seen_later_and_state_is_read_as_it_was() {
    let plan = Plan::new(&counter()).unwrap();
    let state = [Tensor::from_u32(&[1], &[5]).unwrap(), Tensor::from_u32(&[1], &[0]).unwrap()];
    let after = plan.trace(&state, &[], |node, out| {
        if node == 0 {
            out.set_stored(0, 100);
        }
        ControlFlow::<()>::Continue(())
    });
    let ControlFlow::Continue(after) = after.unwrap() else { panic!("nothing broke off") };
    assert_eq!([after[0].stored(0), after[1].stored(0)], [101, 5]);
    let broken = plan.trace(&state, &[], |node, out| ControlFlow::<_>::Break((node, out.stored(0))));
    assert_eq!(broken.unwrap(), ControlFlow::Break((0, 6)));
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let plan = Plan::new(&counter()).unwrap();
    let one = || Tensor::from_u32(&[1], &[5]).unwrap();
    let error = plan.step(&[one()], &[]).unwrap_err();
    assert_eq!(error, Error::Count { what: "state", expected: 2, got: 1 });
    let error = plan.step(&[one(), one()], &[one()]).unwrap_err();
    assert_eq!(error, Error::Count { what: "data", expected: 0, got: 1 });
    let error = plan.step(&[one(), Tensor::from_i32(&[1], &[5]).unwrap()], &[]).unwrap_err();
    let expected = Error::Declaration { at: Source::State(1), expected: "u32[1]".into(), got: "i32[1]".into() };
    assert_eq!(error, expected);
    // A visitor that changes the shape is told so, and nothing later runs on it.
    let error = plan.trace(&[one(), one()], &[], |_, out| {
        *out = Tensor::from_u32(&[2], &[0, 0]).unwrap();
        ControlFlow::<()>::Continue(())
    });
    assert!(matches!(error.unwrap_err(), Error::Declaration { at: Source::Node(0), .. }));
}

#[test]
fn an_invalid_program_is_refused() {
    let mut p = counter();
    p.nodes[0].operands[0].source = Source::Node(7);
    assert!(matches!(Plan::new(&p), Err(Error::Invalid(_))));
}

#[test]
fn memory_is_planned() {
    // Two outputs of 4 bytes, of which the first dies when the second is made, and a copied state tensor.
    let plan = Plan::new(&counter()).unwrap();
    assert_eq!(plan.peak_bytes(), 8);
    // Known before anything is allocated, so that a job that is too large is refused in time.
    let mut p = ProgramBuilder::new();
    let s = p.state(DType::F32, &[1]);
    p.node(NodeBuilder::new(DType::F32, &[1 << 20, 1 << 20]).operand(s.at([at(0)])).finish(load(0))).unwrap();
    p.keep(&s);
    let plan = Plan::new(&p.build().unwrap()).unwrap();
    assert_eq!(plan.peak_bytes(), 1 << 42);
}
