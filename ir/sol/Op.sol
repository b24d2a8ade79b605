// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// Operation codes of scalar instructions: byte 0 of each packed 8-byte word `op, tag, a, b, c`
/// (a, b, c are big-endian u16; `CONST` keeps 32 bits of immediate in b and c).
/// `ir/src/scalar.rs` holds the same table; a test compares the two.
library Op {
    // inputs
    uint8 internal constant CONST = 0x01; // tag: type; b‖c: bits
    uint8 internal constant ACC = 0x02; // the accumulator
    uint8 internal constant RHS = 0x03; // the second value of a combine
    uint8 internal constant LOAD = 0x04; // a: operand
    uint8 internal constant COORD = 0x05; // a: domain dimension; u32
    uint8 internal constant K = 0x06; // linear k; u32
    uint8 internal constant KF = 0x07; // a: fold factor; u32
    // f32
    uint8 internal constant FADD = 0x10;
    uint8 internal constant FSUB = 0x11;
    uint8 internal constant FMUL = 0x12;
    uint8 internal constant FDIV = 0x13;
    uint8 internal constant FSQRT = 0x14;
    uint8 internal constant FMA = 0x15; // a * b + c, rounded once
    uint8 internal constant FNEG = 0x16;
    uint8 internal constant FABS = 0x17;
    uint8 internal constant FFLOOR = 0x18;
    uint8 internal constant FRINT = 0x19;
    uint8 internal constant FEQ = 0x1a;
    uint8 internal constant FNE = 0x1b;
    uint8 internal constant FLT = 0x1c;
    uint8 internal constant FLE = 0x1d;
    // i32 and u32, wrapping
    uint8 internal constant ADD = 0x20;
    uint8 internal constant SUB = 0x21;
    uint8 internal constant MUL = 0x22;
    uint8 internal constant MULHI_S = 0x23;
    uint8 internal constant MULHI_U = 0x24;
    uint8 internal constant AND = 0x25;
    uint8 internal constant OR = 0x26;
    uint8 internal constant XOR = 0x27;
    uint8 internal constant SHL = 0x28;
    uint8 internal constant SHR_U = 0x29;
    uint8 internal constant SHR_S = 0x2a;
    uint8 internal constant EQ = 0x2b;
    uint8 internal constant NE = 0x2c;
    uint8 internal constant LT_S = 0x2d;
    uint8 internal constant LE_S = 0x2e;
    uint8 internal constant LT_U = 0x2f;
    uint8 internal constant LE_U = 0x30;
    // any type
    uint8 internal constant SELECT = 0x38; // a != 0 ? b : c; a is u32
    // conversions
    uint8 internal constant F_TO_I = 0x40; // truncates, saturates, NaN gives 0
    uint8 internal constant F_TO_U = 0x41;
    uint8 internal constant I_TO_F = 0x42; // to nearest even
    uint8 internal constant U_TO_F = 0x43;
    uint8 internal constant BITS_TO_F = 0x44; // u32 to f32; a NaN becomes canonical
    uint8 internal constant F_TO_BITS = 0x45; // f32 to u32
    uint8 internal constant AS_I = 0x46; // u32 to i32, same bits
    uint8 internal constant AS_U = 0x47; // i32 to u32, same bits
}
