//! The OP Stack's contracts: an npm package in, one trimmed file out, so that `cargo build` needs no Node.
//!
//! ```text
//! @eth-optimism/contracts-bedrock ──npm──► node_modules ──this──► sequencer/op-contracts/contracts.json
//! ```
//!
//! The package is pinned by `package-lock.json`, with its hash.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::{
    contracts::{install, workspace_root},
    write,
};

/// Where everything is, from the workspace root.
const DIRECTORY: &str = "sequencer/op-contracts";

/// What is checked in.
const FILE: &str = "contracts.json";

/// The package.
const PACKAGE: &str = "@eth-optimism/contracts-bedrock";

/// Contracts whose creation code is kept: what the rollup has on L1, and the system contracts of L2.
const CONTRACTS: [&str; 26] = [
    "BaseFeeVault",
    "DeployerWhitelist",
    "EAS",
    "GasPriceOracle",
    "L1Block",
    "L1BlockNumber",
    "L1CrossDomainMessenger",
    "L1ERC721Bridge",
    "L1FeeVault",
    "L1StandardBridge",
    "L2CrossDomainMessenger",
    "L2ERC721Bridge",
    "L2OutputOracle",
    "L2StandardBridge",
    "L2ToL1MessagePasser",
    "LegacyMessagePasser",
    "OptimismMintableERC20Factory",
    "OptimismMintableERC721Factory",
    "OptimismPortal",
    "Proxy",
    "ProxyAdmin",
    "SchemaRegistry",
    "SequencerFeeVault",
    "SuperchainConfig",
    "SystemConfig",
    "WETH",
];

/// `cargo xtask op-contracts [build | check]`; `build` is the default.
///
/// # Errors
/// In words: which tool or file failed, and what to do.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let directory = workspace_root().join(DIRECTORY);
    let text = trimmed(&directory)?;
    let file = directory.join(FILE);
    match args.first().map(String::as_str) {
        None | Some("build") => write(&file, text.as_bytes()),
        Some("check") if read(&file)? == text => {
            println!("the OP Stack's contracts are what the package holds");
            Ok(())
        }
        Some("check") => Err(format!("{DIRECTORY}/{FILE} is not what {PACKAGE} holds: run `cargo xtask op-contracts`")),
        Some(other) => Err(format!("unknown command `op-contracts {other}`; there are build and check")),
    }
}

/// The text of the file, from the installed package.
fn trimmed(directory: &Path) -> Result<String, String> {
    install(directory, PACKAGE)?;
    let package = directory.join("node_modules").join(PACKAGE);
    let mut contracts = Map::new();
    for name in CONTRACTS {
        let path = package.join(format!("forge-artifacts/{name}.sol/{name}.json"));
        let artifact = read_json(&path)?;
        let code = artifact["bytecode"]["object"].as_str().filter(|hex| hex.len() > 2 && !hex.contains('_'));
        let code = code.ok_or_else(|| format!("{}: no linked bytecode", path.display()))?;
        contracts.insert(name.into(), code.into());
    }
    let version = read_json(&package.join("package.json"))?["version"].clone();
    let preinstalls = preinstalls(&read(&package.join("src/libraries/Preinstalls.sol"))?)?;
    let all = json!({ "package": PACKAGE, "version": version, "contracts": contracts, "preinstalls": preinstalls });
    serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(|error| format!("cannot write JSON: {error}"))
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

fn read_json(path: &Path) -> Result<Value, String> {
    serde_json::from_str(&read(path)?).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_every_contract_of_the_pinned_package() {
        let directory = workspace_root().join(DIRECTORY);
        let kept = read_json(&directory.join(FILE)).unwrap();
        let wanted = read_json(&directory.join("package.json")).unwrap();
        let locked = read_json(&directory.join("package-lock.json")).unwrap();
        let locked = &locked["packages"][format!("node_modules/{PACKAGE}")];
        assert_eq!(kept["version"], wanted["dependencies"][PACKAGE], "run `cargo xtask op-contracts`");
        assert_eq!(kept["version"], locked["version"]);
        assert!(locked["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")));
        let contracts = kept["contracts"].as_object().unwrap();
        assert!(contracts.keys().map(String::as_str).eq(CONTRACTS), "run `cargo xtask op-contracts`");
        assert!(contracts.values().all(|code| code.as_str().is_some_and(|code| code.len() > 1000)));
        assert_eq!(kept["preinstalls"].as_array().map(Vec::len), Some(12));
    }

    #[test]
    fn preinstalls_are_read_from_the_library() {
        let library = "address internal constant One = 0xaa;\n bytes internal constant OneCode =\n hex\"6001\";";
        assert_eq!(preinstalls(library).unwrap(), [json!({ "name": "One", "address": "0xaa", "code": "0x6001" })]);
        assert!(preinstalls("bytes internal constant Odd = 5;").unwrap_err().contains("Odd"));
    }
}
