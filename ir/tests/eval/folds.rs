//! The order of a fold.

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
        (0..4u64).fold(0u64, |acc, k| (acc * 10_000 + o * 1_000 + k * 100 + k / 2 * 10 + k % 2) & 0xffff_ffff) as u32
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
