//! Small jobs of every shape that matters to the game, run honestly or with faults.

use std::sync::Arc;

use lockstep_commit::{B256, ProgramTree, TensorTree, Tree};
use lockstep_dispute::layout::BlockList;
use lockstep_dispute::{Job, MemoryReplay, OutsideRun, Replay, TensorSet, Terms};
use lockstep_ir::build::{NodeBuilder, ProgramBuilder, TensorRef, at, gather, k, o};
use lockstep_ir::expr::{acc, coord, load, rhs, u};
use lockstep_ir::{DType, Node, Order, Program, SplitMix64, Tensor, eval};

/// Random numbers: every game can be played again from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(SplitMix64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn hash(&mut self) -> B256 {
        let mut hash = B256::ZERO;
        hash.as_mut_slice().chunks_mut(8).for_each(|part| part.copy_from_slice(&self.bits().to_le_bytes()));
        hash
    }
}

/// What a world looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: u32,
    pub(crate) states: u32,
    pub(crate) steps: u64,
    /// Fold lengths of the folding nodes, one in four nodes and always the last; empty for maps only.
    pub(crate) folds: &'static [u32],
    /// Elements of a map's output are 1 to this.
    pub(crate) elements: u64,
    /// The last node's output is `i8` with so many elements; 0 for no such node.
    pub(crate) last_elements: u32,
}

pub(crate) struct World {
    pub(crate) program: Program,
    pub(crate) hashes: ProgramTree,
    pub(crate) steps: u64,
    initial: Vec<Tensor>,
    data: Vec<Tensor>,
    pub(crate) honest: MemoryReplay,
}

/// Something a cheat did to its run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// One element of a node's output; later nodes read the wrong one, or still the right one.
    Element { step: u64, node: u32, element: u64, xor: u32, seen: bool },
    /// All of a node's output; later nodes read it.
    Garbage { step: u64, node: u32, seed: u64 },
    /// A state tensor after the step, not what its source gives.
    State { step: u64, tensor: u32, element: u64, xor: u32 },
}

impl World {
    pub(crate) fn new(shape: &Shape, seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let program = program(shape, rng);
        let initial = program.state.iter().map(|state| random(&state.decl, rng)).collect::<Vec<_>>();
        let data = program.data.iter().map(|decl| random(decl, rng)).collect::<Vec<_>>();
        let hashes = ProgramTree::new(&program);
        let honest = run(&program, &initial, &data, shape.steps, &[]);
        Self { program, hashes, steps: shape.steps, initial, data, honest }
    }

    pub(crate) fn job(&self) -> Job<'_> {
        Job { program: &self.program, hashes: &self.hashes }
    }

    pub(crate) fn terms(&mut self) -> Terms {
        let data_root = self.honest.roots(TensorSet::Data).unwrap().root();
        Terms { header: self.hashes.header().clone(), data_root, clock_s: 1000, grace_s: 100 }
    }

    pub(crate) fn with_faults(&self, faults: &[Fault]) -> MemoryReplay {
        run(&self.program, &self.initial, &self.data, self.steps, faults)
    }

    pub(crate) fn fault(&self, rng: &mut Rng) -> Fault {
        let step = rng.below(self.steps);
        let xor = 1 << rng.below(8);
        if rng.one_in(4) {
            let tensor = rng.below(self.program.state.len() as u64) as u32;
            let element = rng.below(self.program.state[tensor as usize].decl.elements().unwrap());
            return Fault::State { step, tensor, element, xor };
        }
        let node = rng.below(self.program.nodes.len() as u64) as u32;
        if rng.one_in(8) {
            return Fault::Garbage { step, node, seed: rng.bits() };
        }
        let element = rng.below(self.program.nodes[node as usize].out.elements().unwrap());
        Fault::Element { step, node, element, xor, seen: !rng.one_in(4) }
    }
}

fn random(decl: &lockstep_ir::TensorDecl, rng: &mut Rng) -> Tensor {
    let mut tensor = Tensor::zeros(decl.clone()).unwrap();
    tensor.bytes_mut().iter_mut().for_each(|byte| *byte = rng.bits() as u8);
    tensor
}

fn run(program: &Program, initial: &[Tensor], data: &[Tensor], steps: u64, faults: &[Fault]) -> MemoryReplay {
    let mut replay = MemoryReplay::new(initial.to_vec(), data.to_vec());
    let mut state = initial.to_vec();
    for at in 0..steps {
        let mut seen: Vec<Tensor> = vec![];
        let mut trace: Vec<Tensor> = vec![];
        for (index, node) in program.nodes.iter().enumerate() {
            let operand = |operand: &lockstep_ir::Operand| eval::resolve(operand.source, &state, data, &seen);
            let operands: Vec<&Tensor> = node.operands.iter().map(operand).collect();
            let right = eval::node(node, &operands).unwrap();
            let mut wrong = right.clone();
            let hidden = alter_output(faults, at, index as u32, &mut wrong);
            seen.push(if hidden { right } else { wrong.clone() });
            trace.push(wrong);
        }
        let next = program.state.iter().map(|decl| eval::resolve(decl.next, &state, data, &trace).clone());
        state = next.collect();
        for fault in faults {
            if let Fault::State { step, tensor, element, xor } = *fault
                && step == at
            {
                alter(&mut state[tensor as usize], element, xor);
            }
        }
        replay.push(trace, state.clone());
    }
    replay
}

/// Whether later nodes still read the right output.
fn alter_output(faults: &[Fault], at: u64, index: u32, output: &mut Tensor) -> bool {
    let mut hidden = false;
    for fault in faults {
        match *fault {
            Fault::Element { step, node, element, xor, seen } if (step, node) == (at, index) => {
                alter(output, element, xor);
                hidden = !seen;
            }
            Fault::Garbage { step, node, seed } if (step, node) == (at, index) => {
                let decl = output.decl().clone();
                *output = random(&decl, &mut Rng::new(seed));
            }
            _ => {}
        }
    }
    hidden
}

fn alter(tensor: &mut Tensor, element: u64, xor: u32) {
    let bits = tensor.stored(element);
    tensor.set_stored(element, bits ^ xor);
}

fn program(shape: &Shape, rng: &mut Rng) -> Program {
    let fold_of = |node: u32| {
        let folds = !shape.folds.is_empty() && (node % 4 == 3 || node + 1 == shape.nodes);
        folds.then(|| shape.folds[node as usize / 4 % shape.folds.len()])
    };
    let lengths: Vec<u32> = (0..shape.nodes)
        .map(|node| match fold_of(node) {
            Some(_) => 1 + rng.below(3) as u32,
            None if node + 1 == shape.nodes && shape.last_elements > 0 => shape.last_elements,
            None => 1 + rng.below(shape.elements) as u32,
        })
        .collect();
    let byte = |node: u32| node + 1 == shape.nodes && shape.last_elements > 0;
    let dtype = |node: u32| if byte(node) { DType::I8 } else { DType::U32 };

    let mut p = ProgramBuilder::new();
    let sources: Vec<u32> = (0..shape.states)
        .map(|state| if state == 0 { shape.nodes - 1 } else { rng.below(u64::from(shape.nodes)) as u32 })
        .collect();
    let states: Vec<TensorRef> = sources.iter().map(|&node| p.state(dtype(node), &[lengths[node as usize]])).collect();
    let longest = shape.folds.iter().copied().max().unwrap_or(1);
    let table = p.data(DType::U32, &[longest + 8]);
    let constants = p.data(DType::U32, &[300]);
    let half = p.data(DType::U32, &[longest / 2 + 8]);
    let places = p.data(DType::I8, &[500]);
    let mut readable: Vec<TensorRef> = states.iter().filter(|s| s.decl.dtype == DType::U32).cloned().collect();
    readable.push(constants.clone());
    let mut nodes: Vec<TensorRef> = vec![];
    for node in 0..shape.nodes {
        // Mostly recent ones, so that faults spread; now and then anything.
        let near = readable.len() - 1 - rng.below(readable.len().min(4) as u64) as usize;
        let a = readable[near].clone();
        let b = readable[rng.below(readable.len() as u64) as usize].clone();
        let draft = NodeBuilder::new(dtype(node), &[lengths[node as usize]]);
        let draft = match fold_of(node) {
            Some(fold) => draft
                .operand(table.at([o(0) + k(0)]))
                .operand(a.at([o(0)]).fill(7))
                .operand(b.at([o(0) + k(0)]).fill(3))
                // From a signed place on, and half as long as the fold, so that much is out of bounds; there the body is left out.
                .operand(places.at([o(0)]).fill(2))
                .operand(half.at([gather(3) + k(0) + at(-i64::from(fold / 4))]).skip())
                .operand(a.at([o(0) + 90_000]).fill(5))
                .fold(
                    &[fold],
                    if node % 8 == 3 { Order::Lanes } else { Order::Chain },
                    u(5),
                    acc().mul(&u(31)).add(&load(0)).xor(&load(2)).add(&load(4)),
                )
                .combine(acc().mul(&u(7)).add(&rhs()))
                .finish(acc().add(&load(1)).sub(&load(5))),
            None => {
                let value = load(0).mul(&u(2 * node + 3)).add(&load(1)).xor(&coord(0));
                let value = if byte(node) { value.shr(&u(26)).to_i32() } else { value };
                draft.operand(a.at([o(0)]).fill(11)).operand(b.at([o(0) + 1]).fill(13)).finish(value)
            }
        };
        let output = p.node(draft).unwrap();
        if dtype(node) == DType::U32 {
            readable.push(output.clone());
        }
        nodes.push(output);
    }
    for (index, state) in states.iter().enumerate() {
        // The last node always reaches the state; one tensor in five passes through.
        if index > 0 && rng.one_in(5) {
            p.keep(state);
        } else {
            p.set(state, &nodes[sources[index] as usize]);
        }
    }
    p.build().unwrap()
}

/// A run that also lies where nothing is checked at once: about block results and about states inside the segment.
pub(crate) struct Liar<'a> {
    pub(crate) run: &'a mut MemoryReplay,
    pub(crate) rng: Rng,
    pub(crate) about_blocks: bool,
    /// Lies about all states but the one after this many steps.
    pub(crate) about_states_but: Option<u64>,
}

impl Replay for Liar<'_> {
    type Error = OutsideRun;

    fn state_root(&mut self, steps: u64) -> Result<B256, OutsideRun> {
        match self.about_states_but {
            Some(end) if end != steps && self.rng.one_in(3) => Ok(self.rng.hash()),
            _ => self.run.state_root(steps),
        }
    }

    fn tensor(&mut self, set: TensorSet, index: u32) -> Result<Arc<Tensor>, OutsideRun> {
        self.run.tensor(set, index)
    }

    fn roots(&mut self, set: TensorSet) -> Result<Arc<Tree>, OutsideRun> {
        self.run.roots(set)
    }

    fn hashes(&mut self, set: TensorSet, index: u32) -> Result<Arc<TensorTree>, OutsideRun> {
        self.run.hashes(set, index)
    }

    fn blocks(&mut self, node: &Node, step: u64, element: u64, list: BlockList) -> Result<Vec<u32>, OutsideRun> {
        let mut values = self.run.blocks(node, step, element, list)?;
        if self.about_blocks {
            let lies = if self.rng.one_in(4) { values.len() } else { self.rng.below(3) as usize };
            for _ in 0..lies {
                let at = self.rng.below(values.len() as u64) as usize;
                values[at] = self.rng.bits() as u32;
            }
        }
        Ok(values)
    }
}
