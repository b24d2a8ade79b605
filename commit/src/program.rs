//! The root of a program, and proofs of its nodes and declarations (docs/protocol.md, section 2.4).

use alloy_sol_types::SolValue;
use lockstep_ir::abi::Header;
use lockstep_ir::program::{Program, VERSION};

use crate::keccak::{B256, keccak256};
use crate::tree::Tree;

/// The hashes of a program: its header, and the trees that nodes and declarations are proven under.
#[derive(Clone)]
pub struct ProgramTree {
    header: Header,
    nodes: Tree,
    state_decls: Tree,
    data_decls: Tree,
}

impl std::fmt::Debug for ProgramTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramTree").field("root", &self.root()).finish_non_exhaustive()
    }
}

impl ProgramTree {
    /// Hashes a program within the limits of [`Program`] (at most 65,536 nodes, state and data tensors).
    #[must_use]
    pub fn new(program: &Program) -> Self {
        let nodes = Tree::new(program.nodes.iter().map(|node| node.hash()).collect());
        let state_decls = Tree::new(program.state.iter().map(|decl| decl.hash()).collect());
        let data_decls = Tree::new(program.data.iter().map(|decl| decl.hash()).collect());
        let header = Header {
            version: VERSION,
            nodeCount: program.nodes.len() as u32,
            stateCount: program.state.len() as u32,
            dataCount: program.data.len() as u32,
            nodesRoot: nodes.root(),
            stateDeclsRoot: state_decls.root(),
            dataDeclsRoot: data_decls.root(),
        };
        Self { header, nodes, state_decls, data_decls }
    }

    /// The header, as contracts take it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What a job names its program by.
    #[must_use]
    pub fn root(&self) -> B256 {
        header_root(&self.header)
    }

    /// Tree over the hashes of the encoded nodes.
    #[must_use]
    pub fn nodes(&self) -> &Tree {
        &self.nodes
    }

    /// Tree over the hashes of the encoded state declarations.
    #[must_use]
    pub fn state_decls(&self) -> &Tree {
        &self.state_decls
    }

    /// Tree over the hashes of the encoded data declarations.
    #[must_use]
    pub fn data_decls(&self) -> &Tree {
        &self.data_decls
    }
}

/// `programRoot` of a header.
#[must_use]
pub fn header_root(header: &Header) -> B256 {
    keccak256(header.abi_encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_ir::program::{Source, StateDecl, TensorDecl};
    use lockstep_ir::types::DType;

    #[test]
    fn root_binds_declarations_and_their_order() {
        let decl = |n: u32| TensorDecl { dtype: DType::F32, shape: vec![n] };
        let state = |n: u32, next| StateDecl { decl: decl(n), next };
        let program = Program {
            state: vec![state(1, Source::State(0)), state(2, Source::Data(0))],
            data: vec![decl(2)],
            nodes: vec![],
        };
        let hashes = ProgramTree::new(&program);
        assert_eq!(hashes.header().stateCount, 2);
        assert_eq!(hashes.header().nodesRoot, B256::ZERO);
        assert_eq!(hashes.header().dataDeclsRoot, program.data[0].hash());
        let mut other = program;
        other.state.swap(0, 1);
        assert_ne!(hashes.root(), ProgramTree::new(&other).root());
        other.state.swap(0, 1);
        other.state[0].next = Source::State(1);
        assert_ne!(hashes.root(), ProgramTree::new(&other).root());
    }
}
