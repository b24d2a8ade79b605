//! Connections of the artifact server, limited in number and in how long they may do nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time. More wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// A connection on which neither side gets a byte through for so long is closed: it may be a peer that went away, or one
/// that wants to hold a place.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Hands out connections while places are left.
#[derive(Debug)]
pub(super) struct LimitedListener {
    inner: TcpListener,
    places: Arc<Semaphore>,
    idle_timeout: Duration,
}

impl LimitedListener {
    pub(super) fn new(inner: TcpListener) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), idle_timeout: IDLE_TIMEOUT }
    }
}

impl Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = loop {
            // Fails only when closed, and nobody closes it.
            if let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                break place;
            }
        };
        let (stream, peer) = Listener::accept(&mut self.inner).await;
        (Connection::new(stream, place, self.idle_timeout), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A TCP stream that fails when idle for too long, and gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    idle_timeout: Duration,
    last_progress: Instant,
    timer: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, idle_timeout: Duration) -> Self {
        let timer = Box::pin(sleep(idle_timeout));
        Self { stream, idle_timeout, last_progress: Instant::now(), timer, _place: place }
    }

    /// Passes on what became of an operation, but turns waiting for too long into an error.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.last_progress = Instant::now();
            return result;
        }
        // The timer is moved only when it fires, not on every read and write.
        while self.timer.as_mut().poll(cx).is_ready() {
            let deadline = self.last_progress + self.idle_timeout;
            if deadline <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(cx, result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listener(places: usize, idle_timeout: Duration) -> LimitedListener {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        LimitedListener { inner, places: Arc::new(Semaphore::new(places)), idle_timeout }
    }

    #[tokio::test]
    async fn silent_peer_is_dropped_and_talking_one_is_not() {
        let mut listener = listener(2, Duration::from_millis(300)).await;
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut connection, _) = listener.accept().await;
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            peer.write_all(b"x").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'x');
        }
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn stalled_reader_is_dropped() {
        let mut listener = listener(1, Duration::from_millis(200)).await;
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut connection, _) = listener.accept().await;
        let error = connection.write_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn places_are_limited_and_given_back() {
        let mut listener = listener(1, Duration::from_secs(10)).await;
        let address = listener.local_addr().unwrap();
        let _peers = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let (first, _) = listener.accept().await;
        assert!(tokio::time::timeout(Duration::from_millis(100), listener.accept()).await.is_err());
        drop(first);
        tokio::time::timeout(Duration::from_secs(5), listener.accept()).await.unwrap();
    }
}
