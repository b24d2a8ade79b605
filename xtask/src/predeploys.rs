//! The code of a rollup's system contracts: an npm package in, trimmed files out, so that `cargo build` needs no Node.
//!
//! ```text
//! @eth-optimism/contracts-bedrock ──npm pack──► target/predeploys ──this──► sequencer/op-contracts/genesis/{<Name>.hex, preinstalls.json}
//! ```

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{contracts::workspace_root, write};

/// The package, and the SHA-256 of the archive it comes in.
const PACKAGE: &str = "@eth-optimism/contracts-bedrock@0.17.3";
const ARCHIVE: &str = "eth-optimism-contracts-bedrock-0.17.3.tgz";
const ARCHIVE_SHA256: &str = "46c5a90e5a3838acd4e375dc41fdfbf1e86f882c37c6963e8f4f8356bb743876";

/// Where the files are, from the workspace root.
const DIRECTORY: &str = "sequencer/op-contracts/genesis";

/// Contracts whose creation code is kept.
const CONTRACTS: [&str; 19] = [
    "BaseFeeVault",
    "DeployerWhitelist",
    "EAS",
    "GasPriceOracle",
    "L1Block",
    "L1BlockNumber",
    "L1FeeVault",
    "L2CrossDomainMessenger",
    "L2ERC721Bridge",
    "L2StandardBridge",
    "L2ToL1MessagePasser",
    "LegacyMessagePasser",
    "OptimismMintableERC20Factory",
    "OptimismMintableERC721Factory",
    "Proxy",
    "ProxyAdmin",
    "SchemaRegistry",
    "SequencerFeeVault",
    "WETH",
];

/// `cargo xtask predeploys [build | check]`; `build` is the default.
///
/// # Errors
/// In words: which tool or file failed, and what to do.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let root = workspace_root();
    let files = trimmed(&root)?;
    match args.first().map(String::as_str) {
        None | Some("build") => {
            files.iter().try_for_each(|(name, text)| write(&root.join(DIRECTORY).join(name), text.as_bytes()))
        }
        Some("check") => {
            let differs = |(name, text): &(&String, &String)| {
                fs::read_to_string(root.join(DIRECTORY).join(name)).ok().as_ref() != Some(*text)
            };
            match files.iter().find(differs) {
                Some((name, _)) => {
                    Err(format!("{DIRECTORY}/{name} is not what {PACKAGE} holds: run `cargo xtask predeploys`"))
                }
                None => {
                    println!("the system contracts are what the package holds");
                    Ok(())
                }
            }
        }
        Some(other) => Err(format!("unknown command `predeploys {other}`; there are build and check")),
    }
}

/// The text of every file, from the package.
fn trimmed(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let package = unpacked(root)?;
    let mut files = BTreeMap::new();
    for name in CONTRACTS {
        let path = package.join(format!("forge-artifacts/{name}.sol/{name}.json"));
        let artifact: Value = serde_json::from_str(&read(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
        let code = artifact["bytecode"]["object"].as_str().filter(|hex| hex.len() > 2 && !hex.contains('_'));
        let code = code.ok_or_else(|| format!("{}: no linked bytecode", path.display()))?;
        files.insert(format!("{name}.hex"), format!("{code}\n"));
    }
    let library = read(&package.join("src/libraries/Preinstalls.sol"))?;
    let list = serde_json::to_string_pretty(&preinstalls(&library)?).map_err(|e| format!("cannot write JSON: {e}"))?;
    files.insert("preinstalls.json".into(), list + "\n");
    Ok(files)
}

/// Name, address and code of every preinstall, from the constants of the library. Permit2's code is a template.
fn preinstalls(library: &str) -> Result<Vec<Value>, String> {
    let mut list = Vec::new();
    for part in library.split("bytes internal constant ").skip(1) {
        let wrong =
            || format!("Preinstalls.sol is not of the form that is known, near {}", &part[..part.len().min(60)]);
        let (name, rest) = part.split_once("Code =").ok_or_else(wrong)?;
        let code = rest.split('"').nth(1).ok_or_else(wrong)?;
        let name = name.trim_end_matches("Template");
        let address = library.split_once(&format!("address internal constant {name} = ")).ok_or_else(wrong)?.1;
        let address = address.split_once(';').ok_or_else(wrong)?.0;
        list.push(json!({ "name": name, "address": address, "code": format!("0x{code}") }));
    }
    Ok(list)
}

/// Fetches the package unless it is there, checks it, and returns its folder.
fn unpacked(root: &Path) -> Result<std::path::PathBuf, String> {
    let folder = root.join("target/predeploys");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    let archive = folder.join(ARCHIVE);
    if !archive.exists() {
        execute(Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(&folder))?;
    }
    let bytes = fs::read(&archive).map_err(|e| format!("cannot read {}: {e}", archive.display()))?;
    let found = format!("{:x}", Sha256::digest(&bytes));
    if found != ARCHIVE_SHA256 {
        return Err(format!(
            "{} has SHA-256 {found}, not {ARCHIVE_SHA256}: delete it and run again",
            archive.display()
        ));
    }
    execute(Command::new("tar").args(["xzf", ARCHIVE]).current_dir(&folder))?;
    Ok(folder.join("package"))
}

fn execute(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("cannot start {command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}")) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_is_there_with_code() {
        let folder = workspace_root().join(DIRECTORY);
        for name in CONTRACTS {
            let code = read(&folder.join(format!("{name}.hex"))).unwrap();
            assert!(code.starts_with("0x6") && code.len() > 1000, "{name}: run `cargo xtask predeploys`");
        }
        let list: Vec<Value> = serde_json::from_str(&read(&folder.join("preinstalls.json")).unwrap()).unwrap();
        assert_eq!(list.len(), 12);
    }

    #[test]
    fn preinstalls_are_read_from_the_library() {
        let library = "address internal constant One = 0xaa;\n bytes internal constant OneCode =\n hex\"6001\";";
        assert_eq!(preinstalls(library).unwrap(), [json!({ "name": "One", "address": "0xaa", "code": "0x6001" })]);
        assert!(preinstalls("bytes internal constant Odd = 5;").unwrap_err().contains("Odd"));
    }
}
