//! `cargo xtask contracts mutate`: do the tests notice? Contracts are broken one place at a time in a copy, and each time the tests that
//! answer for the place must fail.
//!
//! ```text
//! contracts/, ir/sol ──copy, change one place──► forge build ──code──► tests/*.rs of `lockstep-contracts` ──► must fail
//!                                            └─► forge test ──────────────────────────────────────────────► must fail
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::contracts::{read_json, workspace_root};

/// Which tests answer for a place.
#[derive(Clone, Copy)]
enum Tests {
    /// A test target of `lockstep-contracts`, which runs the code of these contracts.
    Rust(&'static str),
    /// A file of Foundry tests.
    Forge(&'static str),
}

/// A place and how it is broken.
struct Mutation {
    what: &'static str,
    /// Under `contracts/src`.
    file: &'static str,
    from: &'static str,
    /// Which of the places that read so, from 0.
    nth: usize,
    to: &'static str,
    tests: Tests,
}

const fn of(
    what: &'static str,
    file: &'static str,
    (from, nth, to): (&'static str, usize, &'static str),
    tests: Tests,
) -> Mutation {
    Mutation { what, file, from, nth, to, tests }
}

const FLOATS: Tests = Tests::Rust("float32");
const UNITS: Tests = Tests::Rust("referee");
const TREES: Tests = Tests::Forge("test/ChunkTree.t.sol");
const CLOCKS: Tests = Tests::Forge("test/game/Clocks.t.sol");
const PAY: Tests = Tests::Forge("test/game/Pay.t.sol");
const DRAW: Tests = Tests::Forge("test/game/Draw.t.sol");
const VERDICTS: Tests = Tests::Forge("test/game/Verdicts.t.sol");
const STEPS: Tests = Tests::Forge("test/game/Steps.t.sol");

/// The parity bit of the rounding: with 0 in its place ties go down, with 1 up.
const SUM_TIE: &str = "and(shr(z, sum), 1)";

const MUTATIONS: &[Mutation] = &[
    of("addition: ties away from zero", "Float32.sol", (SUM_TIE, 0, "1"), FLOATS),
    of("multiplication: ties away from zero", "Float32.sol", ("and(shr(z, product), 1)", 0, "1"), FLOATS),
    of("multiplication: ties towards zero", "Float32.sol", ("and(shr(z, product), 1)", 0, "0"), FLOATS),
    of("division: ties away from zero", "Float32.sol", ("and(shr(z, quotient), 1)", 0, "1"), FLOATS),
    of("fma: ties away from zero", "Float32.sol", (SUM_TIE, 1, "1"), FLOATS),
    of("rint: ties up", "Float32.sol", ("((magnitude >> bits) & 1)", 0, "1"), FLOATS),
    of("multiplication: subnormal results flushed", "Float32.sol", ("z := sub(z, e)\n", 1, "z := 255\n"), FLOATS),
    of("fma: subnormal results flushed", "Float32.sol", ("z := sub(z, e)\n", 3, "z := 255\n"), FLOATS),
    of("addition: subnormal operands read as normal", "Float32Slow.sol", ("gt(e, 0)", 0, "1"), FLOATS),
    of("addition: infinity less infinity is infinity", "Float32Slow.sol", ("a == b ^ SIGN ? NAN : a", 0, "a"), FLOATS),
    of(
        "addition: a NaN keeps its payload",
        "Float32Slow.sol",
        ("if (isNan(a)) return NAN;", 0, "if (isNan(a)) return a;"),
        FLOATS,
    ),
    of("negation: a NaN keeps its payload", "Float32.sol", ("isNan(x) ? NAN : x ^ SIGN", 0, "x ^ SIGN"), FLOATS),
    of("addition: minus zero is lost", "Float32Slow.sol", ("? a : a & b;", 0, "? a : b;"), FLOATS),
    of(
        "fma: far terms are dropped",
        "Float32.sol",
        ("case 1 { shift := 0 }", 0, "case 1 { c := 0 shift := 0 }"),
        FLOATS,
    ),
    of("dot product: ties up", "DotChain.sol", ("and(shr(top, next), 1)", 0, "1"), UNITS),
    of("dot product: skipped terms count", "DotChain.sol", ("!= 0) return acc;", 0, "> 1) return acc;"), UNITS),
    of(
        "integer product: one term is left out",
        "LeafFold.sol",
        (
            "readers[b].values, n);\n        }\n        return leafByBody",
            0,
            "readers[b].values, n - 1);\n        }\n        return leafByBody",
        ),
        Tests::Rust("gas"),
    ),
    of(
        "fold: lanes folded in another order",
        "LeafFold.sol",
        ("wordAt(lanes + i + half)", 0, "wordAt(lanes + 2 * half - 32 - i)"),
        UNITS,
    ),
    of(
        "fold: one lane fewer",
        "LeafFold.sol",
        ("fold.lanes ? (LANES - 1) << 5", 0, "fold.lanes ? (LANES / 2 - 1) << 5"),
        UNITS,
    ),
    of(
        "fold: block results from the last",
        "LeafFold.sol",
        ("valueAt(packed + (i << 2))", 0, "valueAt(packed + ((n - i) << 2))"),
        UNITS,
    ),
    of(
        "fold: blocks start from zero",
        "LeafFold.sol",
        ("put(lanes + (i << 5), init);", 0, "put(lanes + (i << 5), 0);"),
        UNITS,
    ),
    of("fold: skipped elements count", "LeafFold.sol", ("if ((left >> k) & 1 == 0) {", 0, "if (left != 1) {"), UNITS),
    of(
        "proof: left and right exchanged",
        "ChunkTree.sol",
        ("let side := shl(5, and(index, 1))", 0, "let side := shl(5, iszero(and(index, 1)))"),
        TREES,
    ),
    of("proof: any length", "ChunkTree.sol", ("if (proof.length != depth_)", 0, "if (proof.length > depth_)"), TREES),
    of(
        "chunk: padding from the party",
        "ChunkTree.sol",
        ("data.length != expected ||", 0, "data.length > 1024 ||"),
        TREES,
    ),
    of(
        "chunk: an element of a chunk before",
        "game/ElementMoves.sol",
        ("CHUNK_BYTES != d.index)", 0, "CHUNK_BYTES > d.index)"),
        Tests::Forge("test/game/Elements.t.sol"),
    ),
    of("pointer past the end of the steps", "game/Game.sol", ("if (index >= count)", 0, "if (index > count)"), STEPS),
    of("clock: a move costs nothing", "game/Game.sol", ("clockS - uint32(elapsedS) : 0", 0, "clockS : 0"), CLOCKS),
    of(
        "clock: grace on top of the clock",
        "game/Game.sol",
        ("(clockS > graceS ? clockS : graceS)", 0, "clockS + graceS"),
        CLOCKS,
    ),
    of(
        "clock: a move in the second after the deadline",
        "game/Game.sol",
        ("if (block.timestamp > deadline) revert TimeIsUp", 0, "if (block.timestamp > deadline + 1) revert TimeIsUp"),
        CLOCKS,
    ),
    of(
        "clock: the wrong side loses",
        "game/Verdicts.sol",
        ("d.turn == Side.Defender ? Side.Challenger : Side.Defender, address(0)", 0, "d.turn, address(0)"),
        CLOCKS,
    ),
    of(
        "judgement: equal values convict",
        "game/Verdicts.sol",
        ("bits == d.value ? Side.Defender : Side.Challenger", 0, "bits == d.value ? Side.Challenger : Side.Defender"),
        VERDICTS,
    ),
    of(
        "judgement: any node will do",
        "game/Verdicts.sol",
        ("_checkHash(d.nodeHash, keccak256(node));", 0, ""),
        VERDICTS,
    ),
    of("payment: twice", "Docket.sol", ("e.paid = true;", 0, ""), PAY),
    of(
        "payment: to the job's solver of today",
        "Docket.sol",
        ("disputes.defenderOf(disputeId)", 0, "market.job(e.jobId).solver"),
        PAY,
    ),
    of(
        "payment: the job goes on without it",
        "JobMarket.sol",
        ("if (j.stakeWei != 0) revert NotYetSlashed(jobId, j.stakeWei);", 0, ""),
        PAY,
    ),
    of(
        "verifiers leave before the payment",
        "market/Jobs.sol",
        (" || (j.status == JobStatus.Convicted && j.stakeWei != 0)", 0, ""),
        DRAW,
    ),
    of(
        "verifiers reveal after the reward is divided",
        "VerifierDraw.sol",
        ("if (block.timestamp <= d.revealEndS) d.revealEndS = 0;", 0, ""),
        DRAW,
    ),
];

/// Breaks every place, or those whose name has a word.
///
/// # Errors
/// A place that is not there, a copy that cannot be built, tests that fail on the unchanged sources, or a mutation that nobody noticed.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let copy = tempfile::tempdir().map_err(|e| format!("cannot make a folder: {e}"))?;
    let copy = Copy { root: copy.path().to_path_buf(), _kept: copy };
    copy.fill()?;
    let chosen: Vec<&Mutation> =
        MUTATIONS.iter().filter(|m| words.iter().all(|word| m.what.contains(word.as_str()))).collect();
    let mut seen: Vec<String> = vec![];
    for mutation in &chosen {
        let name = mutation.tests.name();
        if !seen.contains(&name) {
            if !copy.passes(mutation.tests)? {
                return Err(format!("{name} fails on the unchanged sources"));
            }
            seen.push(name);
        }
    }
    let mut survivors = vec![];
    for mutation in &chosen {
        let start = Instant::now();
        let unchanged = copy.change(mutation)?;
        let passes = copy.passes(mutation.tests)?;
        unchanged()?;
        let verdict = if passes { "SURVIVES" } else { "caught" };
        println!("{verdict} by {}, {:.0} s: {}", mutation.tests.name(), start.elapsed().as_secs_f64(), mutation.what);
        if passes {
            survivors.push(mutation.what);
        }
    }
    println!("{} of {} mutations caught", chosen.len() - survivors.len(), chosen.len());
    if survivors.is_empty() { Ok(()) } else { Err(format!("not noticed: {}", survivors.join("; "))) }
}

impl Tests {
    fn name(self) -> String {
        match self {
            Self::Rust(target) => format!("contracts/tests/{target}.rs"),
            Self::Forge(path) => format!("contracts/{path}"),
        }
    }
}

/// The sources, to be broken.
struct Copy {
    root: PathBuf,
    _kept: tempfile::TempDir,
}

impl Copy {
    fn contracts(&self) -> PathBuf {
        self.root.join("contracts")
    }

    fn fill(&self) -> Result<(), String> {
        let from = workspace_root();
        fs::create_dir_all(self.root.join("ir")).map_err(|e| e.to_string())?;
        fs::create_dir_all(self.contracts()).map_err(|e| e.to_string())?;
        for path in ["ir/sol", "contracts/src", "contracts/test", "contracts/tools", "contracts/foundry.toml"] {
            succeed(Command::new("cp").arg("-r").arg(from.join(path)).arg(self.root.join(path)))?;
        }
        // what forge has compiled already, so that only what is changed is compiled again
        for built in
            ["contracts/cache", "contracts/out"].map(Path::new).into_iter().filter(|path| from.join(path).exists())
        {
            succeed(Command::new("cp").arg("-r").arg(from.join(built)).arg(self.root.join(built)))?;
        }
        let modules = self.contracts().join("node_modules");
        std::os::unix::fs::symlink(from.join("contracts/node_modules"), modules).map_err(|e| e.to_string())
    }

    /// Breaks the place; gives what mends it.
    fn change(&self, mutation: &Mutation) -> Result<impl FnOnce() -> Result<(), String> + use<>, String> {
        let path = self.contracts().join("src").join(mutation.file);
        let text = read(&path)?;
        let place = text.match_indices(mutation.from).nth(mutation.nth);
        let place = place.ok_or_else(|| format!("{}: {} is not there", mutation.what, mutation.from))?.0;
        let broken = format!("{}{}{}", &text[..place], mutation.to, &text[place + mutation.from.len()..]);
        write(&path, &broken)?;
        Ok(move || write(&path, &text))
    }

    fn passes(&self, tests: Tests) -> Result<bool, String> {
        match tests {
            Tests::Forge(path) => {
                let output = self.forge(&["test", "--match-path", path])?;
                match (output.contains("Suite result: FAILED"), output.contains("Suite result: ok")) {
                    (true, _) => Ok(false),
                    (false, true) => Ok(true),
                    _ => Err(format!("forge ran no tests of {path}:\n{output}")),
                }
            }
            Tests::Rust(target) => {
                let harnesses = ["test/harness/Float32Harness.sol", "test/harness/ScalarVmHarness.sol"];
                self.forge(&["build", "src/Referee.sol", harnesses[0], harnesses[1]])?;
                let codes = self.root.join("codes");
                fs::create_dir_all(&codes).map_err(|e| e.to_string())?;
                for name in ["Referee", "Float32Harness", "ScalarVmHarness"] {
                    let built = read_json(&self.contracts().join(format!("out/{name}.sol/{name}.json")))?;
                    let code = built["deployedBytecode"]["object"].as_str().unwrap_or_default();
                    write(&codes.join(name), code)?;
                }
                cargo_test(target, &codes)
            }
        }
    }

    fn forge(&self, arguments: &[&str]) -> Result<String, String> {
        let forge = self.contracts().join("node_modules/.bin/forge");
        let (ok, output) = run_quietly(Command::new(forge).args(arguments).current_dir(self.contracts()))?;
        if ok || arguments[0] == "test" {
            Ok(output)
        } else {
            Err(format!("the changed sources do not build:\n{output}"))
        }
    }
}

/// Whether the tests of a target pass with other code in the place of what is checked in.
fn cargo_test(target: &str, codes: &Path) -> Result<bool, String> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--release", "-p", "lockstep-contracts", "--test", target]).current_dir(workspace_root());
    let (ok, output) = run_quietly(command.env("LOCKSTEP_CONTRACT_CODES", codes))?;
    if ok || output.contains("test result: FAILED") { Ok(ok) } else { Err(format!("{target} did not run:\n{output}")) }
}

fn run_quietly(command: &mut Command) -> Result<(bool, String), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot start {command:?}: {e}"))?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ok((output.status.success(), text))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let (ok, output) = run_quietly(command)?;
    if ok { Ok(()) } else { Err(format!("{command:?} failed: {output}")) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_to_break_is_there() {
        for mutation in MUTATIONS {
            let text = read(&workspace_root().join("contracts/src").join(mutation.file)).unwrap();
            assert!(text.match_indices(mutation.from).nth(mutation.nth).is_some(), "{}", mutation.what);
            assert_ne!(mutation.from, mutation.to, "{}", mutation.what);
        }
    }
}
