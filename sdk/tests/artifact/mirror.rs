//! A mirror that misbehaves as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Sends what was asked for.
    Whole,
    /// Sends everything, whatever range was asked for.
    WholeWithoutRange,
    /// Promises all, sends so many bytes, hangs up.
    Cut(usize),
    /// Promises all, sends so many bytes, then nothing more.
    Stall(usize),
    /// Promises all, sends a byte now and then.
    Trickle,
    /// Does not answer.
    Silent,
    /// Sends its bytes again and again, without saying how many.
    Endless,
    /// Sends a part that was not asked for.
    WrongRange,
    /// Answers with a status and nothing else.
    Status(u16),
}

/// Serves the same bytes for every path. Stops when dropped.
pub(crate) struct Mirror {
    address: SocketAddr,
    starts: Arc<Mutex<Vec<usize>>>,
    task: JoinHandle<()>,
}

impl Mirror {
    /// Answers the first requests as `acts` say, and none after that.
    pub(crate) async fn start(bytes: Vec<u8>, acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let starts = Arc::new(Mutex::new(vec![]));
        let seen = Arc::clone(&starts);
        let mut acts: VecDeque<Act> = acts.into_iter().collect();
        let task = tokio::spawn(async move {
            let bytes = Arc::new(bytes);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Some(act) = acts.pop_front() else { continue };
                tokio::spawn(answer(stream, Arc::clone(&bytes), act, Arc::clone(&seen)));
            }
        });
        Self { address, starts, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// First byte asked for by each request.
    pub(crate) fn starts(&self) -> Vec<usize> {
        self.starts.lock().unwrap().clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, bytes: Arc<Vec<u8>>, act: Act, seen: Arc<Mutex<Vec<usize>>>) {
    let mut request = vec![];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    let range = request.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once('-'));
    let start = range.map_or(0, |(start, _)| start.parse().unwrap());
    seen.lock().unwrap().push(start);
    // The client may hang up at any time.
    let _ = send(&mut stream, &bytes, act, start).await;
}

async fn send(stream: &mut TcpStream, bytes: &[u8], act: Act, start: usize) -> std::io::Result<()> {
    let rest = &bytes[start.min(bytes.len())..];
    match act {
        Act::Whole => {
            head(stream, bytes.len(), start).await?;
            stream.write_all(rest).await?;
        }
        Act::WholeWithoutRange => {
            head(stream, bytes.len(), 0).await?;
            stream.write_all(bytes).await?;
        }
        Act::Cut(len) => {
            head(stream, bytes.len(), start).await?;
            stream.write_all(&rest[..len.min(rest.len())]).await?;
        }
        Act::Stall(len) => {
            head(stream, bytes.len(), start).await?;
            stream.write_all(&rest[..len]).await?;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Act::Trickle => {
            head(stream, bytes.len(), start).await?;
            for byte in rest {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Act::Silent => tokio::time::sleep(Duration::from_secs(60)).await,
        Act::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(bytes).await?;
            }
        }
        Act::WrongRange => {
            let len = bytes.len();
            let text = format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes 1-{}/{len}\r\n\r\n",
                len - 1,
                len - 1
            );
            stream.write_all(text.as_bytes()).await?;
            stream.write_all(&bytes[1..]).await?;
        }
        Act::Status(status) => {
            let text = format!("HTTP/1.1 {status} As Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await?;
        }
    }
    stream.shutdown().await
}

async fn head(stream: &mut TcpStream, len: usize, start: usize) -> std::io::Result<()> {
    let rest = len - start;
    let text = if start == 0 {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {rest}\r\nconnection: close\r\n\r\n")
    } else {
        let range = format!("bytes {start}-{}/{len}", len - 1);
        format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {rest}\r\ncontent-range: {range}\r\nconnection: close\r\n\r\n"
        )
    };
    stream.write_all(text.as_bytes()).await
}
