//! One measured case, for people and for machines.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One case of a suite. A figure that does not exist is absent: `null` in JSON, empty in a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What `cargo xtask bench` calls the suite.
    pub suite: String,
    /// What was measured: shape, threads, input.
    pub case: String,
    /// Unit of `ours`, `peer` and `limit`.
    pub unit: String,
    /// Our figure.
    pub ours: Option<f64>,
    /// The peer's figure in the same run; absent, with `peer_name` present, where the peer is not installed.
    pub peer: Option<f64>,
    /// Who the peer is.
    pub peer_name: Option<String>,
    /// How many times better we are than the peer: above 1 we win, whether the unit counts work per second or seconds per work.
    pub ratio: Option<f64>,
    /// The physical or promised bound.
    pub limit: Option<f64>,
    /// The share of `limit` that `ours` reaches or uses up.
    pub share: Option<f64>,
}

impl Record {
    /// A figure without a peer or a bound.
    #[must_use]
    pub fn new(suite: &str, case: impl Into<String>, unit: &str, ours: f64) -> Self {
        Self {
            suite: suite.to_owned(),
            case: case.into(),
            unit: unit.to_owned(),
            ours: finite(ours),
            peer: None,
            peer_name: None,
            ratio: None,
            limit: None,
            share: None,
        }
    }

    /// Puts a peer's figure beside ours. `ratio` says how many times better we are; [`crate::Samples::ratio`] gives it for times.
    #[must_use]
    pub fn against(mut self, name: &str, peer: f64, ratio: f64) -> Self {
        (self.peer, self.ratio) = (finite(peer), finite(ratio));
        self.peer_name = Some(name.to_owned());
        self
    }

    /// Names a peer that could not be measured, and why.
    #[must_use]
    pub fn missing_peer(mut self, name_and_reason: &str) -> Self {
        (self.peer, self.ratio) = (None, None);
        self.peer_name = Some(name_and_reason.to_owned());
        self
    }

    /// Puts a physical or promised bound beside our figure.
    #[must_use]
    pub fn of_limit(mut self, limit: f64) -> Self {
        self.limit = finite(limit);
        self.share = self.ours.and_then(|ours| finite(ours / limit));
        self
    }

    /// One line of JSON, without the line's end.
    #[must_use]
    pub fn line(&self) -> String {
        // A struct of strings and finite numbers always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl FromStr for Record {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(line)
    }
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// A column's heading, its alignment and its cell.
type Column = (&'static str, &'static str, fn(&Record) -> String);

const COLUMNS: [Column; 8] = [
    ("case", "---", |r| r.case.clone()),
    ("ours", "---:", |r| number(r.ours)),
    ("unit", "---", |r| r.unit.clone()),
    ("peer", "---:", |r| if r.peer_name.is_some() && r.peer.is_none() { "missing".into() } else { number(r.peer) }),
    ("which", "---", |r| r.peer_name.clone().unwrap_or_default()),
    ("ratio", "---:", |r| r.ratio.map_or(String::new(), |x| format!("{x:.2}"))),
    ("limit", "---:", |r| number(r.limit)),
    ("share", "---:", |r| r.share.map_or(String::new(), |x| format!("{:.0} %", x * 100.0))),
];

/// A Markdown table of the records; columns in which no record has anything are left out.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let used = |column: &&Column| records.iter().any(|r| !(column.2)(r).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(used).collect();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = row(columns.iter().map(|c| c.0.to_owned()).collect());
    text += &format!("|{}|\n", columns.iter().map(|c| c.1).collect::<Vec<_>>().join("|"));
    for record in records {
        text += &row(columns.iter().map(|c| (c.2)(record).replace('|', "/")).collect());
    }
    text
}

/// Three or four digits that mean something; whole numbers whole.
fn number(x: Option<f64>) -> String {
    let Some(x) = x else { return String::new() };
    match x.abs() {
        _ if x.fract() == 0.0 => format!("{x:.0}"),
        a if a >= 1000.0 => format!("{x:.0}"),
        a if a >= 100.0 => format!("{x:.1}"),
        a if a >= 1.0 => format!("{x:.2}"),
        a if a >= 0.01 => format!("{x:.3}"),
        _ => format!("{x:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_figures_are_null() {
        let record = Record::new("kernels", "a", "GB/s", 2.0).missing_peer("torch (not installed)");
        let expected = r#"{"suite":"kernels","case":"a","unit":"GB/s","ours":2.0,"peer":null,"#.to_owned()
            + r#""peer_name":"torch (not installed)","ratio":null,"limit":null,"share":null}"#;
        assert_eq!(record.line(), expected);
        assert_eq!(expected.parse::<Record>().unwrap(), record);
        assert!(r#"{"suite":"kernels","case":"a"}"#.parse::<Record>().is_err());
    }

    #[test]
    fn a_figure_that_is_not_a_number_is_absent() {
        let record = Record::new("kernels", "a", "s", f64::NAN).against("b", f64::INFINITY, f64::NAN).of_limit(3.0);
        assert_eq!((record.ours, record.peer, record.ratio, record.share), (None, None, None, None));
        assert!(!record.line().is_empty());
    }

    #[test]
    fn tables_leave_out_what_nobody_has() {
        let records =
            [Record::new("s", "one | two", "gas", 1_523_159.0).of_limit(5e6), Record::new("s", "b", "s", 24.66)];
        let expected = "| case | ours | unit | limit | share |\n|---|---:|---|---:|---:|\n\
                        | one / two | 1523159 | gas | 5000000 | 30 % |\n| b | 24.66 | s |  |  |\n";
        assert_eq!(table(&records), expected);
    }

    #[test]
    fn a_missing_peer_is_named() {
        let text = table(&[Record::new("s", "a", "s", 1.5).missing_peer("torch (not installed)")]);
        assert!(text.contains("| a | 1.50 | s | missing | torch (not installed) |"), "{text}");
    }
}
