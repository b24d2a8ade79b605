//! `cargo xtask bench`: tables for people, written under docs/benchmarks; one JSON object a line for machines.
//!
//! A suite yields [`Record`]s and nothing else; a new one is a module with a `run` and a line in [`SUITES`].

mod gas;
mod kernels;
mod market;
mod node;

use lockstep_bench::{Record, machine, table};

use crate::{contracts::workspace_root, write};

/// Takes the records of a suite, as they come.
type Sink<'a> = &'a mut dyn FnMut(Record);

struct Suite {
    name: &'static str,
    title: &'static str,
    /// What a reader has to know about how the figures were made.
    notes: &'static str,
    /// Yields the suite's records; with `true`, fewer and coarser ones.
    run: fn(bool, Sink<'_>) -> Result<(), String>,
}

const SUITES: &[Suite] = &[
    Suite { name: "gas", title: "Gas of the contracts", notes: gas::NOTES, run: gas::run },
    Suite { name: "kernels", title: "Kernels and commitments on the CPU", notes: kernels::NOTES, run: kernels::run },
    Suite { name: "market", title: "The demo in gas and seconds", notes: market::NOTES, run: market::run },
    Suite { name: "node", title: "The rollup node", notes: node::NOTES, run: node::run },
];

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let names: Vec<&str> = SUITES.iter().map(|s| s.name).collect();
    let wanted = args.first().map(String::as_str);
    let suite = SUITES.iter().find(|s| Some(s.name) == wanted);
    let suite = suite.ok_or_else(|| format!("which suite? There are: {}", names.join(", ")))?;
    if let Some(unknown) = args[1..].iter().find(|f| !["--quick", "--json"].contains(&f.as_str())) {
        return Err(format!("`bench` has no `{unknown}`; there are --quick and --json"));
    }
    let (quick, json) = (args[1..].iter().any(|f| f == "--quick"), args[1..].iter().any(|f| f == "--json"));
    let mut records = Vec::new();
    (suite.run)(quick, &mut |record| {
        if json {
            println!("{}", record.line());
        }
        records.push(record);
    })?;
    if let Some(stray) = records.iter().find(|r| r.suite != suite.name) {
        return Err(format!("the suite {} yielded a record of {}: {}", suite.name, stray.suite, stray.line()));
    }
    if json {
        return Ok(());
    }
    let table = table(&records);
    print!("{table}");
    if quick {
        println!("\n--quick measures too little to be kept: docs/benchmarks/{}.md is as it was", suite.name);
        return Ok(());
    }
    let path = workspace_root().join(format!("docs/benchmarks/{}.md", suite.name));
    write(&path, format!("{}{table}", head(suite)).as_bytes())
}

fn head(suite: &Suite) -> String {
    format!(
        "# {}\n\nMade by `cargo xtask bench {}` on: {}. {}\n\nA ratio above 1 means that ours is better than the peer; share is the \
         part of the limit, physical or promised, that ours reaches or uses up.\n\n",
        suite.title,
        suite.name,
        machine(),
        suite.notes,
    )
}

#[cfg(test)]
mod tests {
    use super::run;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn unknown_suites_and_flags_are_refused() {
        assert!(run(&[]).unwrap_err().contains("kernels, market"));
        assert!(run(&words("weather")).unwrap_err().contains("kernels, market"));
        assert!(run(&words("market --fast")).unwrap_err().contains("--quick and --json"));
    }
}
