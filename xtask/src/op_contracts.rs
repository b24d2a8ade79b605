//! The OP Stack's contracts: an npm package in, trimmed artifacts out, so that `cargo build` needs no Node.
//!
//! ```text
//! @eth-optimism/contracts-bedrock ──npm──► node_modules ──this──► sequencer/op-contracts/{l1,l2}/<Name>.hex, manifest.json
//! ```
//!
//! `l1` holds creation code, `l2` the code of predeploys.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{contracts::workspace_root, write};

/// Where everything is, from the workspace root.
const DIRECTORY: &str = "sequencer/op-contracts";

/// The package.
const PACKAGE: &str = "@eth-optimism/contracts-bedrock";

/// What is deployed on L1.
const L1: &[&str] = &[
    "L1CrossDomainMessenger",
    "L1ERC721Bridge",
    "L1StandardBridge",
    "L2OutputOracle",
    "OptimismMintableERC20Factory",
    "OptimismPortal",
    "Proxy",
    "ProxyAdmin",
    "SuperchainConfig",
    "SystemConfig",
];

/// What the rollup cannot be without on L2.
const L2: &[&str] = &["L1Block", "L2ToL1MessagePasser"];

/// `cargo xtask op-contracts [build | check]`; `build` is the default.
///
/// # Errors
/// In words: which tool or file failed, and what to do.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let root = workspace_root().join(DIRECTORY);
    let files = trimmed(&root)?;
    match args.first().map(String::as_str) {
        None | Some("build") => files.iter().try_for_each(|(name, text)| write(&root.join(name), text.as_bytes())),
        Some("check") => {
            for (name, text) in &files {
                let kept = std::fs::read_to_string(root.join(name));
                let kept = kept.map_err(|error| format!("cannot read {DIRECTORY}/{name}: {error}"))?;
                if kept != *text {
                    return Err(format!(
                        "{DIRECTORY}/{name} is not what {PACKAGE} holds: run `cargo xtask op-contracts`"
                    ));
                }
            }
            println!("the OP Stack's artifacts are what the package holds");
            Ok(())
        }
        Some(other) => Err(format!("unknown command `op-contracts {other}`; there are build and check")),
    }
}

/// The text of every file, from the installed package.
fn trimmed(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let package = root.join("node_modules").join(PACKAGE);
    if !package.exists() {
        let status =
            Command::new("npm").args(["install", "--no-save", "--no-audit", "--no-fund"]).current_dir(root).status();
        let status = status.map_err(|error| format!("npm cannot be started: {error}; install Node"))?;
        if !status.success() {
            return Err(format!("`npm install` failed in {DIRECTORY}"));
        }
    }
    let mut files = BTreeMap::new();
    let mut hashes = BTreeMap::new();
    for (layer, names, field) in [("l1", L1, "bytecode"), ("l2", L2, "deployedBytecode")] {
        for name in names {
            let path = package.join(format!("forge-artifacts/{name}.sol/{name}.json"));
            let code = read_json(&path)?[field]["object"].as_str().map(str::to_owned);
            let code = code.filter(|hex| hex.len() > 2 && !hex.contains('_'));
            let code = code.ok_or_else(|| format!("{}: no linked {field}", path.display()))? + "\n";
            let file = format!("{layer}/{name}.hex");
            hashes.insert(file.clone(), format!("{:x}", Sha256::digest(&code)));
            files.insert(file, code);
        }
    }
    let version = read_json(&package.join("package.json"))?["version"].clone();
    let manifest = json!({ "package": PACKAGE, "version": version, "sha256": hashes });
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| format!("cannot write JSON: {error}"))?;
    files.insert("manifest.json".into(), text + "\n");
    Ok(files)
}

fn read_json(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifacts_are_those_of_the_manifest() {
        let root = workspace_root().join(DIRECTORY);
        let manifest = read_json(&root.join("manifest.json")).unwrap();
        let wanted = read_json(&root.join("package.json")).unwrap();
        assert_eq!(manifest["version"], wanted["dependencies"][PACKAGE], "run `cargo xtask op-contracts`");
        let hashes = manifest["sha256"].as_object().unwrap();
        assert_eq!(hashes.len(), L1.len() + L2.len());
        for (file, hash) in hashes {
            let text = std::fs::read(root.join(file)).unwrap();
            assert_eq!(format!("{:x}", Sha256::digest(text)), *hash, "{file}: run `cargo xtask op-contracts`");
        }
    }
}
