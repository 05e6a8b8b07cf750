//! What a host tells without being asked for each word (protocol 9.7): a stream beside all others, asked for anew whenever
//! it was lost, as long as there is a tunnel.

use core::convert::Infallible;
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homing_local::clock::unix_now;
use homing_local::device_log::{Change, Entry};
use homing_tokio::TunnelStream;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::error::DeviceError;
use crate::lane::profile;
use crate::mirror::{Batch, Break, Checked};
use crate::profile::{Move, Profiles, vault};
use crate::tunnel::{Phase, Shared};

/// The longest line of news, in bytes.
const LINE_MAX: u64 = 64 * 1024;
/// Between two attempts that went wrong.
const PAUSE: Duration = Duration::from_secs(5);

/// What a host told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum News {
    /// Something happened to one of its devices.
    Device {
        /// The host's name on this device.
        host: String,
        /// What happened.
        entry: Entry,
    },
    /// It contradicts what it told before; see [`Profiles::device_log`].
    Broken {
        /// The host's name on this device.
        host: String,
        /// How.
        what: Break,
    },
}

/// One line, as far as this version knows it.
#[derive(Deserialize)]
struct Line {
    devices: Option<Batch>,
    #[serde(rename = "move")]
    moved: Option<Move>,
    error: Option<String>,
}

/// How a stream of news ended.
enum End {
    /// In order: there are none to be had from this call.
    None,
    /// The copy is another one by now.
    Stale,
}

/// Listens for as long as it is polled.
pub(crate) async fn follow(shared: Arc<Shared>, data: PathBuf) -> Infallible {
    let mut views = shared.view.subscribe();
    loop {
        // The sender lives as long as `shared`.
        let _ = views.wait_for(|view| matches!(view.phase, Phase::Connected(_))).await;
        let Some(stream) = shared.opener().and_then(|opener| opener.open()) else {
            sleep(PAUSE.mul_f64(0.02)).await;
            continue;
        };
        match listen(&shared, &data, stream.into()).await {
            Ok(End::Stale) => {}
            // An earlier version's host: another call may find a later one.
            Ok(End::None) => {
                let _ = views.wait_for(|view| !matches!(view.phase, Phase::Connected(_))).await;
            }
            Err(error) => {
                tracing::debug!(host = shared.host.name, %error, "no news for a while");
                // A call that has ended, perhaps to rest, is waited for anyway; the next may be short.
                if shared.opener().is_none() {
                    continue;
                }
                sleep(PAUSE.mul_f64(0.2 + crate::jitter())).await;
            }
        }
    }
}

/// Asks, and hears until the stream ends.
async fn listen(shared: &Arc<Shared>, data: &Path, mut stream: TunnelStream) -> Result<End, DeviceError> {
    let mut at = {
        let profiles = Profiles::read(data)?;
        profile(shared, &profiles)?.mirror().head()
    };
    let mut question = vec![0];
    question.extend_from_slice(json!({ "ask": "news", "devices": at }).to_string().as_bytes());
    question.push(b'\n');
    stream.write_all(&question).await?;
    let mut lines = BufReader::new(stream);
    while let Some(text) = read_line(&mut lines).await? {
        let line: Line = serde_json::from_slice(&text).map_err(|_| DeviceError::failed("the news cannot be read"))?;
        if let Some(error) = line.error {
            tracing::debug!(host = shared.host.name, error, "the host has no news");
        }
        if let Some(batch) = line.devices {
            let wrong = || DeviceError::failed("the host's log of devices is not in order");
            let checked = batch.check(&at).ok_or_else(wrong)?;
            at = checked.end;
            if checked.is_news() && !note(shared, data, checked).await? {
                return Ok(End::Stale);
            }
        }
        if let Some(to) = line.moved {
            follow_move(shared, data, to).await?;
        }
    }
    Ok(End::None)
}

/// Stores what was heard, then tells of it. False where the copy is another one by now.
async fn note(shared: &Arc<Shared>, data: &Path, checked: Checked) -> Result<bool, DeviceError> {
    let (id, path) = (shared.host.id.clone(), data.to_path_buf());
    let stored = tokio::task::spawn_blocking(move || {
        let noted = vault(&path)?.update(|profiles| profiles.note_devices(&id, &checked, unix_now()));
        Ok::<_, DeviceError>(noted?.0)
    });
    let (told, broken, fits) = stored.await.map_err(DeviceError::failed)??;
    let host = &shared.host.name;
    if let Some(what) = broken {
        tracing::error!(
            host,
            "{what}. Look at `homing hosts log {host}` and ask the host's owner; `homing hosts log {host} --accept` ends \
             this warning"
        );
        shared.tell(News::Broken { host: host.clone(), what });
    }
    for entry in told {
        if let Some(text) = describe(&entry, host) {
            // Whoever runs a local end should not miss it.
            tracing::warn!(host, device = entry.device.id, "{text}");
        }
        shared.tell(News::Device { host: host.clone(), entry });
    }
    Ok(fits)
}

/// Stores that the host has other keys, then has it called by these.
async fn follow_move(shared: &Arc<Shared>, data: &Path, to: Move) -> Result<(), DeviceError> {
    let (id, path) = (shared.host.id.clone(), data.to_path_buf());
    let stored = tokio::task::spawn_blocking(move || vault(&path)?.update(|profiles| profiles.follow(&id, to)));
    let (moved, _) = stored.await.map_err(DeviceError::failed)??;
    // Where that was known and has not helped, the next call tries again.
    if moved {
        tracing::info!(host = shared.host.name, "the host has other keys, which are used from now on");
        shared.moves.send_modify(|moves| *moves = moves.wrapping_add(1));
    }
    Ok(())
}

/// What happened, in a sentence; names of others are quoted so that they cannot pretend to be anything else.
fn describe(entry: &Entry, host: &str) -> Option<String> {
    let name = &entry.device.name;
    match (entry.event, &entry.before) {
        (Change::Added, _) => Some(format!("{name:?} was added to {host}")),
        (Change::Removed, _) => Some(format!("{name:?} was removed from {host}")),
        (Change::Renamed, Some(before)) => Some(format!("{before:?} is called {name:?} on {host} now")),
        _ => None,
    }
}

/// The next line, without its end; the end of the stream ends one too.
async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut text = Zeroizing::new(Vec::new());
    let len = from.take(LINE_MAX.saturating_add(1)).read_until(b'\n', &mut text).await?;
    if u64::try_from(len).unwrap_or(u64::MAX) > LINE_MAX {
        return Err(io::Error::other("a line of news is longer than 64 KiB"));
    }
    Ok((len > 0).then_some(text))
}

#[cfg(test)]
mod tests {
    use homing_local::device_log::{Listed, Point};

    use super::*;

    #[tokio::test]
    async fn lines_are_read_one_by_one_and_no_further_than_allowed() {
        let mut text = &b"{}\n\n{\"devices\":null,\"later\":1}"[..];
        for expected in [Some(&b"{}\n"[..]), Some(b"\n"), Some(b"{\"devices\":null,\"later\":1}"), None] {
            assert_eq!(read_line(&mut text).await.unwrap().as_deref().map(Vec::as_slice), expected);
        }
        let long = vec![b' '; 64 * 1024 + 1];
        assert!(read_line(&mut long.as_slice()).await.is_err());
    }

    #[test]
    fn what_an_older_host_answers_is_no_news() {
        let line: Line = serde_json::from_str(r#"{"services":[],"relays":["wss://a.example"]}"#).unwrap();
        assert!(line.devices.is_none() && line.error.is_none());
        let zeros = "0".repeat(64);
        let text = format!(r#"{{"devices":{{"after":{{"seq":0,"hash":"{zeros}"}},"head":0,"entries":[]}}}}"#);
        let line: Line = serde_json::from_str(&text).unwrap();
        assert!(!line.devices.unwrap().check(&Point::default()).unwrap().is_news());
    }

    #[test]
    fn names_cannot_pretend() {
        let device = Listed { id: "1".into(), name: "x\n\u{202e}".into(), platform: "phone".into() };
        let entry = Entry { seq: 1, time: 0, event: Change::Added, device, before: None };
        assert_eq!(describe(&entry, "nest").unwrap(), r#""x\n\u{202e}" was added to nest"#);
        let entry = Entry { event: Change::Renamed, before: Some("y".into()), ..entry };
        assert_eq!(describe(&entry, "nest").unwrap(), r#""y" is called "x\n\u{202e}" on nest now"#);
        assert!(describe(&Entry { event: Change::Other, ..entry }, "nest").is_none());
    }
}
