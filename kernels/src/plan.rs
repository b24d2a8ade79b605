//! A program made ready to run: kernels, lifetimes, and the walk through the nodes.

use std::{
    collections::HashSet, convert::Infallible, num::NonZeroUsize, ops::ControlFlow, sync::OnceLock,
    thread::available_parallelism,
};

use lockstep_ir::{Node, Program, Source, StateDecl, Tensor, TensorDecl, types::shape_text};

use crate::{
    Error, Isa,
    blocks::Blocks,
    compile::{Target, reads_columns},
    elide::{Elided, elide},
    gemm::{Buffers, Products},
    group::{grouped, singles},
    inline::inline,
    isa::check_control_word,
    lifetimes::{Lifetimes, bytes},
    memory,
    parallel::Split,
    schedule::{Machine, Output, Planned, Special, every_node, schedule},
    worker::Worker,
};

/// Choices that change speed and never results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Instructions to use; by default what `LOCKSTEP_ISA` forces, or the best there is.
    pub isa: Option<Isa>,
    /// Most threads to use; by default as many as the machine has.
    pub threads: Option<NonZeroUsize>,
    /// For tests: use all threads even where that is slower, and start from outputs that hold something.
    #[doc(hidden)]
    pub split_small: bool,
    /// For tests: evaluate scalar programs, where machine code would run.
    #[doc(hidden)]
    pub interpret: bool,
    /// Make AVX-512 code and simulate it.
    #[cfg(test)]
    pub(crate) simulate: bool,
}

/// A validated program, compiled for this machine. Cheap to share between threads; holds no tensors.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    machine: Machine,
    /// Every node, as the program has it: made for the first trace, for most plans only run steps.
    nodes: OnceLock<Result<Vec<Planned>, Error>>,
    /// What a step runs, if it is not all nodes as they are: see [`crate::elide`], [`crate::inline`] and [`crate::group`].
    short: Option<Vec<Planned>>,
    threads: usize,
    split_small: bool,
    /// See [`last_uses`].
    last_uses: Vec<bool>,
    peak_bytes: u64,
    buffers: Buffers,
}

impl Plan {
    /// Validates and compiles a program.
    ///
    /// # Errors
    /// The program is not valid, or `LOCKSTEP_ISA` cannot be obeyed.
    pub fn new(program: &Program) -> Result<Self, Error> {
        Self::with(program, Options::default())
    }

    /// Validates and compiles a program, with choices.
    ///
    /// # Errors
    /// The program is not valid, or the instruction set is not there.
    pub fn with(program: &Program, options: Options) -> Result<Self, Error> {
        lockstep_ir::validate(program)?;
        let isa = options.isa.map_or_else(Isa::detect, Isa::require)?;
        let threads = options.threads.or_else(|| available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let interpret = options.interpret;
        let machine = Machine {
            isa,
            target: Target::new(isa).filter(|_| !interpret),
            interpret,
            #[cfg(test)]
            simulate: options.simulate,
        };
        #[cfg(test)]
        let machine = if options.simulate { Machine { target: Some(Target::Avx512), ..machine } } else { machine };
        let target = machine.target;
        let special = |node: &Node| Special::find(node, &Blocks::new(node), &machine).is_some();
        let fast = |node: &Node| special(node) || target.is_some() && reads_columns(node);
        let elided = elide(program, |node| node.fold.is_none() || fast(node));
        let changed = elided.is_some();
        let mut short = elided.unwrap_or_else(|| Elided::none(program));
        let changed = target.is_some() && inline(&mut short.program, &mut short.needed, special) || changed;
        let units = if target.is_some() {
            grouped(&short.program, &short.needed)
        } else {
            singles(&short.program, &short.needed)
        };
        let changed = changed || units.len() < program.nodes.len();
        let short = if changed { Some(schedule(&short.program, units, machine)?) } else { None };
        let plan = Self {
            program: program.clone(),
            machine,
            nodes: OnceLock::new(),
            short,
            threads,
            split_small: options.split_small,
            last_uses: last_uses(program),
            peak_bytes: Lifetimes::new(program, &every_node(program)).peak_bytes,
            buffers: Buffers::default(),
        };
        if plan.short.is_none() {
            plan.nodes()?;
        }
        Ok(plan)
    }

    /// Every node, ready to run.
    fn nodes(&self) -> Result<&[Planned], Error> {
        let make = || schedule(&self.program, every_node(&self.program), self.machine);
        self.nodes.get_or_init(make).as_deref().map_err(Clone::clone)
    }

    /// Most bytes of node outputs and new state that a step holds at once, beside the tensors it is given.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.machine.isa
    }

    /// The kernel that was chosen for each node: `gemm`, `scatter`, or `blocks` for what runs anything.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> {
        let name = |n: &Node| match Special::find(n, &Blocks::new(n), &self.machine) {
            Some(Special::Gemm(..)) => "gemm",
            Some(Special::Scatter(_)) => "scatter",
            None => "blocks",
        };
        self.program.nodes.iter().map(name)
    }

    /// How many nodes fewer a step runs than a trace: nobody reads them, or their readers read what they were copied from, or compute
    /// them on the way.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.short.as_ref().map_or(0, |s| self.program.nodes.len() - s.len())
    }

    /// Runs one step: the state after it.
    ///
    /// # Errors
    /// The tensors are not those that the program declares, an output cannot be allocated, or the thread's floating-point control word
    /// is wrong.
    pub fn step(&self, state: &[Tensor], data: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let nodes = self.short.as_deref().map_or_else(|| self.nodes(), Ok)?;
        match self.walk(nodes, state, data, |_, _| ControlFlow::<Infallible>::Continue(()))? {
            ControlFlow::Continue(state) => Ok(state),
            ControlFlow::Break(never) => match never {},
        }
    }

    /// Runs one step and shows every node's output, in order, to `visit` with the node's number: once, when it is made. What `visit`
    /// writes into it is what later nodes and the new state see; its type and shape must stay. `Break` ends the step there and is handed back.
    ///
    /// # Errors
    /// As [`Self::step`], and those of making code, which the first trace does.
    pub fn trace<B>(
        &self,
        state: &[Tensor],
        data: &[Tensor],
        visit: impl FnMut(usize, &mut Tensor) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Vec<Tensor>>, Error> {
        self.walk(self.nodes()?, state, data, visit)
    }

    fn walk<B>(
        &self,
        nodes: &[Planned],
        state: &[Tensor],
        data: &[Tensor],
        mut visit: impl FnMut(usize, &mut Tensor) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Vec<Tensor>>, Error> {
        self.check_declarations(state, data)?;
        check_control_word()?;
        let mut made: Vec<Option<Tensor>> = self.program.nodes.iter().map(|_| None).collect();
        for node in nodes {
            let mut outs = Vec::with_capacity(node.outs.len());
            for out in &node.outs {
                let reused = out.reuse.and_then(|i| made[i].take());
                outs.push(reused.map_or_else(|| allocate(out.number, &out.decl, self.split_small), Ok)?);
            }
            let operands: Option<Vec<&[u8]>> =
                node.sources.iter().map(|&s| find(s, state, data, &made).map(Tensor::bytes)).collect();
            self.run(node, &operands.unwrap_or_default(), &mut outs)?;
            for (mut out, Output { number, decl, .. }) in outs.into_iter().zip(&node.outs) {
                if let ControlFlow::Break(b) = visit(*number, &mut out) {
                    return Ok(ControlFlow::Break(b));
                }
                check_declaration(Source::Node(*number as u32), decl, &out)?;
                made[*number] = Some(out);
            }
            node.release.iter().for_each(|&dead| made[dead] = None);
        }
        Ok(ControlFlow::Continue(self.new_state(state, data, made)))
    }

    /// Checks what [`Self::step`] takes for granted: that no tensor holds a NaN other than the canonical one. Reads every byte; once per
    /// job is enough, for no step makes such a NaN.
    ///
    /// # Errors
    /// The tensors are not those that the program declares, or hold such a NaN: the job is invalid for everyone.
    pub fn check_inputs(&self, state: &[Tensor], data: &[Tensor]) -> Result<(), Error> {
        self.check_declarations(state, data)?;
        let sources = (0..).map(Source::State).zip(state).chain((0..).map(Source::Data).zip(data));
        for (at, tensor) in sources {
            tensor.check_nans().map_err(|source| Error::Input { at, source })?;
        }
        Ok(())
    }

    fn check_declarations(&self, state: &[Tensor], data: &[Tensor]) -> Result<(), Error> {
        let program = &self.program;
        let counts = [("state", program.state.len(), state.len()), ("data", program.data.len(), data.len())];
        for (what, expected, got) in counts {
            if expected != got {
                return Err(Error::Count { what, expected, got });
            }
        }
        let states = (0..).map(Source::State).zip(program.state.iter().map(|s| &s.decl).zip(state));
        let datas = (0..).map(Source::Data).zip(program.data.iter().zip(data));
        for (at, (expected, tensor)) in states.chain(datas) {
            check_declaration(at, expected, tensor)?;
        }
        Ok(())
    }

    fn run(&self, node: &Planned, operands: &[&[u8]], outs: &mut [Tensor]) -> Result<(), Error> {
        let kernel = &node.code.kernel;
        if let [_, _, ..] = outs {
            let elements = outs[0].len();
            let split = Split::new(elements, self.work(kernel, elements), self.threads);
            let piece = |t: &Tensor| t.decl().dtype.size() * split.units as usize;
            let outs = outs.iter_mut().map(|t| (piece(t), t)).map(|(bytes, t)| (t.bytes_mut(), bytes)).collect();
            return split.run_all(outs, || {
                let mut worker = Worker::new(kernel, self.machine.isa, operands);
                move |piece, mut outs: Vec<&mut [u8]>| worker.evaluate_all(piece * split.units, &mut outs)
            });
        }
        let Some(out) = outs.first_mut() else { return Ok(()) };
        let (elements, size) = (out.len(), out.decl().dtype.size());
        let (work, out) = (self.work(kernel, elements), out.bytes_mut());
        let isa = self.machine.isa;
        match &node.code.special {
            Some(Special::Gemm(gemm, micro)) => {
                let products = Products { gemm, micro: *micro, node: kernel, isa, operands, buffers: &self.buffers };
                return products.run(out, self.threads, self.split_small);
            }
            Some(Special::Scatter(scatter)) => {
                return scatter.run(kernel, isa, operands, out, self.threads, self.split_small);
            }
            None => {}
        }
        let split = Split::new(elements, work, self.threads);
        split.run(out, split.units as usize * size, || {
            let mut worker = Worker::new(kernel, self.machine.isa, operands);
            move |piece, bytes: &mut [u8]| worker.evaluate(piece * split.units, bytes)
        })
    }

    fn work(&self, kernel: &Blocks, elements: u64) -> u64 {
        if self.split_small { u64::MAX } else { elements.saturating_mul(kernel.work) }
    }

    fn new_state(&self, state: &[Tensor], data: &[Tensor], mut made: Vec<Option<Tensor>>) -> Vec<Tensor> {
        let mut take = |(new, &last): (&StateDecl, &bool)| match new.next {
            Source::Node(i) if last => made[i as usize].take(),
            _ => find(new.next, state, data, &made).cloned(),
        };
        self.program.state.iter().zip(&self.last_uses).filter_map(&mut take).collect()
    }
}

/// For each state tensor: whether no later one becomes the same tensor.
fn last_uses(program: &Program) -> Vec<bool> {
    let mut seen = HashSet::new();
    let mut last: Vec<bool> = program.state.iter().rev().map(|s| seen.insert(s.next)).collect();
    last.reverse();
    last
}

fn check_declaration(at: Source, expected: &TensorDecl, tensor: &Tensor) -> Result<(), Error> {
    let text = |d: &TensorDecl| format!("{}{}", d.dtype, shape_text(&d.shape));
    if expected == tensor.decl() {
        return Ok(());
    }
    Err(Error::Declaration { at, expected: text(expected), got: text(tensor.decl()) })
}

/// The tensor a source names. Always there: the validator orders nodes, and what is read later is not released.
fn find<'a>(source: Source, state: &'a [Tensor], data: &'a [Tensor], made: &'a [Option<Tensor>]) -> Option<&'a Tensor> {
    match source {
        Source::State(i) => state.get(i as usize),
        Source::Data(i) => data.get(i as usize),
        Source::Node(i) => made.get(i as usize)?.as_ref(),
    }
}

/// A tensor that is going to be written, all of it; for tests, of what must not be left in it.
fn allocate(node: usize, decl: &TensorDecl, spoil: bool) -> Result<Tensor, Error> {
    let refused = || Error::Memory { node, bytes: bytes(decl) };
    let mut buffer = usize::try_from(bytes(decl)).ok().and_then(memory::unwritten).ok_or_else(refused)?;
    if spoil {
        buffer.fill(0xa5);
    }
    Tensor::from_bytes(decl.clone(), buffer).map_err(|_| refused())
}
