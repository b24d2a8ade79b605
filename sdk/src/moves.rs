//! Moves of the game as calls of the contract, and the contract's state and events as the game knows them.

use alloy::{
    primitives::{B256, Log, U256},
    sol_types::{SolCall, SolEventInterface},
};
use lockstep_contracts::Disputes;
use lockstep_dispute::{ChunkWitness, Move, OperandWitness, Phase, Posted, Side, State, UnitKind, pack, unpack};
use lockstep_ir::abi::Header;

/// A dispute as the contract holds it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its number.
    pub dispute_id: u64,
    /// Job, milestone and checkpoint in dispute.
    pub job_id: u64,
    /// Which milestone.
    pub milestone: u32,
    /// Which checkpoint of the milestone.
    pub checkpoint: u32,
    /// Who claims.
    pub defender: alloy::primitives::Address,
    /// Who disputes.
    pub challenger: alloy::primitives::Address,
    /// Hash of every move so far; the next move names it.
    pub position: B256,
    /// The game.
    pub state: State,
    /// When the side to move runs out of time, in seconds since 1970.
    pub deadline_s: u64,
}

/// Reads the contract's structure; `None` for codes that this build does not know.
#[must_use]
pub fn standing(dispute_id: u64, d: &Disputes::Dispute, deadline_s: u64) -> Option<Standing> {
    let state = State {
        phase: Phase::from_code(d.phase)?,
        turn: if d.turn == 0 { Side::Defender } else { Side::Challenger },
        defender_clock_s: d.defenderClockS,
        challenger_clock_s: d.challengerClockS,
        turn_started_s: d.turnStartedS,
        before_root: d.beforeRoot,
        after_root: d.afterRoot,
        first_step: d.firstStep,
        steps: d.steps,
        cursor: d.cursor,
        depth: d.depth,
        index: d.index,
        count: d.count,
        trace_root: d.traceRoot,
        node: d.node,
        node_hash: d.nodeHash,
        element_count: d.elementCount,
        element_size: d.elementSize,
        fold_length: d.foldLength,
        element: d.element,
        value: d.value,
        block_level: d.blockLevel,
        block_index: d.blockIndex,
        unit_kind: UnitKind::from_code(d.unitKind)?,
    };
    Some(Standing {
        dispute_id,
        job_id: d.jobId.saturating_to(),
        milestone: d.milestone,
        checkpoint: d.checkpoint,
        defender: d.defender,
        challenger: d.challenger,
        position: d.position,
        state,
        deadline_s,
    })
}

/// Collects what the defender posted from the dispute's logs, in order.
#[must_use]
pub fn posted<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Posted {
    use Disputes::DisputesEvents as E;
    let mut posted = Posted::default();
    for log in logs {
        match E::decode_log(log).map(|log| log.data) {
            Ok(E::StepsPosted(e)) => posted.state_roots = e.stateRoots,
            Ok(E::TracePosted(e)) => posted.trace_levels = vec![e.children],
            Ok(E::TensorPosted(e)) => posted.chunk_levels = vec![e.children],
            Ok(E::ChildrenPosted(e)) => {
                if let Some(phase) = Phase::from_code(e.phase) {
                    posted.record_children(phase, e.children);
                }
            }
            Ok(E::ChunkPosted(e)) => posted.chunk = e.chunk.to_vec(),
            Ok(E::BlocksPosted(e)) => posted.values = unpack(&e.values).unwrap_or_default(),
            _ => {}
        }
    }
    posted
}

fn header(h: &Header) -> Disputes::Header {
    Disputes::Header {
        version: h.version,
        nodeCount: h.nodeCount,
        stateCount: h.stateCount,
        dataCount: h.dataCount,
        nodesRoot: h.nodesRoot,
        stateDeclsRoot: h.stateDeclsRoot,
        dataDeclsRoot: h.dataDeclsRoot,
    }
}

fn operand(w: OperandWitness) -> Disputes::OperandWitness {
    let chunk = |c: ChunkWitness| Disputes::ChunkWitness { index: c.index, data: c.data.into(), proof: c.proof };
    Disputes::OperandWitness {
        merkleRoot: w.merkle_root,
        rootProof: w.root_proof,
        chunks: w.chunks.into_iter().map(chunk).collect(),
    }
}

/// A call with its name, ready to send.
#[derive(Clone, Debug)]
pub struct MoveCall {
    /// Name of the function.
    pub name: &'static str,
    /// Calldata.
    pub calldata: Vec<u8>,
}

fn encoded<C: SolCall>(call: &C) -> MoveCall {
    MoveCall { name: C::SIGNATURE.split('(').next().unwrap_or(C::SIGNATURE), calldata: call.abi_encode() }
}

/// The call that makes `mv` in dispute `dispute_id` at `position`.
#[must_use]
pub fn call(dispute_id: u64, position: B256, program: &Header, mv: Move) -> MoveCall {
    let id = U256::from(dispute_id);
    let header = header(program);
    match mv {
        Move::PostSteps { state_roots } => {
            encoded(&Disputes::postStepsCall { disputeId: id, position, stateRoots: state_roots })
        }
        Move::PostTrace { trace_root, children } => {
            encoded(&Disputes::postTraceCall { disputeId: id, position, header, traceRoot: trace_root, children })
        }
        Move::PostChildren { children } => encoded(&Disputes::postChildrenCall { disputeId: id, position, children }),
        Move::PostTensor { node, node_proof, merkle_root, children } => encoded(&Disputes::postTensorCall {
            disputeId: id,
            position,
            header,
            node: node.into(),
            nodeProof: node_proof,
            merkleRoot: merkle_root,
            children,
        }),
        Move::PostChunk { chunk } => encoded(&Disputes::postChunkCall { disputeId: id, position, chunk: chunk.into() }),
        Move::PostBlocks { values } => {
            encoded(&Disputes::postBlocksCall { disputeId: id, position, values: pack(&values).into() })
        }
        pointer => point(id, position, header, pointer),
    }
}

fn point(id: U256, position: B256, header: Disputes::Header, mv: Move) -> MoveCall {
    match mv {
        Move::PointStep { part, before_root, before_proof, after_root, after_proof } => {
            encoded(&Disputes::pointStepCall {
                disputeId: id,
                position,
                part,
                beforeRoot: before_root,
                beforeProof: before_proof,
                afterRoot: after_root,
                afterProof: after_proof,
            })
        }
        Move::PointChild { child, hash, proof } => {
            encoded(&Disputes::pointChildCall { disputeId: id, position, child, hash, proof })
        }
        Move::PointState => encoded(&Disputes::pointStateCall { disputeId: id, position, header }),
        Move::PointElement { element, chunk } => {
            encoded(&Disputes::pointElementCall { disputeId: id, position, element, chunk: chunk.into() })
        }
        Move::PointBlock { child, values } => encoded(&Disputes::pointBlockCall {
            disputeId: id,
            position,
            child: child.unwrap_or(u32::MAX),
            values: pack(&values).into(),
        }),
        judgement => judge(id, position, header, judgement),
    }
}

fn judge(id: U256, position: B256, header: Disputes::Header, mv: Move) -> MoveCall {
    match mv {
        Move::Judge { node, values, witness } => encoded(&Disputes::judgeCall {
            disputeId: id,
            position,
            header,
            node: node.into(),
            values: pack(&values).into(),
            witness: witness.into_iter().map(operand).collect(),
        }),
        Move::JudgeState { decl, decl_proof, source_root, source_proof } => {
            let decl = decl.to_sol();
            encoded(&Disputes::judgeStateCall {
                disputeId: id,
                position,
                header,
                decl: Disputes::StateDecl {
                    dtype: decl.dtype,
                    shape: decl.shape,
                    source: decl.source,
                    index: decl.index,
                },
                declProof: decl_proof,
                sourceRoot: source_root,
                sourceProof: source_proof,
            })
        }
        // Every other move was taken by the callers above.
        _ => encoded(&Disputes::timeoutCall { disputeId: id, position }),
    }
}

/// One line on what a move posts, points at or proves.
#[must_use]
pub fn describe(mv: &Move) -> String {
    match mv {
        Move::PostSteps { state_roots } => format!("{} state roots across the segment", state_roots.len()),
        Move::PostTrace { children, .. } => format!("trace root and {} hashes under it", children.len()),
        Move::PostChildren { children } => format!("{} hashes of the next level", children.len()),
        Move::PostTensor { node, children, .. } => {
            format!("the node ({} bytes) and {} chunk hashes of its output", node.len(), children.len())
        }
        Move::PostChunk { chunk } => format!("the chunk, {} bytes", chunk.len()),
        Move::PostBlocks { values } => format!("{} block results of the fold", values.len()),
        Move::PointStep { part, .. } => format!("part {part} is wrong"),
        Move::PointChild { child, .. } => format!("entry {child} is wrong"),
        Move::PointState => "all nodes are right, the state after the step is not".into(),
        Move::PointElement { element, .. } => format!("element {element} is wrong"),
        Move::PointBlock { child: Some(child), .. } => format!("block {child} is wrong"),
        Move::PointBlock { child: None, .. } => "the blocks are right, what follows from them is not".into(),
        Move::Judge { witness, .. } => {
            let chunks: usize = witness.iter().map(|w| w.chunks.len()).sum();
            format!("witness: {chunks} operand chunks with proofs")
        }
        Move::JudgeState { .. } => "witness: the declaration and the tensor it names".into(),
        Move::Timeout => "the side to move let its time run out".into(),
    }
}
