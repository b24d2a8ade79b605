//! A text is refused, or is a program; a valid one evaluates, and no unit reads more chunks than the validator foresaw.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_ir::{
    Node, Program, Tensor,
    eval::{self, Recorder, Unit},
    program::{BLOCK, level_count},
    sample::{Rng, tensors},
    types::element_count,
    validate,
};

/// Elements of all tensors, and bodies of all folds: what evaluating a program takes.
fn work(program: &Program) -> u64 {
    let tensors = program.state.iter().map(|s| &s.decl).chain(&program.data).map(|d| d.elements().unwrap_or(0));
    let nodes = program.nodes.iter().map(|n| {
        let code = n.finish.len() + n.fold.as_ref().map_or(0, |f| f.body.len() + f.combine.len());
        let each = (n.fold_length() + 1).saturating_mul(1 + code as u64);
        element_count(&n.out.shape).unwrap_or(0).saturating_mul(each)
    });
    tensors.chain(nodes).fold(0, u64::saturating_add)
}

fn chunks(node: &Node, operands: &[&Tensor], index: u64, unit: &Unit) -> u64 {
    let mut recorder = Recorder::new(node, operands);
    eval::unit(node, &mut recorder, index, unit);
    recorder.chunks.len() as u64
}

fuzz_target!(|text: &str| {
    let Ok(program) = text.parse::<Program>() else { return };
    assert_eq!(program.to_string().parse::<Program>().as_ref(), Ok(&program));
    let Ok(costs) = validate(&program) else { return };
    assert_eq!(Program::decode(&program.encode()).as_ref(), Ok(&program));
    if work(&program) > 100_000 {
        return;
    }
    let (state, data) = tensors(&mut Rng::new(text.len() as u64), &program);
    let step = eval::step(&program, &state, &data).expect("a valid program evaluates");
    for (node, cost) in program.nodes.iter().zip(costs) {
        let operands: Vec<&Tensor> =
            node.operands.iter().map(|op| eval::resolve(op.source, &state, &data, &step.trace)).collect();
        let blocks = level_count(node.fold_length(), 1);
        for index in 0..element_count(&node.out.shape).unwrap_or(0).min(64) {
            if node.fold_length() <= BLOCK {
                assert!(chunks(node, &operands, index, &Unit::Element) <= cost.chunks);
            } else {
                for block in 0..blocks {
                    assert!(chunks(node, &operands, index, &Unit::Leaf(block)) <= cost.chunks);
                }
            }
        }
    }
});
