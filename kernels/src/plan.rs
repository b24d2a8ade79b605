//! A program made ready to run: kernels, lifetimes, and the walk through the nodes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    num::NonZeroUsize,
    ops::ControlFlow,
    thread::available_parallelism,
};

use lockstep_ir::{Node, Program, Source, Tensor, TensorDecl, types::shape_text};

use crate::{
    Error, Isa,
    blocks::Blocks,
    compile::{Assembly, Target, reads_columns},
    elide::{Elided, elide},
    gemm::{Buffers, Gemm, Micro, Products},
    group::{Unit, grouped, singles},
    inline::inline,
    isa::check_control_word,
    memory,
    parallel::Split,
    scatter::Scatter,
    worker::Worker,
};

/// Choices that change speed and never results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Instructions to use; by default what `LOCKSTEP_ISA` forces, or the best there is.
    pub isa: Option<Isa>,
    /// Most threads to use; by default as many as the machine has.
    pub threads: Option<NonZeroUsize>,
    /// For tests: use all threads even where that is slower.
    #[doc(hidden)]
    pub split_small: bool,
    /// For tests: evaluate scalar programs, where machine code would run.
    #[doc(hidden)]
    pub interpret: bool,
    /// Make AVX-512 code and simulate it.
    #[cfg(test)]
    pub(crate) simulate: bool,
}

/// One output of a unit.
#[derive(Debug)]
struct Output {
    number: usize,
    decl: TensorDecl,
    /// Output whose memory this one takes over.
    reuse: Option<usize>,
}

/// Nodes that run together (one, in a trace), ready to run.
#[derive(Debug)]
struct Planned {
    outs: Vec<Output>,
    sources: Vec<Source>,
    kernel: Blocks,
    /// The faster way, where the node is a matrix product.
    gemm: Option<(Gemm, Micro)>,
    /// The faster way, where it is the gradient of a gathered table.
    scatter: Option<Scatter>,
    /// Outputs that are dropped after this.
    release: Vec<usize>,
}

/// A validated program, compiled for this machine. Cheap to share between threads; holds no tensors.
#[derive(Debug)]
pub struct Plan {
    /// Every node, as the program has it.
    nodes: Vec<Planned>,
    /// What a step runs, if it is not all nodes as they are: see [`crate::elide`], [`crate::inline`] and [`crate::group`].
    short: Option<Vec<Planned>>,
    state: Vec<(TensorDecl, Source)>,
    data: Vec<TensorDecl>,
    isa: Isa,
    threads: usize,
    split_small: bool,
    peak_bytes: u64,
    buffers: Buffers,
}

fn bytes(decl: &TensorDecl) -> u64 {
    decl.elements().unwrap_or(0) * decl.dtype.size() as u64
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
        let target = Target::new(isa).filter(|_| !options.interpret);
        let mut compiler = Compiler { isa, interpret: options.interpret, target, assembly: Assembly::default() };
        #[cfg(test)]
        if options.simulate {
            compiler.target = Some(Target::Avx512);
            compiler.assembly.simulate = true;
        }
        let (nodes, peak_bytes) = compiler.schedule(program, singles(program, &vec![true; program.nodes.len()]))?;
        let target = compiler.target;
        let special = |node: &Node| {
            let kernel = Blocks::new(node);
            find_gemm(node, &kernel, isa).is_some() || !options.interpret && Scatter::find(node, &kernel).is_some()
        };
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
        let short = if changed { Some(compiler.schedule(&short.program, units)?.0) } else { None };
        compiler.assembly.seal()?;
        let state = program.state.iter().map(|s| (s.decl.clone(), s.next)).collect();
        Ok(Self {
            nodes,
            short,
            state,
            data: program.data.clone(),
            isa,
            threads,
            split_small: options.split_small,
            peak_bytes,
            buffers: Buffers::default(),
        })
    }

    /// Most bytes of node outputs and new state that a step holds at once, beside the tensors it is given.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The kernel that was chosen for each node: `gemm`, `scatter`, or `blocks` for what runs anything.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> {
        let name = |n: &Planned| match (&n.gemm, &n.scatter) {
            (Some(_), _) => "gemm",
            (None, Some(_)) => "scatter",
            (None, None) => "blocks",
        };
        self.nodes.iter().map(name)
    }

    /// How many nodes fewer a step runs than a trace: nobody reads them, or their readers read what they were copied from, or compute
    /// them on the way.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.short.as_ref().map_or(0, |s| self.nodes.len() - s.len())
    }

    /// Runs one step: the state after it.
    ///
    /// # Errors
    /// The tensors are not those that the program declares, an output cannot be allocated, or the thread's floating-point control word
    /// is wrong.
    pub fn step(&self, state: &[Tensor], data: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let nodes = self.short.as_ref().unwrap_or(&self.nodes);
        match self.walk(nodes, state, data, |_, _| ControlFlow::<Infallible>::Continue(()))? {
            ControlFlow::Continue(state) => Ok(state),
            ControlFlow::Break(never) => match never {},
        }
    }

    /// Runs one step and shows every node's output, in order, to `visit` with the node's number: once, when it is made. What `visit`
    /// writes into it is what later nodes and the new state see; its type and shape must stay. `Break` ends the step there and is handed back.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn trace<B>(
        &self,
        state: &[Tensor],
        data: &[Tensor],
        visit: impl FnMut(usize, &mut Tensor) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B, Vec<Tensor>>, Error> {
        self.walk(&self.nodes, state, data, visit)
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
        let mut made: Vec<Option<Tensor>> = (0..self.nodes.len()).map(|_| None).collect();
        for node in nodes {
            let mut outs = Vec::with_capacity(node.outs.len());
            for out in &node.outs {
                let reused = out.reuse.and_then(|i| made[i].take());
                outs.push(reused.map_or_else(|| allocate(out.number, &out.decl), Ok)?);
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
        for (what, expected, got) in [("state", self.state.len(), state.len()), ("data", self.data.len(), data.len())] {
            if expected != got {
                return Err(Error::Count { what, expected, got });
            }
        }
        let states = (0..).map(Source::State).zip(self.state.iter().map(|s| &s.0).zip(state));
        let datas = (0..).map(Source::Data).zip(self.data.iter().zip(data));
        for (at, (expected, tensor)) in states.chain(datas) {
            check_declaration(at, expected, tensor)?;
        }
        Ok(())
    }

    fn run(&self, node: &Planned, operands: &[&[u8]], outs: &mut [Tensor]) -> Result<(), Error> {
        let kernel = &node.kernel;
        if let [_, _, ..] = outs {
            let elements = outs[0].len();
            let split = Split::new(elements, self.work(kernel, elements), self.threads);
            let piece = |t: &Tensor| t.decl().dtype.size() * split.units as usize;
            let outs = outs.iter_mut().map(|t| (piece(t), t)).map(|(bytes, t)| (t.bytes_mut(), bytes)).collect();
            return split.run_all(outs, || {
                let mut worker = Worker::new(kernel, self.isa, operands);
                move |piece, mut outs: Vec<&mut [u8]>| worker.evaluate_all(piece * split.units, &mut outs)
            });
        }
        let Some(out) = outs.first_mut() else { return Ok(()) };
        let (elements, size) = (out.len(), out.decl().dtype.size());
        let (work, out) = (self.work(kernel, elements), out.bytes_mut());
        if let Some((gemm, micro)) = &node.gemm {
            let buffers = &self.buffers;
            let products = Products { gemm, micro: *micro, node: kernel, isa: self.isa, operands, buffers };
            return products.run(out, self.threads, self.split_small);
        }
        if let Some(scatter) = &node.scatter {
            return scatter.run(kernel, self.isa, operands, out, self.threads, self.split_small);
        }
        let split = Split::new(elements, work, self.threads);
        split.run(out, split.units as usize * size, || {
            let mut worker = Worker::new(kernel, self.isa, operands);
            move |piece, bytes: &mut [u8]| worker.evaluate(piece * split.units, bytes)
        })
    }

    fn work(&self, kernel: &Blocks, elements: u64) -> u64 {
        if self.split_small { u64::MAX } else { elements.saturating_mul(kernel.work) }
    }

    fn new_state(&self, state: &[Tensor], data: &[Tensor], mut made: Vec<Option<Tensor>>) -> Vec<Tensor> {
        let mut uses: BTreeMap<Source, usize> = BTreeMap::new();
        self.state.iter().for_each(|(_, next)| *uses.entry(*next).or_default() += 1);
        let mut take = |next: Source| {
            let left = uses.get_mut(&next).map_or(0, |n| {
                *n -= 1;
                *n
            });
            match next {
                Source::Node(i) if left == 0 => made[i as usize].take(),
                _ => find(next, state, data, &made).cloned(),
            }
        };
        self.state.iter().filter_map(|(_, next)| take(*next)).collect()
    }
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

fn find_gemm(node: &Node, kernel: &Blocks, isa: Isa) -> Option<(Gemm, Micro)> {
    let gemm = Gemm::find(node, kernel)?;
    let micro = Micro::new(isa, gemm.kind)?;
    Some((gemm, micro))
}

/// Makes nodes ready to run.
struct Compiler {
    isa: Isa,
    interpret: bool,
    target: Option<Target>,
    assembly: Assembly,
}

impl Compiler {
    /// The units, compiled, and the most memory that they need at once.
    fn schedule(&mut self, program: &Program, units: Vec<Unit>) -> Result<(Vec<Planned>, u64), Error> {
        let Lifetimes { release, reuse, peak_bytes } = Lifetimes::new(program, &units);
        let all = units.into_iter().zip(release.into_iter().zip(reuse));
        let plans = all.map(|(unit, (release, reuse))| {
            let Unit { outputs, stored, node } = unit;
            let mut kernel = Blocks::new(&node);
            if let Some(target) = self.target {
                kernel.compile(&node, &stored, target, &mut self.assembly)?;
            }
            let gemm = find_gemm(&node, &kernel, self.isa);
            let scatter = if self.interpret { None } else { Scatter::find(&node, &kernel) };
            let sources = node.operands.iter().map(|o| o.source).collect();
            let out = |(number, reuse): (usize, Option<usize>)| {
                let decl = program.nodes[number].out.clone();
                Output { number, decl, reuse }
            };
            let outs = outputs.into_iter().zip(reuse).map(out).collect();
            Ok(Planned { outs, sources, kernel, gemm, scatter, release })
        });
        Ok((plans.collect::<Result<_, Error>>()?, peak_bytes))
    }
}

/// How long each output lives, and which memory is used again.
struct Lifetimes {
    /// For each unit, the outputs that are dropped after it.
    release: Vec<Vec<usize>>,
    /// For each output of each unit, the output whose memory it takes over: one of the same type and shape that nobody reads any more.
    reuse: Vec<Vec<Option<usize>>>,
    peak_bytes: u64,
}

impl Lifetimes {
    fn new(program: &Program, units: &[Unit]) -> Self {
        let dead = dead_after(program, units);
        let mut reuse = Vec::new();
        let mut waiting: HashMap<&TensorDecl, Vec<usize>> = HashMap::new();
        for (unit, dead) in units.iter().zip(&dead) {
            let mut take = |&number: &usize| waiting.get_mut(&program.nodes[number].out).and_then(Vec::pop);
            reuse.push(unit.outputs.iter().map(&mut take).collect::<Vec<_>>());
            for &d in dead {
                waiting.entry(&program.nodes[d].out).or_default().push(d);
            }
        }
        let taken: BTreeSet<usize> = reuse.iter().flatten().flatten().copied().collect();
        let kept = |list: Vec<usize>| list.into_iter().filter(|d| !taken.contains(d)).collect();
        let release: Vec<Vec<usize>> = dead.into_iter().map(kept).collect();
        let peak_bytes = peak_bytes(program, units, &release, &reuse);
        Self { release, reuse, peak_bytes }
    }
}

/// For each unit, the outputs that nobody reads after it.
fn dead_after(program: &Program, units: &[Unit]) -> Vec<Vec<usize>> {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        let read = unit.node.operands.iter().filter_map(|o| match o.source {
            Source::Node(i) => Some(i as usize),
            _ => None,
        });
        for number in unit.outputs.iter().copied().chain(read) {
            last.insert(number, at);
        }
    }
    let kept: BTreeSet<Source> = program.state.iter().map(|s| s.next).collect();
    let mut out = vec![Vec::new(); units.len()];
    for (number, at) in last.into_iter().filter(|&(i, _)| !kept.contains(&Source::Node(i as u32))) {
        out[at].push(number);
    }
    out
}

fn peak_bytes(program: &Program, units: &[Unit], release: &[Vec<usize>], reuse: &[Vec<Option<usize>>]) -> u64 {
    let (mut now, mut peak) = (0u64, 0u64);
    for ((unit, release), reuse) in units.iter().zip(release).zip(reuse) {
        for (&number, _) in unit.outputs.iter().zip(reuse).filter(|o| o.1.is_none()) {
            now = now.saturating_add(bytes(&program.nodes[number].out));
        }
        peak = peak.max(now);
        now -= release.iter().map(|&i| bytes(&program.nodes[i].out)).sum::<u64>();
    }
    // State that is not the only one made from a node's output is copied at the end.
    let mut seen = BTreeSet::new();
    let copied = program.state.iter().filter(|s| !matches!(s.next, Source::Node(_)) || !seen.insert(s.next));
    peak.max(now.saturating_add(copied.map(|s| bytes(&s.decl)).sum()))
}

/// A tensor of zeros.
fn allocate(node: usize, decl: &TensorDecl) -> Result<Tensor, Error> {
    let refused = || Error::Memory { node, bytes: bytes(decl) };
    let buffer = usize::try_from(bytes(decl)).ok().and_then(memory::zeroed).ok_or_else(refused)?;
    Tensor::from_bytes(decl.clone(), buffer).map_err(|_| refused())
}
