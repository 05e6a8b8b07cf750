//! The command's side: finds a running role, asks, reads the answers.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::lines::{LineError, Lines};
use super::server::emit_line;
use super::{ControlError, MAX_REPLY, MAX_REQUEST, Role, address};

/// A conversation with a running role. Dropping it hangs up.
#[derive(Debug)]
pub struct Connection {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    path: PathBuf,
}

impl Connection {
    /// The next answer; `None` once the role has said everything. May be dropped and called again.
    ///
    /// # Errors
    /// [`ControlError::Refused`] where the role refused; [`ControlError::TooLong`],
    /// [`ControlError::NotJson`] or [`ControlError::Io`].
    pub async fn next(&mut self) -> Result<Option<Value>, ControlError> {
        let line = match self.lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(None),
            Err(LineError::TooLong) => return Err(ControlError::TooLong { limit: MAX_REPLY }),
            // Linux's way to say that the role closed before it read all of what was sent.
            Err(LineError::Io(error)) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(LineError::Io(error)) => return Err(ControlError::io(&self.path)(error)),
        };
        let value = serde_json::from_slice::<Value>(&line).map_err(|_| ControlError::NotJson)?;
        match refusal(&value) {
            Some(refused) => Err(refused),
            None => Ok(Some(value)),
        }
    }

    /// Sends a further line, such as an approval.
    ///
    /// # Errors
    /// [`ControlError::TooLong`], or [`ControlError::Gone`] where the role has ended the matter.
    pub async fn send<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ControlError> {
        let line = emit_line(value, MAX_REQUEST)?;
        self.writer.write_all(&line).await.map_err(|_| ControlError::Gone)
    }
}

fn refusal(value: &Value) -> Option<ControlError> {
    let error = value.get("error").filter(|_| value.as_object().is_some_and(|object| object.len() == 1))?;
    let text = |name| error.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(ControlError::Refused { code: text("code")?, message: text("message")? })
}

/// Asks the running `role`; of several devices' processes, the first that answers.
///
/// # Errors
/// [`ControlError::NotRunning`], or another [`ControlError`].
pub async fn call<T: Serialize + ?Sized>(data: &Path, role: Role, request: &T) -> Result<Connection, ControlError> {
    let none = ControlError::NotRunning { role };
    let path = match role {
        Role::Relay | Role::Host => address::find(data)?.map(|run| run.join(address::name(role, 0))),
        Role::Device => running(data).await?.into_iter().find(|live| live.role == role).map(|live| live.path),
    };
    let stream = match connect(&path.ok_or(none)?).await? {
        Some(stream) => stream,
        None => return Err(ControlError::NotRunning { role }),
    };
    ask(stream, request).await
}

/// Asks the process that listens at `path`, as [`running`] gave it.
///
/// # Errors
/// [`ControlError::Gone`] where it has ended since, or another [`ControlError`].
pub async fn call_at<T: Serialize + ?Sized>(path: &Path, request: &T) -> Result<Connection, ControlError> {
    ask(connect(path).await?.ok_or(ControlError::Gone)?, request).await
}

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Running {
    /// What it is.
    pub role: Role,
    /// Its process id, where the socket's name tells.
    pub pid: Option<u32>,
    /// Its socket.
    pub path: PathBuf,
}

/// Every process that listens for this data directory, in order. Sockets of dead ones are removed.
///
/// # Errors
/// [`ControlError`] where the sockets cannot be looked at.
pub async fn running(data: &Path) -> Result<Vec<Running>, ControlError> {
    let Some(run) = address::find(data)? else { return Ok(Vec::new()) };
    let mut live = Vec::new();
    for entry in fs::read_dir(&run).map_err(ControlError::io(&run))? {
        let entry = entry.map_err(ControlError::io(&run))?;
        let Some((role, pid)) = entry.file_name().to_str().and_then(address::parse_name) else { continue };
        let path = entry.path();
        match connect(&path).await? {
            Some(_) => live.push(Running { role, pid, path }),
            None => remove_dead(data, &path).await?,
        }
    }
    live.sort();
    Ok(live)
}

/// Removes a socket, unless a new process has taken it over meanwhile.
async fn remove_dead(data: &Path, path: &Path) -> Result<(), ControlError> {
    let _lock = address::lock(data)?;
    if connect(path).await?.is_none() {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

async fn connect(path: &Path) -> Result<Option<UnixStream>, ControlError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(ControlError::io(path)(error)),
    }
}

async fn ask<T: Serialize + ?Sized>(stream: UnixStream, request: &T) -> Result<Connection, ControlError> {
    let path = stream.peer_addr().ok().and_then(|peer| peer.as_pathname().map(Path::to_path_buf)).unwrap_or_default();
    let (reader, writer) = stream.into_split();
    let mut connection = Connection { lines: Lines::new(reader, MAX_REPLY), writer, path };
    connection.send(request).await?;
    Ok(connection)
}
