//! The role's side: listens, hands each request to a handler, carries its answers.

use core::convert::Infallible;
use core::future::{Future, pending};
use core::time::Duration;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::lines::{LineError, Lines};
use super::{ControlError, MAX_REPLY, MAX_REQUEST, Role, address};

/// Connections served at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 64;
/// Lines that a client may be ahead of the handler.
const MAX_LINES_AHEAD: usize = 16;
/// How long a client may take to say what it wants, and to take in a line.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client asked, and the way to answer.
#[derive(Debug)]
pub struct Request {
    /// A JSON object.
    pub value: Value,
    /// The way to answer.
    pub replies: Replies,
}

/// The way to answer one client. It works for as long as the handler runs.
#[derive(Debug)]
pub struct Replies {
    writer: OwnedWriteHalf,
    lines: mpsc::Receiver<Value>,
    hung_up: watch::Receiver<bool>,
}

impl Replies {
    /// Sends one line. Not to be dropped half-way, as in a `select!` branch's future.
    ///
    /// # Errors
    /// [`ControlError::Gone`] where the client has left or reads nothing for ten seconds;
    /// [`ControlError::TooLong`] and [`ControlError::NotJson`], where nothing was sent.
    pub async fn send<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ControlError> {
        let line = emit_line(value, MAX_REPLY)?;
        match timeout(PATIENCE, self.writer.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ControlError::Gone),
        }
    }

    /// Sends a refusal, which the client meets as [`ControlError::Refused`]: `code` is a word for
    /// programs, `message` a phrase for people.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn refuse(&mut self, code: &str, message: &str) -> Result<(), ControlError> {
        self.send(&json!({ "error": { "code": code, "message": message } })).await
    }

    /// The next line that the client sends after its request; `None` once it hung up.
    pub async fn next_line(&mut self) -> Option<Value> {
        self.lines.recv().await
    }

    /// Completes once the client hung up, or closed its sending side. Borrows nothing.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut hung_up = self.hung_up.clone();
        async move {
            let _ = hung_up.wait_for(|over| *over).await;
        }
    }
}

/// A role's socket, removed on drop.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Listens as `role`, inside a tokio runtime. Clients may connect from here on.
    ///
    /// # Errors
    /// [`ControlError::AlreadyServed`] where a live process listens, or another [`ControlError`].
    pub fn bind(data: &Path, role: Role) -> Result<Self, ControlError> {
        let _lock = address::lock(data)?;
        let path = address::make(data)?.join(address::name(role, std::process::id()));
        let io = || ControlError::io(&path);
        match std::os::unix::net::UnixStream::connect(&path) {
            Ok(_) => return Err(ControlError::AlreadyServed { role }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // Its process died.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(&path).map_err(io())?,
            Err(error) => return Err(io()(error)),
        }
        let socket = UnixListener::bind(&path).map_err(io())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io())?;
        let inode = fs::symlink_metadata(&path).map_err(io())?.ino();
        Ok(Self { socket, path, inode })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands every request to `handler`, each on a task of its own. A connection ends with its
    /// handler. Dropping this future ends them all.
    pub async fn serve<H, F>(self, handler: H) -> Infallible
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a control request failed");
                    }
                }
                accepted = self.socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let handler = Arc::clone(&handler);
                        connections.spawn(async move { converse(stream, handler.as_ref()).await });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the control socket");
                        sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another process may have put its own there, should somebody have removed ours.
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens as `role` and serves until dropped.
///
/// # Errors
/// As [`Listener::bind`].
pub async fn serve<H, F>(data: &Path, role: Role, handler: H) -> Result<Infallible, ControlError>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    Ok(Listener::bind(data, role)?.serve(handler).await)
}

async fn converse<F: Future<Output = ()>>(stream: UnixStream, handler: &impl Fn(Request) -> F) {
    let (reader, writer) = stream.into_split();
    let mut lines = Lines::new(reader, MAX_REQUEST);
    let (ahead, received) = mpsc::channel(MAX_LINES_AHEAD);
    let (over, hung_up) = watch::channel(false);
    let mut replies = Replies { writer, lines: received, hung_up };
    let first = match timeout(PATIENCE, lines.next()).await {
        Ok(Ok(Some(line))) => serde_json::from_slice::<Value>(&line).ok().filter(Value::is_object),
        Ok(Err(LineError::TooLong)) => None,
        // It went away, as `running` does, or never spoke.
        Ok(Ok(None) | Err(LineError::Io(_))) | Err(_) => return,
    };
    let Some(value) = first else {
        let message = format!("a request is one line with a JSON object of at most {MAX_REQUEST} bytes");
        let _ = replies.refuse("bad_request", &message).await;
        return;
    };
    tokio::select! {
        () = handler(Request { value, replies }) => {}
        _ = pump(&mut lines, ahead, over) => {}
    }
}

/// Brings the client's further lines to the handler, and notices that it hung up.
async fn pump(lines: &mut Lines<OwnedReadHalf>, ahead: mpsc::Sender<Value>, over: watch::Sender<bool>) -> Infallible {
    while let Ok(Some(line)) = lines.next().await {
        // A client that sends no JSON, or more than anyone reads, counts as gone.
        let sent = serde_json::from_slice(&line).is_ok_and(|value| ahead.try_send(value).is_ok());
        if !sent {
            break;
        }
    }
    drop(ahead);
    over.send_replace(true);
    pending().await
}

pub(super) fn emit_line<T: Serialize + ?Sized>(value: &T, limit: usize) -> Result<Vec<u8>, ControlError> {
    let mut line = serde_json::to_vec(value).map_err(|_| ControlError::NotJson)?;
    if line.len() > limit {
        return Err(ControlError::TooLong { limit });
    }
    line.push(b'\n');
    Ok(line)
}
