//! The running host's way to its trail: a thread writes, nobody waits for the disk.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use homing_local::clock::unix_now;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::{AuditError, AuditFiles, Writer};

/// Entries that may wait for the disk.
const WAITING: usize = 1024;
/// Strangers must not fill the disk.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// An open audit trail, until its [`end`](Self::end).
pub struct Trail {
    queue: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    lines: broadcast::Sender<Arc<str>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// When each reason was noted, and how often it was not since.
    refused: Mutex<HashMap<&'static str, (Option<Instant>, u64)>>,
}

enum Order {
    Entry { time: u64, event: &'static str, fields: Map<String, Value> },
    Settle(Sender<()>),
    End,
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Trail {
    /// Goes on with the trail in these files, or begins it.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(files: AuditFiles) -> Result<Self, AuditError> {
        let writer = Writer::open(files)?;
        let (queue, orders) = sync_channel(WAITING);
        let (lost, lines) = (Arc::new(AtomicU64::new(0)), broadcast::Sender::new(256));
        let thread = std::thread::Builder::new().name("audit".into()).spawn({
            let (lost, lines) = (lost.clone(), lines.clone());
            move || write(writer, &orders, &lost, &lines)
        });
        let thread = thread.map_err(AuditError::io("start a thread for", std::path::Path::new("audit.ndjson")))?;
        Ok(Self { queue, lost, lines, thread: Mutex::new(Some(thread)), refused: Mutex::default() })
    }

    /// Notes an event; `fields` is a JSON object. Does not block: where the disk is too slow for
    /// what happens, a later line says how many entries were lost.
    pub fn note(&self, event: &'static str, fields: Value) {
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        let order = Order::Entry { time: unix_now(), event, fields };
        if self.queue.try_send(order).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that somebody was turned away: at most once a second for each reason, with how often it was meanwhile.
    pub fn refuse(&self, reason: &'static str, fields: Value) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (at, unsaid) = refused.entry(reason).or_insert((None, 0));
        if at.is_some_and(|at| now.duration_since(at) < REFUSED_EVERY) {
            *unsaid = unsaid.saturating_add(1);
            return;
        }
        let mut all = Map::from_iter([("reason".to_owned(), reason.into())]);
        if let Value::Object(fields) = fields {
            all.extend(fields);
        }
        let more = core::mem::take(unsaid);
        if more > 0 {
            all.insert("unsaid".into(), more.into());
        }
        *at = Some(now);
        drop(refused);
        self.note("refused", Value::Object(all));
    }

    /// Waits until all that was noted before is on disk. Blocks.
    pub fn settle(&self) {
        let (done, settled) = mpsc::channel();
        if self.queue.send(Order::Settle(done)).is_ok() {
            let _ = settled.recv();
        }
    }

    /// The lines that are written from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<str>> {
        self.lines.subscribe()
    }

    /// Writes what waits and leaves the files to others. What is noted afterwards is lost. Blocks.
    pub fn end(&self) {
        let _ = self.queue.send(Order::End); // a thread that has ended needs no order
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(mut writer: Writer, orders: &Receiver<Order>, lost: &AtomicU64, lines: &broadcast::Sender<Arc<str>>) {
    while let Ok(order) = orders.recv() {
        let (mut settled, mut end) = (Vec::new(), false);
        // All that waits, then to the disk once.
        for order in core::iter::once(order).chain(orders.try_iter()) {
            match order {
                Order::Settle(done) => settled.push(done),
                Order::End => end = true,
                Order::Entry { time, event, fields } => {
                    let count = lost.swap(0, Ordering::Relaxed);
                    if count > 0 {
                        let fields = Map::from_iter([("entries".to_owned(), json!(count))]);
                        put(&mut writer, lost, count, lines, (time, "lost", fields));
                    }
                    put(&mut writer, lost, 1, lines, (time, event, fields));
                }
            }
        }
        if let Err(error) = writer.seal() {
            tracing::error!(%error, "cannot write the audit trail");
        }
        // Those who asked have gone or listen.
        for done in settled {
            let _ = done.send(());
        }
        if end {
            return;
        }
    }
}

fn put(
    writer: &mut Writer,
    lost: &AtomicU64,
    count: u64,
    lines: &broadcast::Sender<Arc<str>>,
    (time, event, fields): (u64, &str, Map<String, Value>),
) {
    match writer.append(time, event, fields) {
        Ok(line) => drop(lines.send(line.trim_end().into())),
        Err(error) => {
            lost.fetch_add(count, Ordering::Relaxed);
            tracing::error!(%error, event, "cannot write the audit trail");
        }
    }
}
