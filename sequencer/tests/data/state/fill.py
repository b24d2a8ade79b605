"""Fills cancun.json: scenarios from here, results from Ethereum's executable specification.

    pip install ethereum-execution==2.20.0
    python fill.py > cancun.json

The form is that of Ethereum's state tests: environment, state, one transaction in variants, and for each variant the root of the state
and the hash of the logs after it.
"""

import itertools
import json
import logging
import random
import sys
from hashlib import sha256
from io import StringIO

from ethereum.forks.cancun.transactions import encode_transaction
from ethereum_rlp import rlp
from ethereum_spec_tools.evm_tools import create_parser
from ethereum_spec_tools.evm_tools.t8n import T8N, ForkCache

FORK = "Cancun"
KEY = "0x45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8"
SENDER = "0xa94f5374fce5edbc8e2a8697c15331677e6ebf0b"
COINBASE = "0x2adc25665018aa1fe0e6bc666dac8fc2697ff9ba"
ENV = {
    "currentCoinbase": COINBASE,
    "currentGasLimit": "0x5f5e100",
    "currentNumber": "0x01",
    "currentTimestamp": "0x03e8",
    "currentRandom": "0x" + "07" * 32,
    "currentDifficulty": "0x00",
    "currentBaseFee": "0x0a",
    "currentExcessBlobGas": "0xa00000",
    "previousHash": "0x044852b2a670ade5407e78fb2863c51de9fcb96542a07186fe3aeda6bb8a116d",
}
TARGET = "0x" + "00" * 18 + "c0de"
TOP = 2**256 - 1
EDGE = [0, 1, 2, 31, 255, 2**255, 2**255 - 1, TOP]

CODES = {}
for number, names in {
    0x00: "STOP ADD MUL SUB DIV SDIV MOD SMOD ADDMOD MULMOD EXP SIGNEXTEND",
    0x10: "LT GT SLT SGT EQ ISZERO AND OR XOR NOT BYTE SHL SHR SAR",
    0x20: "KECCAK256",
    0x30: "ADDRESS BALANCE ORIGIN CALLER CALLVALUE CALLDATALOAD CALLDATASIZE CALLDATACOPY CODESIZE CODECOPY GASPRICE EXTCODESIZE "
    "EXTCODECOPY RETURNDATASIZE RETURNDATACOPY EXTCODEHASH",
    0x40: "BLOCKHASH COINBASE TIMESTAMP NUMBER PREVRANDAO GASLIMIT CHAINID SELFBALANCE BASEFEE BLOBHASH BLOBBASEFEE",
    0x50: "POP MLOAD MSTORE MSTORE8 SLOAD SSTORE JUMP JUMPI PC MSIZE GAS JUMPDEST TLOAD TSTORE MCOPY PUSH0",
    0xA0: "LOG0 LOG1 LOG2 LOG3 LOG4",
    0xF0: "CREATE CALL CALLCODE RETURN DELEGATECALL CREATE2",
    0xFA: "STATICCALL",
    0xFD: "REVERT INVALID SELFDESTRUCT",
}.items():
    for offset, name in enumerate(names.split()):
        CODES[name] = number + offset
for n in range(1, 17):
    CODES[f"DUP{n}"], CODES[f"SWAP{n}"] = 0x7F + n, 0x8F + n


def asm(*parts):
    """Bytes from names of opcodes, numbers to push, and bytes as they are."""
    out = b""
    for part in parts:
        if isinstance(part, str):
            for word in part.split():
                out += asm(int(word, 0)) if word[0].isdigit() else bytes([CODES[word]])
        elif isinstance(part, int):
            size = (part.bit_length() + 7) // 8
            out += bytes([0x5F + size]) + part.to_bytes(size, "big")
        else:
            out += part
    return out


def word(value):
    return value.to_bytes(32, "big")


def hexed(data):
    return "0x" + data.hex()


def at(tail):
    return "0x" + f"{tail:040x}"


def account(code=b"", balance=0, nonce=0, storage=None):
    slots = {hex(slot): hex(value) for slot, value in (storage or {}).items() if value}
    return {"balance": hex(balance), "nonce": hex(nonce), "code": hexed(code), "storage": slots}


TESTS = {}


def test(name, code=None, data=(b"",), gas=(2_000_000,), value=(0,), to=TARGET, others=None, storage=None, nonce=1, sender=None, **tx):
    """A test: `code` at TARGET, called with every combination of data, gas limit and value."""
    pre = {SENDER: account(balance=10**18)}
    if code is not None:
        pre[TARGET] = account(code, balance=100, nonce=nonce, storage=storage)
    pre.update(others or {})
    pre.update({SENDER: sender} if sender else {})
    if "maxFeePerGas" not in tx:
        tx.setdefault("gasPrice", "0x0f")
    lists = tx.pop("accessLists", None)
    transaction = {
        "data": [hexed(one) for one in data],
        "gasLimit": [hex(one) for one in gas],
        "value": [hex(one) for one in value],
        "nonce": tx.pop("nonce_", "0x00"),
        "to": to,
        "sender": SENDER,
        "secretKey": KEY,
        **({"accessLists": lists} if lists else {}),
        **tx,
    }
    assert name not in TESTS, name
    TESTS[name] = {"env": ENV, "pre": pre, "transaction": transaction, "post": {FORK: []}}


def keep(slot):
    """Stores what is on top."""
    return asm(slot, "SSTORE")


# Arithmetic on the edges, with too little gas as well.
for op in "ADD MUL SUB DIV SDIV MOD SMOD EXP SIGNEXTEND LT GT SLT SGT EQ AND OR XOR BYTE SHL SHR SAR".split():
    pairs = list(itertools.product(EDGE, EDGE))
    random.Random(op).shuffle(pairs)
    test(f"binary_{op}", b"".join(asm(b, a, op) + keep(i) for i, (a, b) in enumerate(pairs[:24])), gas=(2_000_000, 60_000))
for op in ("ADDMOD", "MULMOD"):
    triples = list(itertools.product([0, 1, 7, 2**255, TOP], repeat=3))
    random.Random(op).shuffle(triples)
    test(f"ternary_{op}", b"".join(asm(c, b, a, op) + keep(i) for i, (a, b, c) in enumerate(triples[:30])))
for op in ("ISZERO", "NOT"):
    test(f"unary_{op}", b"".join(asm(a, op) + keep(i) for i, a in enumerate(EDGE)))

# Every byte as an opcode over the same stack, in creation code.
test("every_opcode", None, [asm(*range(17, 0, -1), bytes([op]), "PC 99 SSTORE") for op in range(256)], gas=(500_000,), to="")
test("deep_stack", None, [asm(*[1] * n, "PC 99 SSTORE") for n in (1022, 1023, 1024, 1025)], to="")
for op, n in itertools.product(("DUP", "SWAP"), (1, 2, 8, 16)):
    test(f"{op}{n}", asm(*range(1, n + 2), f"{op}{n}", *[part for s in range(n + 1) for part in (s, "SSTORE")], "STOP"))
test("jumps", asm("0 CALLDATALOAD JUMP", b"\x60\x5b", "JUMPDEST 7 0 SSTORE STOP"), [word(n) for n in (0, 3, 4, 5, 6, 7, 8, 2**64 + 6)])
test("conditional_jumps", asm("32 CALLDATALOAD 0 CALLDATALOAD JUMPI 1 0 SSTORE STOP JUMPDEST 2 0 SSTORE"),
     [word(a) + word(b) for a in (11, 12, 13, TOP) for b in (0, 1, TOP)])

# Memory and copies.
test("memory", asm("0x1234 5 MSTORE 0xab 40 MSTORE8 MSIZE", keep(0), "7 MLOAD", keep(1), "1000 MLOAD", keep(2), "MSIZE", keep(3)))
test("memory_far", asm("0 CALLDATALOAD MLOAD", keep(0)), [word(n) for n in (0, 1, 2**14, 2**20, 2**32, 2**64, TOP)])
test("mcopy", asm(TOP // 3, "0 MSTORE", TOP // 7, "32 MSTORE 64 CALLDATALOAD 32 CALLDATALOAD 0 CALLDATALOAD MCOPY 96 0 KECCAK256", keep(0), "MSIZE", keep(1)),
     [word(a) + word(b) + word(c) for a, b, c in [(0, 0, 0), (0, 5, 30), (5, 0, 30), (1, 0, 64), (200, 3, 9), (0, 200, 9), (2**40, 0, 0), (2**40, 0, 1), (0, TOP, 1)]])
for op, extra in (("CALLDATACOPY", ""), ("CODECOPY", ""), ("EXTCODECOPY", "ADDRESS"), ("RETURNDATACOPY", "")):
    before = asm("0 0 0 0 0x0b GAS STATICCALL POP") if op == "RETURNDATACOPY" else b""
    test(f"copy_{op}", asm(before, f"64 CALLDATALOAD 32 CALLDATALOAD 0 CALLDATALOAD {extra}", op, "128 0 KECCAK256", keep(0), "MSIZE", keep(1)),
         [word(a) + word(b) + word(c) for a, b, c in [(0, 0, 0), (0, 0, 20), (3, 1, 32), (0, 90, 40), (0, 2**64, 8), (5, TOP, 3), (0, 0, 33), (2**33, 0, 1)]],
         others={at(0x0B): account(asm("32 0 RETURN"))})
test("hashes", asm("32 CALLDATALOAD 0 CALLDATALOAD KECCAK256", keep(0)), [word(a) + word(b) for a, b in [(0, 0), (0, 1), (1, 32), (9, 136), (0, 2**12), (TOP, 0), (TOP, 1)]])

# What the environment says.
FACTS = "ADDRESS ORIGIN CALLER CALLVALUE CALLDATASIZE CODESIZE GASPRICE RETURNDATASIZE COINBASE TIMESTAMP NUMBER PREVRANDAO GASLIMIT CHAINID SELFBALANCE BASEFEE BLOBBASEFEE PC MSIZE GAS".split()
for name, fees in (("legacy", {}), ("eip1559", {"maxFeePerGas": "0x14", "maxPriorityFeePerGas": "0x03"})):
    test(f"environment_{name}", b"".join(asm(fact) + keep(i) for i, fact in enumerate(FACTS)), [b"", b"abc"], value=(0, 5), **fees)
test("block_hashes", asm("0 CALLDATALOAD BLOCKHASH", keep(0)), [word(n) for n in (0, 1, 2, 256, TOP)])
KINDS = [at(0xEEEE), SENDER, at(0x0C), at(0x0D), at(0x01), COINBASE, TARGET]
for op in ("BALANCE", "EXTCODESIZE", "EXTCODEHASH"):
    test(f"looks_{op}", asm("0 CALLDATALOAD", op, keep(0), "GAS 0 CALLDATALOAD", op, "POP GAS SWAP1 SUB", keep(1)),
         [word(int(kind, 16)) for kind in KINDS], others={at(0x0C): account(balance=3), at(0x0D): account(b"\x00\x01", nonce=1)})

# Storage: every change of a slot from every original value; what is left of the gas; the clean-up of transient storage.
for original in (0, 1):
    test(f"slot_from_{original}", asm("0 CALLDATALOAD 0 SSTORE 32 CALLDATALOAD 0 SSTORE 64 CALLDATALOAD 0 SSTORE"),
         [b"".join(map(word, values)) for values in itertools.product(range(3), repeat=3)], storage={0: original, 5: 5})
test("slot_stipend", asm("1 0 SSTORE"), gas=(21_000 + 6 + 2300, 21_000 + 6 + 2301, 43_105, 43_106, 43_107))
test("transient", asm("CALLDATASIZE 48 JUMPI 7 1 TSTORE 0 0 1 0 0 ADDRESS GAS CALL", keep(0), "1 TLOAD", keep(1), "0 0 2 0 0 ADDRESS GAS CALL",
                      keep(2), "1 TLOAD", keep(3), "STOP").ljust(48, b"\0") + asm("JUMPDEST 1 TLOAD", keep(9), "9 1 TSTORE CALLDATASIZE 1 EQ 69 JUMPI 0 0 REVERT").ljust(21, b"\0") + asm("JUMPDEST"))
test("transient_static", asm("0 0 0 0 0x0b GAS STATICCALL", keep(0), "0 0 0 0 0x0c GAS STATICCALL", keep(1), "0 0 0 0 0x0b GAS DELEGATECALL", keep(2), "1 TLOAD", keep(3)),
     others={at(0x0B): account(asm("5 1 TSTORE")), at(0x0C): account(asm("1 TLOAD"))})

# Calls of every kind, to everything, with every value.
CALLEES = {
    0x1001: asm("1 0 SSTORE 2 1 SSTORE"), 0x1002: asm(TOP, "0 MSTORE 40 0 REVERT"), 0x1003: asm("INVALID"), 0x1004: asm("1 2 32 0 LOG2"),
    0x1005: asm("CALLVALUE 0 MSTORE CALLER 32 MSTORE 64 0 RETURN"), 0x1006: asm("CALLER SELFDESTRUCT"), 0x1007: asm("0 0 0 0 1 CALLER GAS CALL 0 SSTORE"),
    0x1008: asm("1 0x1003 JUMPI"), 0x1009: b"",
}
callees = {at(a): account(code, balance=7, nonce=1) for a, code in CALLEES.items()}
for op in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"):
    value = "32 CALLDATALOAD" if op in ("CALL", "CALLCODE") else ""
    code = asm(f"64 0 3 0 {value} 0 CALLDATALOAD 64 CALLDATALOAD", op, keep(0), "RETURNDATASIZE", keep(1), "96 0 KECCAK256", keep(2), "GAS", keep(3))
    targets = list(CALLEES) + [4, 0xEEEE, int(SENDER, 16), int(TARGET, 16)]
    values = (0, 1, 1000) if value else (0,)
    test(f"calls_{op}", code, [word(a) + word(v) + word(100_000) for a in targets[:-1] for v in values] + [word(targets[0]) + word(0) + word(g) for g in (0, 2300, 22_000, TOP)], others=callees)
test("recursion", asm("0 0 0 0 0 ADDRESS GAS CALL 0 SLOAD ADD 1 ADD 0 SSTORE"), gas=(1_000_000, 8_000_000))
test("static_deep", asm("0 0 0 0 0x0b GAS STATICCALL", keep(0)), others={at(0x0B): account(asm("0 0 0 0 0 0x1001 GAS CALL 0 MSTORE 32 0 RETURN")), **callees})
test("plain_transfers", None, to=at(0xEEEE), gas=(21_000, 20_999, 30_000), value=(0, 1, 10**17, 2 * 10**18))
test("transfer_to_precompile", None, [b"", b"xyz"], to=at(4), gas=(30_000,), value=(0, 1))

# Creation, by transactions and by contracts.
INITS = {
    "nothing": b"", "stop": asm("STOP"), "returns": asm("32 0 RETURN"), "stores": asm("1 1 SSTORE 5 0 MSTORE 9 23 RETURN"), "reverts": asm(TOP, "0 MSTORE 32 0 REVERT"),
    "invalid": asm("INVALID"), "ef": asm("0xef 0 MSTORE8 1 0 RETURN"), "largest": asm("24576 0 RETURN"), "too_large": asm("24577 0 RETURN"),
    "destroys": asm("CALLER SELFDESTRUCT"), "destroys_to_itself": asm("ADDRESS SELFDESTRUCT"), "creates": asm("0 0 0 CREATE 0 SSTORE"),
    "logs": asm("1 32 0 LOG1"), "reads": asm("CODESIZE 0 SSTORE CALLVALUE 1 SSTORE ADDRESS EXTCODESIZE 2 SSTORE"), "long": b"\0" * 49_152, "too_long": b"\0" * 49_153,
}
test("creation", None, list(INITS.values())[:-2], gas=(6_000_000, 60_000), value=(0, 1), to="")
test("creation_too_long", None, [INITS["too_long"]], gas=(6_000_000,), to="")
for op in ("CREATE", "CREATE2"):
    salt = "CALLDATASIZE" if op == "CREATE2" else ""
    make = asm("CALLDATASIZE 0 0 CALLDATACOPY", f"{salt} CALLDATASIZE 0 CALLVALUE", op)
    after = asm("DUP1", keep(0), "RETURNDATASIZE", keep(1), "DUP1 EXTCODEHASH", keep(2), "0 0 0 0 1 5 DUP7 GAS CALL", keep(3))
    test(f"factory_{op}", make + after, list(INITS.values())[:-2], value=(0, 1, 50), gas=(6_000_000,))
    test(f"factory_twice_{op}", make + asm("POP") + make + after, list(INITS.values())[:6], gas=(6_000_000,))
    test(f"factory_long_{op}", asm("0 CALLDATALOAD 0 0", op, keep(0)) if op == "CREATE" else asm("7 0 CALLDATALOAD 0 0", op, keep(0)), [word(n) for n in (49_152, 49_153, 2**40)], gas=(20_000_000,))
    test(f"factory_last_nonce_{op}", make + after, [INITS["stores"]], nonce=2**64 - 1)
test("factory_in_static", asm("0 0 0 0 0x0b GAS STATICCALL", keep(0)), others={at(0x0B): account(asm("0 0 0 CREATE"), nonce=1)})

# Destruction, in the transaction of creation and later.
test("destroyed", asm("0 CALLDATALOAD SELFDESTRUCT"), [word(int(kind, 16)) for kind in KINDS], storage={1: 1}, gas=(100_000, 28_000))
test("destroyed_by_delegate", asm("0 0 0 0 0x1006 GAS DELEGATECALL", keep(0)), others=callees, storage={1: 1})
child = asm("1 1 SSTORE 0x33ff 0 MSTORE 2 30 RETURN")
test("created_destroyed_paid", asm(int.from_bytes(child, "big"), f"0 MSTORE {len(child)} {32 - len(child)} 3 CREATE", "0 0 0 0 0 5 DUP7 GAS CALL POP" * 1,
                                   "DUP1 BALANCE", keep(0), "0 0 0 0 9", "DUP6 GAS CALL POP 0 0 0 0 9 DUP6 GAS CALL", keep(1), "DUP1 BALANCE", keep(2), "EXTCODESIZE", keep(3)))
test("destroyed_in_revert", asm("0 0 0 0 0 0x0b GAS CALL", keep(0)), others={at(0x0B): account(asm("0 0 0 0 0 0x1006 GAS CALL POP 0 0 REVERT"), nonce=1), **callees})

# Logs.
for n in range(5):
    test(f"logs_{n}", asm(TOP // 5, "0 MSTORE", *range(n, 0, -1), "32 CALLDATALOAD 0 CALLDATALOAD", f"LOG{n}"), [word(a) + word(b) for a, b in [(0, 0), (0, 32), (5, 70), (TOP, 0), (2**40, 1)]], gas=(100_000,))
test("logs_of_calls", asm("0 0 0 0 0 0x1004 GAS CALL POP 0 0 0 0 0x1004 GAS STATICCALL", keep(0), "0 0 0 0 0 0x0b GAS CALL POP 0 0 LOG0"),
     others={at(0x0B): account(asm("0 0 0 0 0 0x1004 GAS CALL POP 0 0 REVERT"), nonce=1), **callees})

# Precompiles.
P1 = word(1) + word(2)
N = 21888242871839275222246405745257275088696311157297823662689037894645226208583
G2 = b"".join(map(word, (11559732032986387107991004021392285783925812861821192530917403151452391805634, 10857046999023057135944570762232829481370756359578518086990519993285655852781,
                         4082367875863433681332203403145435568316851327593401208105741076214120093531, 8495653923123431417604973247489272438418190587263600148770280649306958101930)))
SIGNED = bytes.fromhex("456e9aea5e197a1f1af7a3e85a3212fa4049a3ba34c2289b4c860fc0b0c64ef3") + word(28) + bytes.fromhex(
    "9242685bf161793cc25603c231bc2f568eb630ea16aa137d2664ac80388256084f8ae3bd7535248d0bd448298cc2e2071e56992d0774dc340c368ae950852ada")
BLAKE = (12).to_bytes(4, "big") + bytes.fromhex(
    "48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b"
) + b"abc".ljust(128, b"\0") + b"\3".ljust(16, b"\0") + b"\1"
INFINITY = b"\xc0" + b"\0" * 47
KZG = b"\x01" + sha256(INFINITY).digest()[1:] + word(5) + word(0) + INFINITY + INFINITY
modexp = lambda b, e, m: word(len(b)) + word(len(e)) + word(len(m)) + b + e + m
INPUTS = {
    1: [SIGNED, SIGNED[:100], SIGNED[:63] + b"\x1d" + SIGNED[64:], b""], 2: [b"", b"abc", b"x" * 200], 3: [b"", b"abc", b"x" * 200], 4: [b"", b"abc" * 50],
    5: [b"", modexp(b"\x03", word(2**256 - 2**32 - 978), word(2**256 - 2**32 - 977)), modexp(b"", b"\x05", b"\x07"), modexp(b"\x02", b"", b"\x09"), modexp(b"\x02" * 70, b"\x03\x01", b"\xff" * 65), modexp(b"\x02", b"\x03", b"\0")],
    6: [b"", P1 + P1, P1, P1 + word(1) + word(N - 2), word(1) + word(1), word(N) + word(2)], 7: [b"", P1 + word(9), P1 + word(TOP), word(1) + word(3) + word(1)],
    8: [b"", P1 + G2, P1 + G2 + word(1) + word(N - 2) + G2, P1 + G2[:-1], P1 + G2[:-1] + b"\0"],
    9: [BLAKE, BLAKE[:-1] + b"\x02", BLAKE[:-1], b""], 10: [KZG, KZG[:-1], KZG[:63] + b"\x01" + KZG[64:], word(0) + KZG[32:]],
}
run = asm("32 CALLDATASIZE SUB 32 0 CALLDATACOPY 0 0 32 CALLDATASIZE SUB 0 0 CALLDATALOAD GAS STATICCALL", keep(0), "RETURNDATASIZE", keep(1),
          "RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 KECCAK256", keep(2))
for address, inputs in INPUTS.items():
    test(f"precompile_{address}", run, [word(address) + one for one in inputs], gas=(600_000, 90_000))

# What makes a transaction invalid, and what it costs to be valid.
test("nonce_too_high", None, to=at(0xEEEE), nonce_="0x01")
test("nonce_too_low", None, to=at(0xEEEE), sender=account(balance=10**18, nonce=2), nonce_="0x01")
test("fee_below_base", None, to=at(0xEEEE), gasPrice="0x09")
test("fee_cap_below_base", None, to=at(0xEEEE), maxFeePerGas="0x09", maxPriorityFeePerGas="0x00")
test("tip_above_cap", None, to=at(0xEEEE), maxFeePerGas="0x14", maxPriorityFeePerGas="0x15")
test("tip_cut", None, to=at(0xEEEE), maxFeePerGas="0x0b", maxPriorityFeePerGas="0x0b")
test("more_gas_than_a_block", None, to=at(0xEEEE), gas=(0x5F5E100, 0x5F5E101))
test("sender_with_code", None, to=at(0xEEEE), sender=account(asm("STOP"), balance=10**18))
test("cannot_pay", None, to=at(0xEEEE), sender=account(balance=21_000 * 15 + 3), gas=(21_000,), value=(0, 3, 4))
test("intrinsic_gas", asm("STOP"), [b"", b"\0" * 10, b"\1" * 10], gas=(21_000, 21_039, 21_040, 21_159, 21_160))
WARM = [{"address": at(0x1001), "storageKeys": [hexed(word(0))]}, {"address": TARGET, "storageKeys": [hexed(word(0)), hexed(word(0))]}]
test("access_list", asm("0 SLOAD POP 1 SLOAD POP 0x1001 BALANCE POP 0x1002 BALANCE POP 0 0 0 0 0 0x1001 GAS CALL GAS", keep(0)), [b""], gas=(200_000, 25_000, 31_000), accessLists=[WARM], others=callees)
BLOB = {"maxFeePerGas": "0x14", "maxPriorityFeePerGas": "0x01"}
HASH = lambda n: "0x01" + f"{n:062x}"
hashes = b"".join(asm(i, "BLOBHASH") + keep(i) for i in range(4)) + asm(TOP, "BLOBHASH", keep(9), "BLOBBASEFEE", keep(10))
for count in (1, 6, 7, 0):
    test(f"blobs_{count}", hashes, maxFeePerBlobGas="0x64", blobVersionedHashes=[HASH(n) for n in range(count)], gas=(400_000,), **BLOB)
test("blobs_cheap", hashes, maxFeePerBlobGas="0x01", blobVersionedHashes=[HASH(1)], gas=(400_000,), **BLOB)
test("blobs_of_another_version", hashes, maxFeePerBlobGas="0x64", blobVersionedHashes=["0x02" + "00" * 31], gas=(400_000,), **BLOB)
test("blobs_paid", hashes, maxFeePerBlobGas="0x64", blobVersionedHashes=[HASH(1)], gas=(400_000,), sender=account(balance=400_000 * 20 + 0x64 * 2**17 - 1), **BLOB)

# Programs of chance: a few operations, some of them calls of each other.
def chance(dice):
    out = b""
    for _ in range(dice.randrange(3, 14)):
        small = lambda n: dice.randrange(n)
        address = dice.choice([TARGET, at(0x0B), at(0x0C), SENDER, at(0xEEEE), at(small(10) + 1)])
        out += dice.choice([
            lambda: asm(small(3), small(5), "SSTORE"), lambda: asm(small(5), "SLOAD", small(5), "SSTORE"), lambda: asm("32 CALLDATALOAD 0 CALLDATALOAD SSTORE"),
            lambda: asm(small(3), 1, "TSTORE 1 TLOAD", small(9), "SSTORE"), lambda: asm(*[small(9)] * (k := small(5)), small(70), small(70), f"LOG{k}"),
            lambda: asm(dice.getrandbits(256), small(90), "MSTORE"), lambda: asm(small(90), small(90), "KECCAK256", small(9), "SSTORE"),
            lambda: asm(32, 0, small(70), 0, small(3), int(address, 16), dice.choice([3000, 50_000, 2**40]), dice.choice(["CALL", "CALLCODE"]), 20, "SSTORE"),
            lambda: asm(32, 0, small(70), 0, int(address, 16), "GAS", dice.choice(["STATICCALL", "DELEGATECALL"]), 21, "SSTORE"),
            lambda: asm(small(40), 0, small(2), "CREATE", 22, "SSTORE"), lambda: asm(small(3), small(40), 0, small(2), "CREATE2", 23, "SSTORE"),
            lambda: asm(dice.choice(FACTS), 24 + small(4), "SSTORE"), lambda: asm(int(address, 16), dice.choice(["BALANCE", "EXTCODEHASH"]), 30, "SSTORE"),
            lambda: asm(dice.getrandbits(dice.choice([8, 64, 256])), dice.getrandbits(dice.choice([8, 64, 256])), dice.choice("ADD MUL SUB DIV SMOD EXP SAR BYTE".split()), 31, "SSTORE"),
        ])()
    return out + dice.choice([asm("STOP")] * 4 + [asm("32 0 RETURN"), asm("3 0 REVERT"), asm("INVALID"), asm("CALLER SELFDESTRUCT"), b"\x0c"])


for seed in range(60):
    dice = random.Random(seed)
    others = {at(0x0B): account(chance(dice), balance=9, nonce=1, storage={1: 1}), at(0x0C): account(chance(dice), balance=9, nonce=1, storage={2: 2})}
    test(f"chance_{seed:02}", chance(dice), [b"", word(1) + word(0), word(2) + word(7)], gas=(300_000, 80_000), value=(1,), storage={0: 1, 1: 2}, others=others)


def fill(one, cache):
    """Runs every variant through the specification."""
    transaction = one["transaction"]
    variants = itertools.product(*(range(len(transaction[field])) for field in ("data", "gasLimit", "value")))
    for d, g, v in variants:
        tx = {key: value for key, value in transaction.items() if key not in ("data", "gasLimit", "value", "accessLists")}
        tx |= {"input": transaction["data"][d], "gas": transaction["gasLimit"][g], "value": transaction["value"][v]}
        if "accessLists" in transaction:
            tx["accessList"] = transaction["accessLists"][0]
        env = one["env"] | {"blockHashes": {"0": one["env"]["previousHash"]}, "withdrawals": []}
        text = StringIO(json.dumps({"env": env, "alloc": one["pre"], "txs": [tx]}))
        words = ["t8n", "--input.alloc", "stdin", "--input.env", "stdin", "--input.txs", "stdin", "--state.fork", FORK, "--state-test"]
        t8n = T8N(create_parser().parse_args(words), StringIO(), text, cache)
        signed = t8n.txs.transactions[0]
        raw = encode_transaction(signed)
        t8n.run_state_test()
        post = {"hash": hexed(t8n.result.state_root), "logs": hexed(t8n.result.logs_hash), "indexes": {"data": d, "gas": g, "value": v}}
        post["txbytes"] = hexed(raw if isinstance(raw, bytes) else rlp.encode(raw))
        if t8n.txs.rejected_txs:
            post["expectException"] = t8n.txs.rejected_txs[0].removeprefix("Failed transaction: ")
        one["post"][FORK].append(post)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with ForkCache() as cache:
        for name, one in TESTS.items():
            fill(one, cache)
            print(name, len(one["post"][FORK]), file=sys.stderr)
    # One test a line.
    lines = ",\n".join(json.dumps(name) + ":" + json.dumps(one, separators=(",", ":")) for name, one in sorted(TESTS.items()))
    print("{\n" + lines + "\n}")
