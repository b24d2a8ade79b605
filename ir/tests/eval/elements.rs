//! One element of a map: coordinates, views, bounds, storage.

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
