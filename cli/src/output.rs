//! What commands print: text for people, one JSON object a line for machines.

use std::io::Write as _;
use std::time::Instant;

use lockstep_sdk::report::{Event, Reporter};
use serde::Serialize;

use crate::failure::Failure;

/// Where a command's words go. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    json: bool,
    started: Instant,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, started: Instant::now() }
    }

    /// Whether machines read along.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    fn write(&self, line: &str) {
        // A closed pipe must not stop a daemon.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// A line for people only.
    pub(crate) fn text(&self, line: impl AsRef<str>) {
        if !self.json {
            self.write(line.as_ref());
        }
    }

    /// A result: `text` for people, `value` for machines.
    pub(crate) fn result(&self, text: impl AsRef<str>, value: &impl Serialize) {
        if !self.json {
            return self.write(text.as_ref());
        }
        match serde_json::to_string(value) {
            Ok(line) => self.write(&line),
            Err(e) => tracing::error!("a result cannot be written as JSON: {e}"),
        }
    }

    /// Why the command failed, on standard error.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            self.write(&serde_json::json!({ "error": failure.to_string() }).to_string());
        }
        let _ = writeln!(std::io::stderr().lock(), "lockstep: {failure}");
    }

    /// Where the events of `who` go.
    pub(crate) fn reporter(&self, who: &'static str) -> Reporter {
        let output = self.clone();
        Reporter::new(who, move |event| output.event(&event))
    }

    /// One event.
    pub(crate) fn event(&self, event: &Event) {
        self.result(self.line(event), event);
    }

    fn line(&self, event: &Event) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let about = match event.dispute_id {
            Some(dispute_id) => format!("dispute {dispute_id}"),
            None => format!("job {}", event.job_id),
        };
        let cost = event.cost.map_or(String::new(), |cost| format!("  [{} gas]", thousands(cost.gas.into())));
        format!("{seconds:6.1}s  {:<10} {about:<10} {:<10} {}{cost}", event.who, event.what, event.detail)
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(n: u128) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Token amounts have 18 decimals; shown in whole tokens with at most three of them.
pub(crate) fn tokens(wei: i128) -> String {
    let sign = if wei < 0 { "-" } else { "" };
    let milli = wei.unsigned_abs() / 1_000_000_000_000_000;
    let (whole, rest) = (milli / 1000, milli % 1000);
    if rest == 0 { format!("{sign}{}", thousands(whole)) } else { format!("{sign}{}.{rest:03}", thousands(whole)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(12), "12");
        assert_eq!(tokens(-1_500_000_000_000_000_000), "-1.500");
        assert_eq!(tokens(2_000_000_000_000_000_000_000), "2,000");
    }
}
