//! Units of models, judged: the referee's gas as a transaction, and what `Disputes.judge` adds to it.

use alloy_sol_types::SolCall;
use lockstep_bench::Record;
use lockstep_contracts::Referee::{self, ChunkWitness, Inputs, OperandWitness, Unit, recomputeCall};
use lockstep_dispute::{UnitKind, pack, referee};
use lockstep_ir::{
    DType, Order, Program, Source,
    build::{NodeBuilder, k, o},
    expr::{acc, f, load, rhs},
    judge::{DISPUTE_GAS, MAX_UNIT_GAS},
    program::{level_count, top_level},
    validate,
};
use lockstep_train::{JobFile, TrainingJob};

use crate::{
    common::Deployed,
    gpt2::{Model, Named, gpt2},
    small::{cnn, int8},
    sparse::stored,
    step::Around,
};

/// Promised for a dense block of 256 products with rows that begin at a chunk.
pub(crate) const DENSE_BLOCK_GAS: u64 = 250_000;

/// A unit that was judged, and what it took.
pub(crate) struct Judged {
    pub(crate) name: String,
    /// The referee's call alone, as a transaction, under Granite's rules.
    pub(crate) gas: u64,
    /// What a transaction with this data costs at least since Prague (Isthmus).
    pub(crate) floor: u64,
    /// The validator's bound for the node.
    pub(crate) bound: u64,
}

/// A product of matrices of 64 rows of 1,024, and nothing else.
fn dense() -> Model {
    let mut n = Named::new();
    let [a, b] = [n.p.state(DType::F32, &[64, 1024]), n.p.data(DType::F32, &[64, 1024])];
    n.p.keep(&a);
    let node = NodeBuilder::new(DType::F32, &[64, 64]).operand(a.at([o(0), k(0)])).operand(b.at([o(1), k(0)]));
    let node = node.fold(&[1024], Order::Chain, f(0.0), load(0).fma(&load(1), &acc())).combine(acc() + rhs());
    n.node("product of 64 × 1,024", node.finish(acc())).unwrap();
    n.build("dense").unwrap()
}

/// The training job of the demo.
fn digits() -> Model {
    let job = TrainingJob::new(&JobFile::default()).unwrap();
    let mut kinds: Vec<(String, u32)> = vec![];
    for (index, name) in job.node_names.iter().enumerate() {
        if !kinds.iter().any(|kind| kind.0 == *name) {
            kinds.push((name.clone(), index as u32));
        }
    }
    Model { name: "digits MLP", program: job.program, kinds }
}

/// Some unit in the middle of every kind of node.
pub(crate) fn judgements() -> Vec<Judged> {
    let mut referee = Deployed::new("Referee", &Referee::DEPLOYED_BYTECODE);
    let models = [dense(), digits(), cnn().unwrap(), gpt2().unwrap(), int8().unwrap()];
    models.iter().flat_map(|model| of_model(&mut referee, model)).collect()
}

fn of_model(referee: &mut Deployed, model: &Model) -> Vec<Judged> {
    let bounds: Vec<u64> = validate(&model.program).unwrap().iter().map(|cost| cost.gas).collect();
    let mut judged = vec![];
    for (kind, node) in &model.kinds {
        let descriptor = &model.program.nodes[*node as usize];
        let length = descriptor.fold_length();
        let element = descriptor.out.elements().unwrap() / 2;
        let units: &[(UnitKind, &str)] = if length <= 256 {
            &[(UnitKind::Element, "an element")]
        } else {
            &[(UnitKind::Leaf, "a leaf block"), (UnitKind::Top, "the top")]
        };
        for &(unit_kind, words) in units {
            let unit = referee::Unit { kind: unit_kind, element, block_index: length / 256 / 2 };
            let (gas, floor) = judge(referee, &model.program, *node, &unit);
            let name = format!("{}: {kind}, {words}", model.name);
            judged.push(Judged { name, gas, floor, bound: bounds[*node as usize] });
        }
    }
    judged
}

fn judge(evm: &mut Deployed, program: &Program, node: u32, unit: &referee::Unit) -> (u64, u64) {
    let descriptor = &program.nodes[node as usize];
    let around = Around::new(program, node, unit, &[]);
    let values: Vec<u32> = match (unit.kind, &descriptor.fold) {
        (UnitKind::Top, Some(_)) => {
            let length = descriptor.fold_length();
            let decl = &lockstep_ir::TensorDecl { dtype: DType::F32, shape: vec![256] };
            (0..level_count(length, top_level(length))).map(|i| stored(decl, Source::Node(node), i)).collect()
        }
        _ => vec![],
    };
    let inputs = Inputs {
        stateRoot: around.state.root(),
        dataRoot: around.data.root(),
        traceRoot: around.trace.root(),
        stateCount: program.state.len() as u32,
        dataCount: program.data.len() as u32,
        nodeCount: program.nodes.len() as u32,
    };
    let call = recomputeCall {
        node: descriptor.encode().into(),
        inputs,
        unit: Unit { kind: unit.kind as u8, element: unit.element, blockIndex: unit.block_index },
        values: pack(&values).into(),
        witness: around.witness().into_iter().map(operand).collect(),
    };
    let (result, gas) = evm.call(&call);
    let words = |revert| panic!("node {node} of {} nodes, {unit:?}: {revert}", program.nodes.len());
    assert_eq!(result.unwrap_or_else(words), around.value(unit, &values), "node {node}, {unit:?}");
    let data = call.abi_encode();
    let zeros = data.iter().filter(|&&byte| byte == 0).count() as u64;
    (gas, 21_000 + 10 * (zeros + 4 * (data.len() as u64 - zeros)))
}

fn operand(w: lockstep_dispute::OperandWitness) -> OperandWitness {
    let chunk =
        |c: lockstep_dispute::ChunkWitness| ChunkWitness { index: c.index, data: c.data.into(), proof: c.proof };
    OperandWitness {
        merkleRoot: w.merkle_root,
        rootProof: w.root_proof,
        chunks: w.chunks.into_iter().map(chunk).collect(),
    }
}

/// The limits are those of docs/protocol.md, section 2.3.
pub(crate) fn records() -> Vec<Record> {
    let of = |unit: &Judged| {
        let record =
            |case: String, gas: u64, limit: u64| Record::new("gas", case, "gas", gas as f64).of_limit(limit as f64);
        if unit.name.starts_with("dense: ") {
            return vec![record(format!("{}, referee alone", unit.name), unit.gas, DENSE_BLOCK_GAS)];
        }
        let mut records = vec![record(unit.name.clone(), unit.gas + DISPUTE_GAS, MAX_UNIT_GAS)];
        if unit.floor > unit.gas + DISPUTE_GAS {
            records.push(record(format!("{}, Isthmus", unit.name), unit.floor, MAX_UNIT_GAS));
        }
        records.push(record(format!("{}, bound", unit.name), unit.bound, MAX_UNIT_GAS));
        records
    };
    judgements().iter().flat_map(of).collect()
}
