//! Golden vectors: of trees and tensors, computed by an implementation of their own, which the Solidity tests read too; and the roots
//! of whole steps.
#![allow(clippy::unwrap_used, reason = "a test: a wrong file must fail it")]

#[path = "../examples/roots.rs"]
mod roots;

use lockstep_commit::keccak::{B256, hash_chunk, keccak256};
use lockstep_commit::{TensorTree, Tree, tree};
use lockstep_ir::program::TensorDecl;
use lockstep_ir::tensor::Tensor;
use lockstep_ir::types::DType;
use serde_json::Value;

fn vectors() -> Value {
    let all: Value = serde_json::from_str(include_str!("../vectors/v1.json")).unwrap();
    assert_eq!(all["magic"], "lockstep-commit-vectors");
    assert_eq!(all["version"], 1);
    all
}

fn hash(value: &Value) -> B256 {
    value.as_str().unwrap().parse().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn list(value: &Value) -> &[Value] {
    let list = value.as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn bytes(count: u64) -> Vec<u8> {
    (0..count).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn empty_subtrees() {
    for (height, expected) in list(&vectors()["empty"]).iter().enumerate() {
        assert_eq!(tree::empty(height as u8), hash(expected), "height {height}");
    }
}

#[test]
fn trees() {
    for vector in list(&vectors()["trees"]) {
        let count = number(&vector["count"]);
        let tree =
            Tree::new((0..count).map(|index| keccak256(B256::left_padding_from(&index.to_be_bytes()))).collect());
        assert_eq!(u64::from(tree.depth()), number(&vector["depth"]), "{count} leaves");
        assert_eq!(tree.root(), hash(&vector["root"]), "{count} leaves");
        let children = tree.children(tree.depth(), 0, tree.depth().min(8)).unwrap();
        assert_eq!(children.len() as u64, number(&vector["children"]), "{count} leaves");
        assert_eq!(children.last(), Some(&hash(&vector["lastChild"])), "{count} leaves");
        let proof: Vec<B256> = vector["proof"].as_array().unwrap().iter().map(hash).collect();
        assert_eq!(tree.prove(number(&vector["index"])), Ok(proof), "{count} leaves");
    }
}

#[test]
fn chunks() {
    for vector in list(&vectors()["chunks"]) {
        let count = number(&vector["byteCount"]);
        assert_eq!(hash_chunk(&bytes(count)), hash(&vector["leaf"]), "{count} bytes");
    }
}

#[test]
fn tensors() {
    for vector in list(&vectors()["tensors"]) {
        let shape = vector["shape"].as_array().unwrap().iter().map(|extent| number(extent) as u32).collect();
        let dtype = DType::from_code(number(&vector["dtype"]) as u8).unwrap();
        let tensor = Tensor::from_bytes(TensorDecl { dtype, shape }, bytes(number(&vector["byteCount"]))).unwrap();
        let tree = TensorTree::new(&tensor);
        assert_eq!(tree.merkle_root(), hash(&vector["merkleRoot"]), "{vector}");
        assert_eq!(tree.root(), hash(&vector["root"]), "{vector}");
    }
}

#[test]
fn roots_of_the_steps_that_ir_has() {
    let now = roots::text();
    assert_eq!(now.lines().count(), 22);
    for (now, then) in now.lines().zip(include_str!("../vectors/steps-v1.txt").lines()) {
        assert_eq!(now, then, "a changed bit is a new version of the protocol");
    }
    assert_eq!(now, include_str!("../vectors/steps-v1.txt"));
}
