//! Time limit for clients to receive what is sent to them.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream whose writes fail if the peer has not received everything within a time limit.
///
/// The time starts when the peer first falls behind, and ends when everything is flushed. A peer
/// that accepts a byte now and then gains nothing.
pub(super) struct Delivery<T> {
    inner: T,
    limit: Duration,
    behind: Option<Pin<Box<Sleep>>>,
}

impl<T: AsyncWrite + Unpin> Delivery<T> {
    pub(super) const fn new(inner: T, limit: Duration) -> Self {
        Self { inner, limit, behind: None }
    }

    fn bounded<R>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let polled = poll(Pin::new(&mut self.inner), context);
        if polled.is_ready() {
            return polled;
        }
        let limit = self.limit;
        let behind = self.behind.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(behind.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Delivery<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bounded(context, |inner, context| inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bounded(context, |inner, context| inner.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // hyper flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.bounded(context, AsyncWrite::poll_flush))?;
        self.behind = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(context, AsyncWrite::poll_shutdown)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Delivery<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_dripping_reader_gets_no_more_time() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Delivery::new(ours, LIMIT);
        let dripping = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let started = tokio::time::Instant::now();
        let error = ours.write_all(&[0; 4096]).await.expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), LIMIT.as_secs());
        drop(ours);
        dripping.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn each_flush_ends_the_time() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Delivery::new(ours, LIMIT);
        let reading = tokio::spawn(async move {
            let mut chunk = [0; 128];
            for _ in 0..4 {
                sleep(LIMIT.mul_f32(0.75)).await;
                theirs.read_exact(&mut chunk).await.expect("a chunk");
            }
        });
        for _ in 0..4 {
            ours.write_all(&[0; 128]).await.expect("in time");
            ours.flush().await.expect("in time");
        }
        reading.await.expect("no panic");
    }
}
