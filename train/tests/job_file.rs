//! Job files: what is read, and what is refused with which words.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use lockstep_train::{JobFile, JobFileError};

const EXAMPLE: &str = include_str!("../examples/mlp-digits.toml");

/// The example with one line replaced.
fn with(key: &str, line: &str) -> String {
    let lines = EXAMPLE.lines().map(|l| if l.starts_with(&format!("{key} =")) { line } else { l });
    lines.collect::<Vec<_>>().join("\n")
}

fn refusal(text: &str) -> String {
    JobFile::parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_is_the_default_job() {
    assert_eq!(JobFile::parse(EXAMPLE).unwrap(), JobFile::default());
}

#[test]
fn every_value_is_used() {
    let job = JobFile::parse(&with("hidden", "hidden = [8, 9]")).unwrap();
    assert_eq!(job.hidden, [8, 9]);
    assert_eq!(JobFile::parse(&with("seed", "seed = 7")).unwrap().seed, 7);
    assert_eq!(JobFile::parse(&with("learning_rate", "learning_rate = 0.25")).unwrap().learning_rate, 0.25);
}

#[test]
fn unknown_missing_and_mistyped_keys_are_named() {
    let unknown = refusal(&format!("{EXAMPLE}\nwarmup = 3\n"));
    assert!(unknown.contains("unknown field `warmup`") && unknown.contains("`learning_rate`"), "{unknown}");
    let missing = refusal(&with("batch", ""));
    assert!(missing.contains("missing field `batch`"), "{missing}");
    let mistyped = refusal(&with("batch", "batch = \"many\""));
    assert!(mistyped.contains("line") && mistyped.contains("invalid type"), "{mistyped}");
    let model = refusal(&with("model", "model = \"gpt\""));
    assert!(model.contains("unknown variant `gpt`") && model.contains("mlp"), "{model}");
    assert!(refusal("model = ").contains("line 1"));
}

#[test]
fn values_out_of_range_are_refused() {
    let cases = [
        ("hidden", "hidden = [0]", "`hidden` is 0; it must be from 1 to 2048"),
        ("hidden", "hidden = [1,1,1,1,1,1,1,1,1]", "`hidden` is 9 layers; it must be at most 8"),
        ("batch", "batch = 4097", "`batch` is 4097; it must be from 1 to 4096"),
        ("steps", "steps = 0", "`steps` is 0; it must be from 1 to 1000000"),
        ("learning_rate", "learning_rate = nan", "`learning_rate` is NaN; it must be above 0 and at most 100"),
        ("learning_rate", "learning_rate = -0.1", "`learning_rate` is -0.1; it must be above 0 and at most 100"),
        ("momentum", "momentum = 1.0", "`momentum` is 1; it must be at least 0 and below 1"),
    ];
    for (key, line, expected) in cases {
        assert_eq!(refusal(&with(key, line)), expected);
    }
    assert_eq!(JobFile::parse(&"#".repeat(65_537)).unwrap_err(), JobFileError::TooLong(65_537));
}
