//! One HTTP request for the bytes that are still missing.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{ArtifactError, MirrorFault};
use super::fetch::FetchLimits;
use super::part::{Part, Untaken};

/// Why a transfer ended before the artifact did.
#[derive(Debug)]
pub(super) enum Stop {
    /// Worth another try at the same mirror.
    Broken(Broken),
    /// Not worth it.
    Refused(MirrorFault),
    /// This machine's fault.
    Local(ArtifactError),
}

/// What may go better the next time.
#[derive(Debug)]
pub(super) enum Broken {
    Connection(reqwest::Error),
    Status(StatusCode),
    Stalled,
    Ended,
}

impl From<Untaken> for Stop {
    fn from(untaken: Untaken) -> Self {
        match untaken {
            Untaken::Mirror(fault) => Self::Refused(fault),
            Untaken::Local(error) => Self::Local(error),
        }
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Asks for everything after the bytes that `part` has, and adds what comes. `Ok` when no more is to come.
pub(super) async fn transfer(client: &Client, limits: &FetchLimits, url: &Url, part: &mut Part) -> Result<(), Stop> {
    let mut request = client.get(url.clone());
    if part.len() > 0 {
        request = request.header(RANGE, format!("bytes={}-", part.len()));
    }
    let response = timeout(limits.stall_window, request.send()).await.map_err(|_| Broken::Stalled)?;
    let response = response.map_err(Broken::Connection)?;
    match response.status() {
        StatusCode::OK => {
            // It knows no ranges, or nothing was there: all bytes come.
            if part.len() > 0 {
                part.reset().map_err(Stop::Local)?;
            }
            check_length(part, response.content_length())?;
        }
        StatusCode::PARTIAL_CONTENT => check_length(part, content_range(&response, part.len())?)?,
        StatusCode::RANGE_NOT_SATISFIABLE if all_there(&response, part.len()) => return Ok(()),
        status @ StatusCode::RANGE_NOT_SATISFIABLE => {
            part.reset().map_err(Stop::Local)?;
            return Err(Broken::Status(status).into());
        }
        status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
            return Err(Broken::Status(status).into());
        }
        status if status.is_server_error() => return Err(Broken::Status(status).into()),
        status => return Err(Stop::Refused(MirrorFault::Status { status: status.as_u16() })),
    }
    receive(response, limits, part).await
}

async fn receive(mut response: Response, limits: &FetchLimits, part: &mut Part) -> Result<(), Stop> {
    let mut window = Window::open(limits.stall_window);
    while !part.is_complete() {
        match timeout_at(window.end, response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                window.bytes += bytes.len() as u64;
                part.push(&bytes)?;
            }
            Ok(Ok(None)) if part.item().exact_bytes().is_some() => return Err(Broken::Ended.into()),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(e)) => return Err(Broken::Connection(e).into()),
            Err(_) if window.bytes < limits.stall_bytes => return Err(Broken::Stalled.into()),
            Err(_) => window = Window::open(limits.stall_window),
        }
    }
    Ok(())
}

/// A stretch of time in which enough bytes have to come: a mirror cannot hold a party with one byte a minute.
struct Window {
    end: Instant,
    bytes: u64,
}

impl Window {
    fn open(length: Duration) -> Self {
        Self { end: Instant::now() + length, bytes: 0 }
    }
}

/// Compares the length that the mirror announces for the whole artifact with what is declared, before any byte is taken.
fn check_length(part: &Part, announced_bytes: Option<u64>) -> Result<(), Stop> {
    let Some(actual_bytes) = announced_bytes else { return Ok(()) };
    let max_bytes = part.item().max_bytes();
    if actual_bytes > max_bytes {
        return Err(Stop::Refused(MirrorFault::TooLong { max_bytes, actual_bytes }));
    }
    match part.item().exact_bytes() {
        Some(expected_bytes) if actual_bytes < expected_bytes => {
            Err(Stop::Refused(MirrorFault::TooShort { expected_bytes, actual_bytes }))
        }
        _ => Ok(()),
    }
}

/// The length of the whole artifact, if the mirror says it, and if the part that it sends begins at `from_byte`.
fn content_range(response: &Response, from_byte: u64) -> Result<Option<u64>, Stop> {
    let text = content_range_text(response);
    let parsed = text.strip_prefix("bytes ").and_then(|rest| {
        let (range, total) = rest.split_once('/')?;
        let start = range.split_once('-')?.0.parse::<u64>().ok()?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        Some((start, total))
    });
    match parsed {
        Some((start, total)) if from_byte > 0 && start == from_byte => Ok(total),
        _ => Err(Stop::Refused(MirrorFault::Range { from_byte, content_range: text.chars().take(100).collect() })),
    }
}

/// Whether a refused range was refused because nothing is missing.
fn all_there(response: &Response, len: u64) -> bool {
    content_range_text(response).strip_prefix("bytes */").and_then(|total| total.parse().ok()) == Some(len)
}

fn content_range_text(response: &Response) -> &str {
    response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("")
}
