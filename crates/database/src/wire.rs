//! One connection, to a client or to a member: a stream with a buffer each way.

use base::Address;
use bytes::{Buf, Bytes, BytesMut};
use database_wire::frame::{self, HEADER};
use database_wire::{Cutter, Malformed};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};

/// A stream both ways: TCP, Unix or TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A message to be interpreted is at most this long; longer ones are passed in pieces.
pub(crate) const WHOLE: usize = 128 * 1024;

/// Above this a direction's buffer is full: its source is not read until it drains.
pub(crate) const HIGH_WATER: usize = 64 * 1024;

/// A connection with its buffers.
pub(crate) struct Wire {
    reader: ReadHalf<Box<dyn Duplex>>,
    writer: WriteHalf<Box<dyn Duplex>>,
    /// Received, not yet taken.
    pub(crate) input: BytesMut,
    /// To be sent.
    pub(crate) output: BytesMut,
    /// Cuts `input`.
    pub(crate) cutter: Cutter,
}

impl Wire {
    pub(crate) fn new(stream: impl Duplex + 'static) -> Self {
        let (reader, writer) = tokio::io::split(Box::new(stream) as Box<dyn Duplex>);
        Self { reader, writer, input: BytesMut::new(), output: BytesMut::new(), cutter: Cutter::default() }
    }

    /// The stream back, for TLS. Buffers must be empty.
    pub(crate) fn into_stream(self) -> Box<dyn Duplex> {
        self.reader.unsplit(self.writer)
    }

    /// Connects to a member.
    pub(crate) async fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        let connecting = async {
            Ok(match address {
                Address::Ip(address) => Self::tcp(TcpStream::connect(address).await?)?,
                Address::Name(host, port) => Self::tcp(TcpStream::connect((host.as_str(), *port)).await?)?,
                Address::Unix(path) => Self::new(UnixStream::connect(path).await?),
            })
        };
        within(timeout, connecting).await
    }

    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }

    /// Receives some bytes; 0 is the end. Safe to cancel.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        fill(&mut self.reader, &mut self.input).await
    }

    /// Sends all of `output`.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all_buf(&mut self.output).await?;
        self.writer.flush().await
    }

    /// Waits for a whole message of at most [`WHOLE`] bytes; its body.
    pub(crate) async fn message(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if let Some((tag, total)) = frame::header(&self.input).map_err(malformed)? {
                if total > WHOLE {
                    return Err(malformed(Malformed::Length { tag, length: total as i64 }));
                }
                if self.input.len() >= total {
                    let mut message = self.input.split_to(total).freeze();
                    message.advance(HEADER);
                    return Ok((tag, message));
                }
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reading and writing apart, for use side by side.
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        Parts {
            reader: &mut self.reader,
            writer: &mut self.writer,
            input: &mut self.input,
            output: &mut self.output,
        }
    }
}

/// A [`Wire`] taken apart.
pub(crate) struct Parts<'a> {
    reader: &'a mut ReadHalf<Box<dyn Duplex>>,
    writer: &'a mut WriteHalf<Box<dyn Duplex>>,
    input: &'a mut BytesMut,
    output: &'a mut BytesMut,
}

/// What one turn of [`exchange`] did.
#[derive(Debug)]
pub(crate) enum Moved {
    /// The client sent bytes; 0 is its end.
    FromClient(io::Result<usize>),
    /// The client took bytes.
    ToClient(io::Result<usize>),
    /// The member sent bytes; 0 is its end.
    FromMember(io::Result<usize>),
    /// The member took bytes.
    ToMember(io::Result<usize>),
}

/// Moves whatever can move next between a client and a member, never waiting
/// for one direction while another could go on, and reading a side only while
/// the other takes what it said: this is the backpressure. The client is read
/// ahead by up to `read_ahead` bytes, so that its going away is noticed.
pub(crate) async fn exchange(client: &mut Wire, member: &mut Wire, read_ahead: usize) -> Moved {
    let client = client.parts();
    let member = member.parts();
    let read_client = client.input.len() < read_ahead && member.output.len() < HIGH_WATER;
    let read_member = client.output.len() < HIGH_WATER;
    let (to_client, to_member) = (!client.output.is_empty(), !member.output.is_empty());
    tokio::select! {
        moved = write(client.writer, client.output), if to_client => Moved::ToClient(moved),
        moved = write(member.writer, member.output), if to_member => Moved::ToMember(moved),
        moved = fill(member.reader, member.input), if read_member => Moved::FromMember(moved),
        moved = fill(client.reader, client.input), if read_client => Moved::FromClient(moved),
    }
}

async fn fill(reader: &mut ReadHalf<Box<dyn Duplex>>, buffer: &mut BytesMut) -> io::Result<usize> {
    // A buffer that a large message blew up is given back once it is empty.
    if buffer.is_empty() && buffer.capacity() > 2 * WHOLE {
        *buffer = BytesMut::new();
    }
    buffer.reserve(8 * 1024);
    reader.read_buf(buffer).await
}

async fn write(writer: &mut WriteHalf<Box<dyn Duplex>>, buffer: &mut BytesMut) -> io::Result<usize> {
    let count = writer.write_buf(buffer).await?;
    // TLS keeps records back until told; on a plain socket this is nothing.
    writer.flush().await?;
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

/// A malformed message as an I/O error.
pub(crate) fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A time limit as an I/O error.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {limit:?}"))),
    }
}
