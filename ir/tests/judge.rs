//! The validator's worst case of chunks against what units really read.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use lockstep_ir::{
    Node, Program, Tensor,
    eval::{self, Operands, Recorder, Unit},
    judge::{self, DISPUTE_GAS, MAX_UNIT_GAS, Sources},
    program::{BLOCK, level_count},
    sample::{Rng, tensors, valid_program},
    scalar::{Instr, Op},
    validate,
    validate::{Invalid, Rule},
};

/// Most chunks that a unit of this node reads, over all elements and blocks.
fn actual(node: &Node, operands: &[&Tensor]) -> u64 {
    let mut most = 0;
    let mut of = |index, unit: Unit| {
        let mut recorder = Recorder::new(node, operands);
        eval::unit(node, &mut recorder, index, &unit);
        most = most.max(recorder.chunks.len() as u64);
    };
    let k = node.fold_length();
    for index in 0..lockstep_ir::types::element_count(&node.out.shape).unwrap() {
        if k <= BLOCK {
            of(index, Unit::Element);
        } else {
            (0..level_count(k, 1)).for_each(|block| of(index, Unit::Leaf(block)));
            of(index, Unit::Top(vec![0; level_count(k, 1).min(BLOCK) as usize]));
        }
    }
    most
}

fn actual_of_all(program: &Program, state: &[Tensor], data: &[Tensor]) -> Vec<u64> {
    let trace = eval::step(program, state, data).unwrap().trace;
    let of = |node: &Node| {
        let operands: Vec<&Tensor> =
            node.operands.iter().map(|op| eval::resolve(op.source, state, data, &trace)).collect();
        actual(node, &operands)
    };
    program.nodes.iter().map(of).collect()
}

#[test]
fn no_unit_of_a_random_node_reads_more_than_the_worst_case() {
    let mut rng = Rng::new(11);
    let (mut nodes, mut exact, mut folded, mut many) = (0, 0, 0, 0);
    for _ in 0..250 {
        let program = valid_program(&mut rng, 4, 20_000);
        let costs = validate(&program).unwrap();
        let (state, data) = tensors(&mut rng, &program);
        for ((node, cost), got) in program.nodes.iter().zip(&costs).zip(actual_of_all(&program, &state, &data)) {
            assert!(got <= cost.chunks, "{got} chunks read, {} foreseen:\n{node}", cost.chunks);
            nodes += 1;
            exact += u32::from(got == cost.chunks);
            folded += u32::from(node.fold.is_some());
            many += u32::from(cost.chunks > 4);
        }
    }
    println!("{nodes} nodes, {folded} with a fold, {many} with more than 4 chunks, {exact} exact");
    assert!(folded > nodes / 3 && many > nodes / 50, "the nodes are varied");
    // Bounds tests, few elements and few gathered values leave room below the worst case.
    assert!(exact > nodes / 2, "{exact} of {nodes}");
}

/// Cost of the first node of this program, or the rule it breaks, and what its units read if the tensors fit a test.
fn node(text: &str) -> (Result<u64, Rule>, u64) {
    let program: Program = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    match validate(&program) {
        Err(Invalid::Node { rule, .. }) => (Err(rule), 0),
        Err(other) => panic!("{other}"),
        Ok(costs) => {
            let (state, data) = tensors(&mut Rng::new(3), &program);
            (Ok(costs[0].chunks), actual_of_all(&program, &state, &data)[0])
        }
    }
}

/// A fold of the product of two operands.
fn product(out: &str, fold: &str, [a, b]: [(&str, &str); 2]) -> (Result<u64, Rule>, u64) {
    let combine = "combine { v0 = acc v1 = rhs v2 = fadd v0 v1 }";
    node(
        &format!(
            "lockstep program 1 state s0 f32[] next s0 data d0 {a} data d1 {b}
         node n0 f32{out} {{ fold {fold} lanes from f32 0 operand 0 d0 {a} at {at_a} operand 1 d1 {b} at {at_b}
         body {{ v0 = load 0 v1 = load 1 v2 = acc v3 = fma v0 v1 v2 }} {combine} finish {{ v0 = acc }} }}",
            a = a.0,
            at_a = a.1,
            b = b.0,
            at_b = b.1,
        )
        .replace("f32 0 operand", "f32 0x0 operand"),
    )
}

#[test]
fn common_shapes_are_exact() {
    let rows = ("f32[4,512]", "(o0, k0)");
    let short = ("f32[4,64]", "(o0, k0)");
    let whole = ("f32[512]", "(k0)");
    for (what, got, want) in [
        ("aligned rows", product("[4]", "[512]", [rows, whole]), 2),
        ("rows that divide a chunk", product("[4]", "[64]", [short, ("f32[64]", "(k0)")]), 2),
        ("rows of 300", product("[64]", "[300]", [("f32[64,300]", "(o0, k0)"), ("f32[300]", "(k0)")]), 3),
        ("rows that start one off", product("[4]", "[511]", [("f32[4,512]", "(o0, k0+1)"), whole]), 3),
        ("rows read backwards", product("[4]", "[512]", [("f32[4,512]", "(o0, 511-k0)"), whole]), 2),
        ("half precision", product("[4]", "[512]", [("bf16[4,512]", "(o0, k0)"), whole]), 2),
        ("every second value", product("[4]", "[256]", [("f32[4,512]", "(o0, k0*2)"), whole]), 3),
        (
            "a 3 by 3 window, channels last",
            product("[16,16]", "[3,3,16]", [("f32[18,18,16]", "(o0+k0, o1+k1, k2)"), ("f32[3,3,16]", "(k0, k1, k2)")]),
            5,
        ),
        (
            "the same, padded",
            product(
                "[18,18]",
                "[3,3,16]",
                [("f32[18,18,16]", "(o0+k0-1, o1+k1-1, k2)"), ("f32[3,3,16]", "(k0, k1, k2)")],
            ),
            5,
        ),
        (
            "a sum over two outer axes with an inner one fixed",
            product("[4]", "[3,5]", [("f32[3,5,4]", "(k0, k1, o0)"), ("f32[15]", "(k0*5+k1)")]),
            2,
        ),
    ] {
        let (worst, read) = got;
        assert_eq!((worst, read), (Ok(want), want), "{what}");
    }
}

#[test]
fn later_blocks_may_start_elsewhere_in_a_chunk() {
    // 1,024 bytes make a chunk. Every third of 3,072: the first block spans 766 bytes of one chunk, the second begins at 768.
    let sum = |at: &str| {
        node(&format!(
            "lockstep program 1 state s0 i8[3072] next s0 node n0 i32[] {{ fold [1024] chain from i32 0 operand 0 s0 i8[3072] at ({at})
             body {{ v0 = load 0 v1 = acc v2 = add v0 v1 }} combine {{ v0 = acc v1 = rhs v2 = add v0 v1 }} finish {{ v0 = acc }} }}"
        ))
    };
    assert_eq!(sum("k0*3"), (Ok(2), 2));
    assert_eq!(sum("k0"), (Ok(1), 1), "four blocks in each chunk");
}

#[test]
fn transposed_access_is_refused() {
    let column = product("[4]", "[512]", [("f32[512,512]", "(k0, o0)"), ("f32[512]", "(k0)")]);
    assert_eq!(column.0, Err(Rule::Chunks { got: 257 }));
    // Up to 16 chunks in all it is not: 15 columns of rows of one chunk.
    let short = product("[256]", "[15]", [("f32[15,256]", "(k0, o0)"), ("f32[15]", "(k0)")]);
    assert_eq!(short, (Ok(16), 16));
    let long = product("[256]", "[16]", [("f32[16,256]", "(k0, o0)"), ("f32[16]", "(k0)")]);
    assert_eq!(long.0, Err(Rule::Chunks { got: 17 }));
    // A small matrix is one chunk however it is read.
    let small = product("[16]", "[16]", [("f32[16,16]", "(k0, o0)"), ("f32[16]", "(k0)")]);
    assert_eq!(small, (Ok(2), 2));
}

#[test]
fn gathered_rows_cost_what_contiguous_rows_cost() {
    let gathered = |index: &str, data: &str, row: u32| {
        node(&format!(
            "lockstep program 1 state s0 u32[64] next s0 data d0 {data}
             node n0 f32[64] {{ fold [{row}] chain from f32 0x0 operand 0 s0 u32[64] at ({index}) operand 1 d0 {data} at (gather(0), k0)
             body {{ v0 = load 1 v1 = acc v2 = fadd v0 v1 }} finish {{ v0 = acc }} }}"
        ))
    };
    assert_eq!(gathered("o0", "f32[32,256]", 256), (Ok(2), 2));
    assert_eq!(gathered("o0", "f32[32,100]", 100), (Ok(3), 3));
    assert_eq!(
        gathered("o0", "i8[32,64]", 64).0,
        Err(Rule::Type {
            program: "body",
            at: 2,
            op: "fadd",
            expected: lockstep_ir::Ty::F32,
            got: lockstep_ir::Ty::I32,
        })
    );
    // An index for every k: every read may lie in another chunk, as far as there are chunks.
    assert_eq!(gathered("k0", "f32[32,64]", 64).0, Ok(1 + 8));
    assert_eq!(gathered("k0", "f32[64,64]", 64).0, Err(Rule::Chunks { got: 17 }));
}

#[test]
fn a_unit_that_folds_and_finishes_counts_both() {
    let text = |k: u32, op: &str| {
        format!(
            "lockstep program 1 state s0 f32[{k}] next s0 data d0 f32[] data d1 f32[]
             node n0 f32[] {{ fold [{k}] lanes from f32 0x0 operand 0 s0 f32[{k}] at (k0) operand 1 d0 f32[] at () operand 2 d1 f32[] at ()
             body {{ v0 = load 0 v1 = load 1 v2 = acc v3 = fma v0 v1 v2 }} combine {{ v0 = acc v1 = rhs v2 = fadd v0 v1 }}
             finish {{ v0 = acc v1 = load {op} v2 = load 2 v3 = fma v0 v1 v2 }} }}"
        )
    };
    // One unit: what both load is read once.
    assert_eq!(node(&text(256, "1")), (Ok(3), 3));
    // A leaf block and the top are judged apart.
    assert_eq!(node(&text(1024, "1")), (Ok(2), 2));
}

#[test]
fn gas_is_that_of_the_dearest_unit() {
    let program: Program = "lockstep program 1 state s0 f32[512] next s0
        node n0 f32[] { fold [512] lanes from f32 0x0 operand 0 s0 f32[512] at (k0)
        body { v0 = load 0 v1 = acc v2 = fadd v0 v1 } combine { v0 = acc v1 = rhs v2 = fadd v0 v1 } finish { v0 = acc v1 = fsqrt v0 } }"
        .parse()
        .unwrap();
    let [cost] = validate(&program).unwrap()[..] else { panic!("one node") };
    assert_eq!(cost, judge::cost(&program.nodes[0], &Sources::of(&program)).unwrap());
    assert!((DISPUTE_GAS + 256 * Op::FAdd.gas()..MAX_UNIT_GAS).contains(&cost.gas), "{cost:?}");
    // The top is judged apart: more work there only makes the node longer.
    let mut longer = program.nodes[0].clone();
    longer.finish.push(Instr::op(Op::FSqrt, 1, 0, 0));
    let more = judge::cost(&longer, &Sources::of(&program)).unwrap();
    assert!(cost.gas < more.gas && more.gas < cost.gas + 300, "{cost:?}, {more:?}");
    // A longer proof of the root costs more.
    let wide = judge::cost(&program.nodes[0], &Sources { state: 65_536, data: 0, nodes: 1 }).unwrap();
    assert!(wide.gas > cost.gas + 16 * 512, "{wide:?}");
}

/// Reads the same bits everywhere.
struct Same(u32);

impl Operands for Same {
    fn stored(&mut self, _: usize, _: u64) -> u32 {
        self.0
    }
}

#[test]
fn extreme_indices_stay_in_bounds() {
    // Gathered values of every extreme, with the largest stride that the validator takes, in every direction.
    for stride in ["", "*2147483648", "*-2147483648"] {
        let term = stride.strip_prefix("*-").map_or(format!("gather(0){stride}"), |s| format!("-gather(0)*{s}"));
        for dtype in ["u32", "i32", "i8"] {
            let text = format!(
                "lockstep program 1 state s0 {dtype}[4] next s0 data d0 u32[2,3]
                 node n0 u32[4] {{ operand 0 s0 {dtype}[4] at (o0) operand 1 d0 u32[2,3] at ({term}, 2) finish {{ v0 = load 1 }} }}"
            );
            let program: Program = text.parse().unwrap();
            validate(&program).unwrap();
            for bits in [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let mut recorder = Recorder::new(&program.nodes[0], Same(bits));
                eval::unit(&program.nodes[0], &mut recorder, 3, &Unit::Element);
                assert!(recorder.chunks.len() <= 2);
            }
        }
    }
}
