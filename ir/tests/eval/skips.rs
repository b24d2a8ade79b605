//! What is left out, and what is read out of bounds.

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
