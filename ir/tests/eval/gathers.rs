//! Addresses that another operand gives.

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
    let bytes = Tensor::from_bytes(TensorDecl { dtype: DType::I8, shape: vec![4] }, vec![0xff, 1, 0x80, 0]).unwrap();
    assert_eq!(bits(&text("i8", "gather(0)+1"), &[&bytes, &table]), [10, 30, 99, 20]);
}

#[test]
fn a_stride_and_an_offset_apply() {
    let (index, table) = (u32s(&[3], &[0, 1, 2]), u32s(&[6], &TABLE));
    let text = "u32[3] { operand 0 d0 u32[3] at (o0) operand 1 d1 u32[6] at (-gather(0)*2+5) finish { v0 = load 1 } }";
    assert_eq!(bits(text, &[&index, &table]), [31, 21, 11]);
}

#[test]
fn an_index_that_is_itself_out_of_bounds_is_its_fill() {
    let (index, table) = (u32s(&[1], &[0]), u32s(&[6], &TABLE));
    let text =
        "u32[2] { operand 0 d0 u32[1] at (o0) fill u32 4 operand 1 d1 u32[6] at (gather(0)) finish { v0 = load 1 } }";
    assert_eq!(bits(text, &[&index, &table]), [10, 30]);
}

#[test]
fn an_index_is_read_at_the_same_place() {
    let (index, table) = (u32s(&[2, 3], &[0, 2, 4, 1, 3, 5]), u32s(&[6], &TABLE));
    let text = "u32[2] { fold [3] chain from u32 0 operand 0 d0 u32[2,3] at (o0, k0) operand 1 d1 u32[6] at (gather(0))
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
