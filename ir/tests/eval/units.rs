//! The pieces that a dispute judges.

use super::*;

#[test]
fn a_recorder_reports_the_chunks_that_were_read() {
    // 100 floats of row 2 begin at byte 800·… of the matrix: elements 600 to 899, chunks 2 and 3; the index lies in chunk 0.
    let (index, table) = (u32s(&[300], &[2; 300]), f32s(&[5, 300], &uneven(1_500)));
    let text = format!(
        "f32[] {{ fold [300] lanes from f32 0x0 operand 0 d1 f32[5,300] at (gather(1), k0) operand 1 d0 u32[300] at (7)
        {SUM} finish {{ v0 = acc }} }}"
    );
    let node = node(&text, &[&index, &table]);
    let operands = [&table, &index];
    let read = |unit: &Unit| {
        let mut recorder = Recorder::new(&node, operands.as_slice());
        eval::unit(&node, &mut recorder, 0, unit);
        recorder.chunks
    };
    assert_eq!(read(&Unit::Leaf(0)), BTreeSet::from([(0, 2), (0, 3), (1, 0)]), "600 to 855");
    assert_eq!(read(&Unit::Leaf(1)), BTreeSet::from([(0, 3), (1, 0)]), "856 to 899");
    assert_eq!(read(&Unit::Combine(vec![1, 2])), BTreeSet::new());
    assert_eq!(read(&Unit::Top(vec![1, 2])), BTreeSet::new(), "finish loads nothing");
}

#[test]
fn a_chunk_is_1024_bytes_of_any_type() {
    for (dtype, per_chunk) in [(DType::I8, 1024u64), (DType::Bf16, 512), (DType::F32, 256), (DType::I32, 256)] {
        let decl = TensorDecl { dtype, shape: vec![3_000] };
        let values = Tensor::zeros(decl).unwrap();
        let text = format!("{dtype}[3000] {{ operand 0 d0 {dtype}[3000] at (o0) finish {{ v0 = load 0 }} }}");
        let node = node(&text, &[&values]);
        for index in [0, per_chunk - 1, per_chunk, 2_999] {
            let operands = [&values];
            let mut recorder = Recorder::new(&node, operands.as_slice());
            eval::unit(&node, &mut recorder, index, &Unit::Element);
            assert_eq!(recorder.chunks, BTreeSet::from([(0, index / per_chunk)]), "{dtype}: {index}");
        }
    }
}

#[test]
fn units_make_up_the_element() {
    let mut rng = Rng::new(21);
    let mut levels = BTreeSet::new();
    for _ in 0..150 {
        let program = valid_program(&mut rng, 2, 140_000);
        let (state, data) = tensors(&mut rng, &program);
        let step = eval::step(&program, &state, &data).unwrap();
        for (n, whole) in program.nodes.iter().zip(&step.trace) {
            let operands: Vec<&Tensor> =
                n.operands.iter().map(|op| eval::resolve(op.source, &state, &data, &step.trace)).collect();
            let index = rng.below(whole.len());
            let unit = |u: &Unit| eval::unit(n, &mut operands.as_slice(), index, u);
            let k = n.fold_length();
            levels.insert(top_level(k));
            let got = if k <= BLOCK {
                unit(&Unit::Element)
            } else {
                let mut values: Vec<u32> = (0..level_count(k, 1)).map(|b| unit(&Unit::Leaf(b))).collect();
                for _ in 1..top_level(k) {
                    values = values.chunks(256).map(|block| unit(&Unit::Combine(block.to_vec()))).collect();
                }
                assert!(values.len() > 1 && values.len() <= 256);
                unit(&Unit::Top(values))
            };
            assert_eq!(got, whole.stored(index), "element {index} of\n{n}");
        }
    }
    assert!(levels.contains(&0) && levels.contains(&1), "short and long folds: {levels:?}");
}

#[test]
fn levels_count_what_is_left() {
    for (k, top, counts) in [
        (1u64, 0u32, [1u64, 1, 1]),
        (256, 0, [1, 1, 1]),
        (257, 1, [2, 1, 1]),
        (65_536, 1, [256, 1, 1]),
        (65_537, 2, [257, 2, 1]),
    ] {
        assert_eq!(top_level(k), top, "{k}");
        assert_eq!([1, 2, 3].map(|l| level_count(k, l)), counts, "{k}");
    }
    assert_eq!(top_level(u64::from(u32::MAX)), 3);
}
