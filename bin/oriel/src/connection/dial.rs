//! Opening a connection: over a Unix socket, TCP with or without TLS, or the `ssh` program.
//!
//! Over SSH the other machine's `oriel system dial-stdio` joins its standard streams to the
//! daemon's socket there, as `docker system dial-stdio` does.

use std::{
    io,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    endpoint::{Endpoint, NoDaemon, SshTarget},
    tls::Tls,
};

/// A connection, whatever it runs over.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Connects to the daemon.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
) -> anyhow::Result<Box<dyn Socket>> {
    let no_daemon = |error: io::Error| NoDaemon { endpoint: endpoint.clone(), kind: error.kind() };
    match endpoint {
        Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(no_daemon)?)),
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(no_daemon)?;
            // Keys that a person types go out one by one.
            stream.set_nodelay(true)?;
            match tls {
                Some(tls) => tls.connect(Endpoint::tcp_host(address), stream).await,
                None => Ok(Box::new(stream)),
            }
        }
        Endpoint::Ssh(target) => Ok(Box::new(Tunnel::open(target)?)),
    }
}

/// The standard streams of an `ssh` that runs `oriel system dial-stdio`. It ends with this.
struct Tunnel {
    stdout: ChildStdout,
    /// Gone once nothing more will be sent: a pipe ends only when it is closed.
    stdin: Option<ChildStdin>,
    _ssh: Child,
}

impl Tunnel {
    fn open(target: &SshTarget) -> anyhow::Result<Self> {
        let mut command = Command::new("ssh");
        if let Some(user) = &target.user {
            command.args(["-l", user]);
        }
        if let Some(port) = target.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["-o", "ConnectTimeout=30", "-T", "--", &target.host, "oriel"]);
        if let Some(socket) = &target.socket {
            // The other machine's shell reads this.
            command.arg(format!("-H 'unix://{}'", socket.replace('\'', "'\\''")));
        }
        let mut ssh = command
            .args(["system", "dial-stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run ssh; is it installed?")?;
        let (stdout, stdin) =
            ssh.stdout.take().zip(ssh.stdin.take()).context("ssh has no pipes")?;
        Ok(Self { stdout, stdin: Some(stdin), _ssh: ssh })
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().poll_flush(cx);
        if flushed.is_ready() {
            self.stdin = None;
        }
        flushed
    }
}
