//! The decoder takes what the encoder gives, and nothing else; hostile bytes cost no more than their length.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use lockstep_ir::{
    Node, Program,
    abi::{DecodeError, MAX_ENCODED_BYTES},
    sample::{Rng, any_program, valid_program},
    scalar::{Instr, Op, WordError},
};

fn sample(rng: &mut Rng) -> Program {
    if rng.once_in(2) { any_program(rng) } else { valid_program(rng, 2, 50) }
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let mut rng = Rng::new(5);
    for _ in 0..2_000 {
        let program = sample(&mut rng);
        assert_eq!(Program::decode(&program.encode()), Ok(program.clone()));
        for node in &program.nodes {
            assert_eq!(Node::decode(&node.encode()), Ok(node.clone()));
        }
    }
}

/// Changes a few places, words more often than bytes, for offsets and lengths are words.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let words = bytes.len() as u64 / 32;
        if words < 2 {
            return;
        }
        let at = rng.below(words) as usize * 32;
        match rng.below(9) {
            0 => bytes[at + rng.clone().below(32) as usize] ^= 1 << rng.below(8),
            1 => bytes[at + 31] ^= 1 << rng.below(8),
            2 => bytes[at + 31] = bytes[at + 31].wrapping_add(rng.pick(&[1, 255, 32, 224])),
            3 => bytes[at..at + 32].fill(rng.pick(&[0, 0xff])),
            4 => {
                let from = rng.below(words) as usize * 32;
                bytes.copy_within(from..from + 32, at);
            }
            5 => bytes.truncate(rng.below(bytes.len() as u64) as usize),
            6 => bytes.extend_from_slice(&[0; 32][..1 + rng.below(32) as usize]),
            7 => _ = bytes.drain(at..at + 32),
            _ => {
                let word: Vec<u8> = bytes[at..at + 32].to_vec();
                bytes.splice(at..at, word);
            }
        }
    }
}

#[test]
fn changed_bytes_are_refused_or_encode_back() {
    let mut rng = Rng::new(6);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let program = sample(&mut rng);
        let encoded = program.encode();
        for _ in 0..10 {
            let mut bytes = encoded.clone();
            mutate(&mut rng, &mut bytes);
            match Program::decode(&bytes) {
                Ok(program) => {
                    assert_eq!(program.encode(), bytes);
                    taken += usize::from(bytes != encoded);
                }
                Err(_) => refused += 1,
            }
        }
        for node in &program.nodes {
            let mut bytes = node.encode();
            mutate(&mut rng, &mut bytes);
            if let Ok(node) = Node::decode(&bytes) {
                assert_eq!(node.encode(), bytes);
            }
        }
    }
    println!("{taken} changed encodings taken, {refused} refused");
    assert!(taken > 500 && refused > 10_000, "both happen: {taken}, {refused}");
}

#[test]
fn noise_is_refused() {
    let mut rng = Rng::new(7);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.below(600)).map(|_| if rng.once_in(3) { rng.bits() as u8 } else { 0 }).collect();
        assert!(Program::decode(&bytes).is_err() && Node::decode(&bytes).is_err());
    }
}

/// The process's largest size so far, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Every word in turn becomes each of these lengths: as a length, a count, or an offset.
#[cfg(target_os = "linux")]
#[test]
fn a_huge_length_allocates_nothing() {
    let program = valid_program(&mut Rng::new(8), 3, 50);
    let node = program.nodes[0].encode();
    let program = program.encode();
    let before = peak();
    for length in [1 << 20, 1 << 25, (1 << 32) - 1, 1 << 40, u64::MAX >> 1, u64::MAX] {
        for at in (0..program.len()).step_by(32) {
            let mut bytes = program.clone();
            bytes[at + 24..at + 32].copy_from_slice(&u64::to_be_bytes(length));
            _ = Program::decode(&bytes);
        }
        for at in (0..node.len() - 32).step_by(32) {
            let mut bytes = node.clone();
            bytes[at + 24..at + 32].copy_from_slice(&u64::to_be_bytes(length));
            _ = Node::decode(&bytes);
        }
    }
    // 2^20 of the smallest things is 32 MiB at least, 2^25 a gigabyte; threads of other tests need some room.
    assert!(peak() - before < 400 << 20, "{} bytes", peak() - before);
}

/// Many offsets that name the same bytes would decode to far more than the input; the strict decoder refuses the second.
#[cfg(target_os = "linux")]
#[test]
fn shared_tails_are_refused() {
    let word = |n: u64| [[0; 24].as_slice(), &n.to_be_bytes()].concat();
    // (version, state, data, nodes): no state, no data, 10,000 nodes that all name one long byte string.
    let (nodes, long) = (10_000u64, 1 << 20);
    let head = [0x20, 1, 0x80, 0xa0, 0xc0, 0, 0, nodes].map(word).concat();
    let offsets: Vec<u8> = (0..nodes).flat_map(|_| word(nodes * 32)).collect();
    let tail = [word(long), vec![0; long as usize]].concat();
    let bytes = [head, offsets, tail].concat();
    let before = peak();
    let start = std::time::Instant::now();
    assert!(matches!(Program::decode(&bytes), Err(DecodeError::Abi { what: "program", .. })));
    assert!(peak() - before < 400 << 20 && start.elapsed().as_secs() < 5);
}

#[test]
fn a_large_program_fits_the_decoder() {
    let mut program = valid_program(&mut Rng::new(9), 1, 50);
    let node = program.nodes[0].clone();
    program.nodes = vec![node; 8_000];
    program.nodes[0].operands = vec![program.nodes[0].operands.first().cloned().unwrap_or_else(any_operand); 4_000];
    let encoded = program.encode();
    assert_eq!(Program::decode(&encoded).as_ref(), Ok(&program));
}

fn any_operand() -> lockstep_ir::Operand {
    let mut rng = Rng::new(10);
    loop {
        if let Some(op) = any_program(&mut rng).nodes.first().and_then(|n| n.operands.first().cloned()) {
            return op;
        }
    }
}

/// The base of the named cases: a map with one operand and two instructions.
fn base() -> Program {
    let text = "lockstep program 1 state s0 f32[2] next n0 node n0 f32[2]
        { operand 0 s0 f32[2] at (o0) finish { v0 = load 0 v1 = f32 0x3f800000 v2 = fadd v0 v1 } }";
    text.parse().unwrap()
}

/// The base's encoding with the first place of `from` overwritten.
fn with_node(change: impl Fn(&mut Vec<u8>)) -> Result<Node, DecodeError> {
    let mut bytes = base().nodes[0].encode();
    change(&mut bytes);
    Node::decode(&bytes)
}

#[test]
fn every_error_has_its_cause() {
    // A node's words: offset; dtype, shape, domain, fold, order, accType, init, operands, body, combine, finish; …
    let word = |n: usize| n * 32 + 31;
    let unknown = |field, code| Err(DecodeError::UnknownCode { field, code });
    assert_eq!(with_node(|b| b[word(1)] = 5), unknown("node.dtype", 5));
    assert_eq!(with_node(|b| b[word(5)] = 1), Err(DecodeError::MapWithFold("order")));
    assert_eq!(with_node(|b| b[word(6)] = 1), Err(DecodeError::MapWithFold("accType")));
    assert_eq!(with_node(|b| b[word(7)] = 1), Err(DecodeError::MapWithFold("init")));
    assert!(matches!(with_node(|b| b[word(0)] = 0x40), Err(DecodeError::Abi { what: "node", .. })));
    assert!(matches!(with_node(|b| b[word(1) - 1] = 1), Err(DecodeError::Abi { what: "node", .. })), "dirty bits");
    assert!(matches!(with_node(|b| b.push(0)), Err(DecodeError::Abi { what: "node", .. })), "a byte too many");

    // The finish is the last part: its length, and 24 bytes in one word.
    let code = |at: usize| {
        move |b: &mut Vec<u8>| {
            let start = b.len() - 32;
            b[start + at] = 0xee;
        }
    };
    let word_error = |source| Err(DecodeError::Word { field: "finish", source });
    assert_eq!(with_node(code(0)), word_error(WordError::UnknownOp { at: 0, code: 0xee }));
    assert_eq!(with_node(code(1)), word_error(WordError::UnusedField { at: 0, op: "load" }), "a tag");
    assert_eq!(with_node(code(5)), word_error(WordError::UnusedField { at: 0, op: "load" }));
    assert_eq!(with_node(code(9)), word_error(WordError::UnusedField { at: 1, op: "const" }), "an unknown type");
    assert_eq!(with_node(code(11)), word_error(WordError::UnusedField { at: 1, op: "const" }));
    assert_eq!(with_node(code(23)), word_error(WordError::UnusedField { at: 2, op: "fadd" }));
    assert!(with_node(code(12)).is_ok(), "a constant's bits are free");
    assert!(matches!(with_node(code(24)), Err(DecodeError::Abi { .. })), "padding");
    let length = |n: u8| {
        with_node(move |b| {
            let at = b.len() - 33;
            b[at] = n;
        })
    };
    assert!(matches!(length(25), Err(DecodeError::Word { source: WordError::Length(25), .. })), "{:?}", length(25));

    let mut long = base();
    long.nodes[0].finish = vec![Instr::op(Op::K, 0, 0, 0); 513];
    assert_eq!(Node::decode(&long.nodes[0].encode()), word_error(WordError::TooLong(513)));
    let inner = DecodeError::Word { field: "finish", source: WordError::TooLong(513) };
    assert_eq!(Program::decode(&long.encode()), Err(DecodeError::Node { index: 0, source: inner.into() }));

    let mut version = base().encode();
    version[word(1)] = 2;
    assert_eq!(Program::decode(&version), Err(DecodeError::Version { got: 2 }));
    let mut source = base().encode();
    // state: length 1, offset, dtype, shape offset, source, index.
    source[word(5 + 2 + 2)] = 3;
    assert_eq!(Program::decode(&source), Err(DecodeError::UnknownCode { field: "state.source", code: 3 }));
    assert_eq!(Program::decode(&vec![0; MAX_ENCODED_BYTES + 1]), Err(DecodeError::TooLong(MAX_ENCODED_BYTES + 1)));
    assert!(Program::decode(&[]).is_err());
}

#[test]
fn a_fold_of_unknown_order_is_refused() {
    let text = "node f32[] { fold [2] chain from f32 0x0 body { v0 = acc } finish { v0 = acc } }";
    let bytes = text.parse::<Node>().unwrap().encode();
    for (at, field) in [(5, "order"), (6, "accType")] {
        let mut bytes = bytes.clone();
        bytes[at * 32 + 31] = 3;
        assert_eq!(Node::decode(&bytes), Err(DecodeError::UnknownCode { field, code: 3 }));
    }
}
