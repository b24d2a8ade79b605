//! Every rule of docs/protocol.md, section 2, by name: what a node means.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeSet;

use lockstep_ir::{
    DType, Node, Program, Tensor, TensorDecl,
    eval::{self, Recorder, Unit},
    program::{BLOCK, level_count, top_level},
    sample::{Rng, tensors, valid_program},
    validate,
};

const SUM: &str = "body { v0 = acc v1 = load 0 v2 = fadd v0 v1 } combine { v0 = acc v1 = rhs v2 = fadd v0 v1 }";

/// The node, which must be valid where its operands `d0`, `d1` are these tensors.
fn node(text: &str, data: &[&Tensor]) -> Node {
    let decl = |t: &Tensor| format!("{}{}", t.decl().dtype, lockstep_ir::types::shape_text(&t.decl().shape));
    let data: String = data.iter().enumerate().map(|(i, t)| format!("data d{i} {} ", decl(t))).collect();
    let text = format!("lockstep program 1 state s0 u32[] next s0 {data} node n0 {text}");
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    validate(&program).unwrap_or_else(|e| panic!("{e}\n{text}"));
    program.nodes[0].clone()
}

/// The stored bits of every element of the node's output. Operand `i` reads `data[i]`.
fn bits(text: &str, data: &[&Tensor]) -> Vec<u32> {
    let out = eval::node(&node(text, data), data).unwrap();
    (0..out.len()).map(|i| out.stored(i)).collect()
}

fn floats(text: &str, data: &[&Tensor]) -> Vec<f32> {
    bits(text, data).into_iter().map(f32::from_bits).collect()
}

fn f32s(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values).unwrap()
}

fn u32s(shape: &[u32], values: &[u32]) -> Tensor {
    Tensor::from_u32(shape, values).unwrap()
}

fn i32s(shape: &[u32], values: &[i32]) -> Tensor {
    Tensor::from_i32(shape, values).unwrap()
}

/// Numbers whose sum depends on the order.
fn uneven(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(n as u64);
    (0..n).map(|_| (rng.below(1 << 20) as f32 - 500_000.0) * 2f32.powi(rng.below(40) as i32 - 20)).collect()
}

mod elements {
    use super::*;

    #[test]
    fn a_map_is_finish_over_loads() {
        let (a, b) = (f32s(&[3], &[1.0, 2.0, 3.0]), f32s(&[3], &[0.5, -1.0, 8.0]));
        let text = "f32[3] { operand 0 d0 f32[3] at (o0) operand 1 d1 f32[3] at (2-o0)
            finish { v0 = load 0 v1 = load 1 v2 = fmul v0 v1 } }";
        assert_eq!(floats(text, &[&a, &b]), [8.0, -2.0, 1.5]);
    }

    #[test]
    fn the_domain_factors_the_index_row_major() {
        let text = "u32[12] { domain [2,3,2] finish { v0 = coord 0 v1 = u32 100 v2 = mul v0 v1 v3 = coord 1
            v4 = u32 10 v5 = mul v3 v4 v6 = coord 2 v7 = add v2 v5 v8 = add v7 v6 } }";
        assert_eq!(bits(text, &[]), [0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121]);
    }

    #[test]
    fn a_view_is_the_same_elements_under_another_shape() {
        let a = u32s(&[2, 6], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        // As [3,4] transposed.
        let text = "u32[12] { domain [4,3] operand 0 d0 u32[2,6] as [3,4] at (o1, o0) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&a]), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    }

    #[test]
    fn strides_may_be_negative_or_large() {
        let a = u32s(&[7], &[0, 1, 2, 3, 4, 5, 6]);
        let text = "u32[3] { operand 0 d0 u32[7] at (6-o0*3) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&a]), [6, 3, 0]);
    }

    #[test]
    fn bounds_are_tested_in_every_dimension_by_itself() {
        let a = u32s(&[2, 3], &[0, 1, 2, 3, 4, 5]);
        // Column 3 of row 0 is not column 0 of row 1.
        let text = "u32[2,5] { operand 0 d0 u32[2,3] at (o0, o1-1) fill u32 99 finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&a]), [99, 0, 1, 2, 99, 99, 3, 4, 5, 99]);
        let text = "u32[2] { operand 0 d0 u32[2,3] at (o0-1, 3-o0*3) fill u32 99 finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&a]), [99, 0], "row −1 is out of bounds though the index would be 0");
    }

    #[test]
    fn extreme_coordinates_are_out_of_bounds() {
        let a = u32s(&[2], &[7, 8]);
        for at in ["9223372036854775807", "-9223372036854775807", "o0*9223372036854775806+1", "2", "-1"] {
            let text = format!("u32[2] {{ operand 0 d0 u32[2] at ({at}) fill u32 99 finish {{ v0 = load 0 }} }}");
            let want = if at.contains('o') { vec![8, 99] } else { vec![99, 99] };
            assert_eq!(bits(&text, &[&a]), want, "{at}");
        }
    }

    #[test]
    fn fill_is_the_widened_value() {
        let bytes = Tensor::from_bytes(TensorDecl { dtype: DType::I8, shape: vec![1] }, vec![5]).unwrap();
        let half = Tensor::from_bytes(TensorDecl { dtype: DType::Bf16, shape: vec![1] }, vec![0x80, 0x3f]).unwrap();
        let text = "i32[2] { operand 0 d0 i8[1] at (o0) fill i32 -70000 finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&bytes]), [5, -70_000i32 as u32]);
        let text = "f32[2] { operand 0 d0 bf16[1] at (o0) fill f32 0x3f800001 finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&half]), [0x3f80_0000, 0x3f80_0001]);
    }

    #[test]
    fn storage_types_widen_and_narrow() {
        let values = f32s(&[5], &[1.0039062, -3.4e38, 1e-40, f32::NAN, -0.0]);
        let text = "bf16[5] { operand 0 d0 f32[5] at (o0) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&values]), [0x3f80, 0xff80, 0x0001, 0x7fc0, 0x8000]);
        let values = i32s(&[4], &[-129, 127, 128, -1]);
        let text = "i8[4] { operand 0 d0 i32[4] at (o0) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&values]), [0x80, 0x7f, 0x7f, 0xff]);
        let half = Tensor::from_bytes(TensorDecl { dtype: DType::Bf16, shape: vec![2] }, vec![0xff, 0xff, 0x01, 0]);
        let text = "f32[2] { operand 0 d0 bf16[2] at (o0) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&half.unwrap()]), [0x7fc0_0000, 0x0001_0000]);
        let bytes = Tensor::from_bytes(TensorDecl { dtype: DType::I8, shape: vec![2] }, vec![0x80, 0x7f]).unwrap();
        let text = "i32[2] { operand 0 d0 i8[2] at (o0) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&bytes]), [-128i32 as u32, 127]);
    }

    #[test]
    fn a_nan_payload_loads_as_the_canonical_nan_and_makes_an_input_invalid() {
        let decl = TensorDecl { dtype: DType::F32, shape: vec![2] };
        let payload =
            Tensor::from_bytes(decl, [1.0f32.to_bits(), 0xff80_0001].iter().flat_map(|b| b.to_le_bytes()).collect());
        let payload = payload.unwrap();
        let message = "element 1 of a f32 tensor is a NaN other than the canonical one; replace it before posting";
        assert_eq!(payload.check_nans().unwrap_err().to_string(), message);
        let text = "u32[2] { operand 0 d0 f32[2] at (o0) finish { v0 = load 0 v1 = f_to_bits v0 } }";
        assert_eq!(bits(text, &[&payload]), [0x3f80_0000, 0x7fc0_0000]);
        // Also where the bits only pass through.
        let text = "f32[2] { operand 0 d0 f32[2] at (o0) finish { v0 = load 0 } }";
        assert_eq!(bits(text, &[&payload])[1], 0x7fc0_0000);
        let half = Tensor::from_bytes(TensorDecl { dtype: DType::Bf16, shape: vec![] }, vec![0xc1, 0x7f]).unwrap();
        assert!(half.check_nans().is_err());
    }
}

mod gathers {
    use super::*;

    const TABLE: [u32; 6] = [10, 11, 20, 21, 30, 31];

    #[test]
    fn a_row_is_picked_by_an_index() {
        let (index, table) = (u32s(&[4], &[2, 0, 1, 2]), u32s(&[3, 2], &TABLE));
        let text =
            "u32[4,2] { operand 0 d0 u32[4] at (o0) operand 1 d1 u32[3,2] at (gather(0), o1) finish { v0 = load 1 } }";
        assert_eq!(bits(text, &[&index, &table]), [30, 31, 10, 11, 20, 21, 30, 31]);
    }

    #[test]
    fn an_index_out_of_bounds_reads_the_fill() {
        let table = u32s(&[3, 2], &TABLE);
        let text = |d: &str, at: &str| {
            format!(
                "u32[4] {{ operand 0 d0 {d}[4] at (o0) operand 1 d1 u32[3,2] at ({at}, 0) fill u32 99 finish {{ v0 = load 1 }} }}"
            )
        };
        let unsigned = u32s(&[4], &[3, u32::MAX, 1 << 31, 2]);
        assert_eq!(bits(&text("u32", "gather(0)"), &[&unsigned, &table]), [99, 99, 99, 30]);
        // As i32 the same bits are −1, and one further is row 0; as u32 they are not.
        let signed = i32s(&[4], &[3, -1, i32::MIN, 1]);
        assert_eq!(bits(&text("i32", "gather(0)+1"), &[&signed, &table]), [99, 10, 99, 30]);
        assert_eq!(bits(&text("u32", "gather(0)+1"), &[&unsigned, &table]), [99, 99, 99, 99]);
        let bytes =
            Tensor::from_bytes(TensorDecl { dtype: DType::I8, shape: vec![4] }, vec![0xff, 1, 0x80, 0]).unwrap();
        assert_eq!(bits(&text("i8", "gather(0)+1"), &[&bytes, &table]), [10, 30, 99, 20]);
    }

    #[test]
    fn a_stride_and_an_offset_apply() {
        let (index, table) = (u32s(&[3], &[0, 1, 2]), u32s(&[6], &TABLE));
        let text =
            "u32[3] { operand 0 d0 u32[3] at (o0) operand 1 d1 u32[6] at (-gather(0)*2+5) finish { v0 = load 1 } }";
        assert_eq!(bits(text, &[&index, &table]), [31, 21, 11]);
    }

    #[test]
    fn an_index_that_is_itself_out_of_bounds_is_its_fill() {
        let (index, table) = (u32s(&[1], &[0]), u32s(&[6], &TABLE));
        let text = "u32[2] { operand 0 d0 u32[1] at (o0) fill u32 4 operand 1 d1 u32[6] at (gather(0)) finish { v0 = load 1 } }";
        assert_eq!(bits(text, &[&index, &table]), [10, 30]);
    }

    #[test]
    fn an_index_is_read_at_the_same_place() {
        let (index, table) = (u32s(&[2, 3], &[0, 2, 4, 1, 3, 5]), u32s(&[6], &TABLE));
        let text =
            "u32[2] { fold [3] chain from u32 0 operand 0 d0 u32[2,3] at (o0, k0) operand 1 d1 u32[6] at (gather(0))
            body { v0 = acc v1 = u32 100 v2 = mul v0 v1 v3 = load 1 v4 = add v2 v3 } finish { v0 = acc } }";
        assert_eq!(bits(text, &[&index, &table]), [10_20_30, 11_21_31]);
    }

    #[test]
    fn two_dimensions_gather_through_two_operands() {
        let (row, column) = (u32s(&[2], &[2, 0]), u32s(&[2], &[1, 0]));
        let table = u32s(&[3, 2], &TABLE);
        let text = "u32[2] { operand 0 d0 u32[2] at (o0) operand 1 d1 u32[2] at (o0) operand 2 d2 u32[3,2] at (gather(0), gather(1))
            finish { v0 = load 2 } }";
        assert_eq!(bits(text, &[&row, &column, &table]), [31, 10]);
    }
}

mod folds {
    use super::*;

    #[test]
    fn a_body_sees_k_its_factors_and_the_coordinates() {
        // Digits: o0, k, k0, k1 for every k, each appended.
        let text = "u32[2] { fold [2,2] chain from u32 0
            body { v0 = acc v1 = u32 10 v2 = mul v0 v1 v3 = coord 0 v4 = add v2 v3 v5 = mul v4 v1 v6 = k v7 = add v5 v6
                v8 = kf 0 v9 = shl v8 v8 v10 = mul v7 v1 v11 = add v10 v8 v12 = mul v11 v1 v13 = kf 1 v14 = add v12 v13 }
            finish { v0 = acc } }";
        // The result is modulo 2^32.
        let want = |o: u64| {
            (0..4u64).fold(0u64, |acc, k| (acc * 10_000 + o * 1_000 + k * 100 + k / 2 * 10 + k % 2) & 0xffff_ffff)
                as u32
        };
        assert_eq!(bits(text, &[]), [want(0), want(1)]);
    }

    #[test]
    fn finish_sees_the_loads_at_the_start_of_the_fold() {
        let (a, b) = (f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), f32s(&[2], &[100.0, 200.0]));
        let text = format!(
            "f32[2] {{ fold [3] lanes from f32 0x0 operand 0 d0 f32[2,3] at (o0, k0) operand 1 d1 f32[2] at (o0) {SUM}
            finish {{ v0 = acc v1 = load 1 v2 = fadd v0 v1 }} }}"
        );
        assert_eq!(floats(&text, &[&a, &b]), [106.0, 215.0]);
    }

    fn sum(order: &str, init: f32, values: &[f32]) -> u32 {
        let data = f32s(&[values.len() as u32], values);
        let code = if order == "chain" && values.len() <= 256 { SUM.split(" combine").next().unwrap() } else { SUM };
        let (k, init) = (values.len(), init.to_bits());
        let text = format!(
            "f32[] {{ fold [{k}] {order} from f32 {init:#x} operand 0 d0 f32[{k}] at (k0) {code} finish {{ v0 = acc }} }}"
        );
        bits(&text, &[&data])[0]
    }

    fn chain(init: f32, values: &[f32]) -> f32 {
        values.iter().fold(init, |acc, x| acc + x)
    }

    fn lanes(init: f32, values: &[f32]) -> f32 {
        let mut lane = [init; 16];
        values.iter().enumerate().for_each(|(k, x)| lane[k % 16] += x);
        (0..8).for_each(|i| lane[i] += lane[i + 8]);
        (0..4).for_each(|i| lane[i] += lane[i + 4]);
        (0..2).for_each(|i| lane[i] += lane[i + 2]);
        lane[0] + lane[1]
    }

    #[test]
    fn chain_goes_up_in_one_accumulator() {
        for n in [1, 2, 16, 17, 255, 256] {
            assert_eq!(sum("chain", 0.5, &uneven(n)), chain(0.5, &uneven(n)).to_bits(), "{n}");
        }
    }

    #[test]
    fn lanes_are_sixteen_accumulators_that_halve() {
        for n in [1, 2, 15, 16, 17, 100, 255, 256] {
            assert_eq!(sum("lanes", 0.5, &uneven(n)), lanes(0.5, &uneven(n)).to_bits(), "{n}");
        }
        let values = uneven(256);
        assert_ne!(chain(0.5, &values).to_bits(), lanes(0.5, &values).to_bits(), "the order shows");
    }

    #[test]
    fn a_lanes_block_of_one_element_combines_all_lanes() {
        assert_eq!(f32::from_bits(sum("lanes", 1.0, &[0.25])), 16.25, "every lane starts from init");
        assert_eq!(f32::from_bits(sum("chain", 1.0, &[0.25])), 1.25);
        // −0 + 0.0 is 0: an unused lane is not left out.
        assert_eq!(sum("lanes", 0.0, &[-0.0]), 0);
        assert_eq!(sum("lanes", -0.0, &[-0.0]), 0x8000_0000);
    }

    /// The whole rule of section 2.2 for sums.
    fn tree(block: fn(f32, &[f32]) -> f32, init: f32, values: &[f32]) -> f32 {
        let mut level: Vec<f32> = values.chunks(256).map(|b| block(init, b)).collect();
        while level.len() > 1 {
            level = level.chunks(256).map(|b| b[1..].iter().fold(b[0], |acc, x| acc + x)).collect();
        }
        level[0]
    }

    #[test]
    fn blocks_of_256_fold_alone_and_combine_upwards() {
        for n in [257, 511, 512, 513, 5_000, 65_536, 65_537, 66_000, 131_073] {
            let values = uneven(n);
            assert_eq!(sum("chain", 0.5, &values), tree(chain, 0.5, &values).to_bits(), "chain of {n}");
            assert_eq!(sum("lanes", 0.5, &values), tree(lanes, 0.5, &values).to_bits(), "lanes of {n}");
        }
        assert_ne!(tree(chain, 0.5, &uneven(512)), chain(0.5, &uneven(512)), "blocks show");
    }

    /// acc·31 + x, and acc·17 + rhs + 1 as combine: every application shows.
    fn counted(k: u32) -> u32 {
        let combine = if k > 256 {
            "combine { v0 = acc v1 = u32 17 v2 = mul v0 v1 v3 = rhs v4 = add v2 v3 v5 = u32 1 v6 = add v4 v5 }"
        } else {
            ""
        };
        let text = format!(
            "u32[] {{ fold [{k}] chain from u32 7 body {{ v0 = acc v1 = u32 31 v2 = mul v0 v1 v3 = k v4 = add v2 v3 }}
            {combine} finish {{ v0 = acc }} }}"
        );
        bits(&text, &[])[0]
    }

    fn leaf(from: u32, to: u32) -> u32 {
        (from..to).fold(7u32, |acc, k| acc.wrapping_mul(31).wrapping_add(k))
    }

    fn combined(values: &[u32]) -> u32 {
        values[1..].iter().fold(values[0], |acc, &x| acc.wrapping_mul(17).wrapping_add(x).wrapping_add(1))
    }

    #[test]
    fn one_block_never_combines() {
        assert_eq!(counted(1), leaf(0, 1));
        assert_eq!(counted(256), leaf(0, 256));
    }

    #[test]
    fn two_blocks_combine_once_and_each_starts_from_init() {
        assert_eq!(counted(257), combined(&[leaf(0, 256), leaf(256, 257)]));
    }

    #[test]
    fn a_single_result_passes_unchanged() {
        let blocks: Vec<u32> = (0..256).map(|b| leaf(256 * b, 256 * (b + 1))).collect();
        assert_eq!(counted(65_536), combined(&blocks));
        // The 257th block is alone in its block of level 2: it goes up as it is, and is combined on level 3.
        assert_eq!(counted(65_537), combined(&[combined(&blocks), leaf(65_536, 65_537)]));
    }
}

mod skips {
    use super::*;

    /// A window of 3 around each of 2 elements, weighted, from −0.
    fn window(how: &str, x: &[f32], w: [f32; 3]) -> Vec<u32> {
        let (x, w) = (f32s(&[2], x), f32s(&[3], &w));
        let text = format!("f32[2] {{ fold [3] chain from f32 0x80000000 operand 0 d0 f32[2] at (o0+k0-1) {how} operand 1 d1 f32[3] at (k0)
            body {{ v0 = load 0 v1 = load 1 v2 = acc v3 = fma v0 v1 v2 }} finish {{ v0 = acc }} }}");
        bits(&text, &[&x, &w])
    }

    #[test]
    fn a_filled_tap_is_evaluated_and_a_skipped_one_is_not() {
        let minus = 0x8000_0000;
        assert_eq!(window("", &[-0.0, -0.0], [1.0; 3]), [0, 0], "0·1 + −0 is +0");
        assert_eq!(window("skip", &[-0.0, -0.0], [1.0; 3]), [minus, minus], "−0 stays");
        assert_eq!(window("", &[1.0, 1.0], [f32::INFINITY, 1.0, 1.0])[0], 0x7fc0_0000, "0·∞ is NaN");
        assert_eq!(window("skip", &[1.0, 1.0], [f32::INFINITY, 1.0, 1.0])[0], 2f32.to_bits());
        assert_eq!(window("fill f32 0x3f800000", &[1.0, 2.0], [1.0; 3]), [4f32.to_bits(), 4f32.to_bits()]);
    }

    #[test]
    fn any_operand_that_skips_leaves_the_body_out() {
        let (x, y) = (u32s(&[4], &[1, 10, 100, 1000]), u32s(&[2], &[5, 5]));
        // The body loads only what is in bounds, yet k = 2, 3 are left out because operand 1 skips there.
        let text = "u32[] { fold [4] chain from u32 0 operand 0 d0 u32[4] at (k0) operand 1 d1 u32[2] at (k0) skip
            body { v0 = acc v1 = load 0 v2 = load 1 v3 = sub v2 v2 v4 = add v1 v3 v5 = add v0 v4 } finish { v0 = acc } }";
        assert_eq!(bits(text, &[&x, &y]), [11]);
        // All left out: the result is init.
        let text = text.replace("d1 u32[2] at (k0)", "d1 u32[2] at (k0+2)").replace("from u32 0", "from u32 77");
        assert_eq!(bits(&text, &[&x, &y]), [77]);
    }

    #[test]
    fn a_gathered_place_out_of_bounds_skips_too() {
        let (index, x) = (i32s(&[3], &[0, -1, 1]), u32s(&[2], &[10, 20]));
        let text = "u32[] { fold [3] lanes from u32 1 operand 0 d0 i32[3] at (k0) operand 1 d1 u32[2] at (gather(0)) skip fill u32 500
            body { v0 = acc v1 = load 1 v2 = add v0 v1 } combine { v0 = acc v1 = rhs v2 = add v0 v1 } finish { v0 = acc } }";
        assert_eq!(bits(text, &[&index, &x]), [16 + 30]);
    }
}

mod units {
    use super::*;

    #[test]
    fn a_recorder_reports_the_chunks_that_were_read() {
        // 100 floats of row 2 begin at byte 800·… of the matrix: elements 600 to 899, chunks 2 and 3; the index lies in chunk 0.
        let (index, table) = (u32s(&[300], &[2; 300]), f32s(&[5, 300], &uneven(1_500)));
        let text = format!("f32[] {{ fold [300] lanes from f32 0x0 operand 0 d1 f32[5,300] at (gather(1), k0) operand 1 d0 u32[300] at (7)
            {SUM} finish {{ v0 = acc }} }}");
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
}

#[test]
fn a_step_reads_the_state_before_it() {
    let text = "lockstep program 1
        state s0 u32[] next n1 state s1 u32[] next s0 state s2 u32[] next d0 state s3 u32[] next s3
        data d0 u32[]
        node n0 u32[] { operand 0 s0 u32[] at () finish { v0 = load 0 v1 = u32 1 v2 = add v0 v1 } }
        node n1 u32[] { operand 0 n0 u32[] at () operand 1 s0 u32[] at () finish { v0 = load 0 v1 = load 1 v2 = mul v0 v1 } }";
    let program: Program = text.parse().unwrap();
    validate(&program).unwrap();
    let scalar = |v| u32s(&[], &[v]);
    let after = eval::step(&program, &[5, 6, 7, 8].map(scalar), &[scalar(9)]).unwrap();
    assert_eq!(after.state, [30, 5, 9, 8].map(scalar));
    assert_eq!(after.trace, [6, 30].map(scalar));
}
