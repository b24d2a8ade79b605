//! Bytes are refused, or encode back to themselves and survive the text form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep_ir::{Node, Program, validate};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(node) = Node::decode(bytes) {
        assert_eq!(node.encode(), bytes);
    }
    if let Ok(program) = Program::decode(bytes) {
        assert_eq!(program.encode(), bytes);
        assert_eq!(program.to_string().parse::<Program>().as_ref(), Ok(&program));
        _ = validate(&program);
    }
});
