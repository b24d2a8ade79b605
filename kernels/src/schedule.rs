//! Units of a program, made ready to run: code, kernels, and what becomes of memory.

use std::{collections::HashMap, sync::Arc};

use lockstep_ir::{Node, Program, Source, TensorDecl};

use crate::{
    Error, Isa,
    blocks::Blocks,
    compile::{Assembly, Stored, Target},
    gemm::{Gemm, Micro},
    group::{Unit, singles},
    lifetimes::Lifetimes,
    scatter::Scatter,
};

/// One output of a unit.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) number: usize,
    pub(crate) decl: TensorDecl,
    /// Output whose memory this one takes over.
    pub(crate) reuse: Option<usize>,
}

/// Nodes that run together (one, in a trace), ready to run.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) outs: Vec<Output>,
    pub(crate) sources: Vec<Source>,
    pub(crate) code: Arc<Compiled>,
    /// Outputs that are dropped after this.
    pub(crate) release: Vec<usize>,
}

/// What runs a node; nodes that differ only in where their operands come from share it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) kernel: Blocks,
    pub(crate) special: Option<Special>,
}

/// A faster way than loops.
#[derive(Debug)]
pub(crate) enum Special {
    /// A matrix product.
    Gemm(Box<Gemm>, Micro),
    /// The gradient of a gathered table.
    Scatter(Scatter),
}

impl Special {
    pub(crate) fn find(node: &Node, kernel: &Blocks, machine: &Machine) -> Option<Self> {
        let gemm = || {
            let gemm = Gemm::find(node, kernel)?;
            let micro = Micro::new(machine.isa, gemm.kind)?;
            Some(Self::Gemm(Box::new(gemm), micro))
        };
        let scatter = || Scatter::find(node, kernel).filter(|_| !machine.interpret).map(Self::Scatter);
        gemm().or_else(scatter)
    }
}

/// What code is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) isa: Isa,
    pub(crate) target: Option<Target>,
    pub(crate) interpret: bool,
    #[cfg(test)]
    pub(crate) simulate: bool,
}

/// Every node by itself, as a trace runs them.
pub(crate) fn every_node(program: &Program) -> Vec<Unit> {
    singles(program, &vec![true; program.nodes.len()])
}

/// The units, compiled.
pub(crate) fn schedule(program: &Program, units: Vec<Unit>, machine: Machine) -> Result<Vec<Planned>, Error> {
    let Lifetimes { release, reuse, .. } = Lifetimes::new(program, &units);
    let mut compiler = Compiler { machine, assembly: Assembly::default(), made: HashMap::new() };
    #[cfg(test)]
    {
        compiler.assembly.simulate = machine.simulate;
    }
    let all = units.into_iter().zip(release.into_iter().zip(reuse));
    let plans = all.map(|(unit, (release, reuse))| {
        let Unit { outputs, stored, node } = unit;
        let sources = node.operands.iter().map(|o| o.source).collect();
        let code = compiler.compiled(node, stored)?;
        let out = |(number, reuse): (usize, Option<usize>)| {
            let decl = program.nodes[number].out.clone();
            Output { number, decl, reuse }
        };
        Ok(Planned { outs: outputs.into_iter().zip(reuse).map(out).collect(), sources, code, release })
    });
    let plans = plans.collect::<Result<_, Error>>()?;
    compiler.assembly.seal()?;
    Ok(plans)
}

/// Makes nodes ready to run.
struct Compiler {
    machine: Machine,
    assembly: Assembly,
    made: HashMap<(Node, Vec<Stored>), Arc<Compiled>>,
}

impl Compiler {
    fn compiled(&mut self, mut node: Node, stored: Vec<Stored>) -> Result<Arc<Compiled>, Error> {
        // Code reads operands by their number.
        node.operands.iter_mut().for_each(|o| o.source = Source::State(0));
        let key = (node, stored);
        if let Some(made) = self.made.get(&key) {
            return Ok(Arc::clone(made));
        }
        let (node, stored) = &key;
        let mut kernel = Blocks::new(node);
        let special = Special::find(node, &kernel, &self.machine);
        if let Some(target) = self.machine.target {
            kernel.compile(node, stored, special.is_none(), target, &mut self.assembly)?;
        }
        let made = Arc::new(Compiled { kernel, special });
        self.made.insert(key, Arc::clone(&made));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_ir::{
        DType,
        build::{NodeBuilder, ProgramBuilder, o},
        expr::{f, load},
    };

    use super::*;

    #[test]
    fn nodes_that_differ_in_their_sources_share_code() {
        let mut p = ProgramBuilder::new();
        let [x, y, z] = [0; 3].map(|_| p.state(DType::F32, &[5]));
        for (from, to, by) in [(&x, &y, 1.0), (&y, &x, 1.0), (&x, &z, 2.0)] {
            let node = NodeBuilder::new(DType::F32, &[5]).operand(from.at([o(0)])).finish(load(0) + f(by));
            let node = p.node(node).unwrap();
            p.set(to, &node);
        }
        let p = p.build().unwrap();
        let isa = Isa::detect().unwrap();
        let machine = Machine { isa, target: Target::new(isa), interpret: false, simulate: false };
        let units = schedule(&p, every_node(&p), machine).unwrap();
        assert!(Arc::ptr_eq(&units[0].code, &units[1].code));
        assert!(!Arc::ptr_eq(&units[0].code, &units[2].code), "another constant");
        assert_ne!(units[0].sources, units[1].sources);
    }
}
