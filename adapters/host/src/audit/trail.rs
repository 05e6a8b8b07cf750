//! The running host's way to its trail: a thread writes, nobody waits for the disk.

use core::convert::Infallible;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use homing_local::clock::unix_now;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

use super::gathered::Gathered;
use super::visits::Visit;
use super::{AuditError, AuditFiles, Writer};

/// Entries that may wait for the disk.
const WAITING: usize = 1024;
/// How long the thread sleeps where nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// An open audit trail, until its [`end`](Self::end).
pub struct Trail {
    queue: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    lines: broadcast::Sender<Arc<str>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    gathered: Arc<Mutex<Gathered>>,
}

enum Order {
    Entry {
        time: u64,
        event: &'static str,
        fields: Value,
    },
    /// To be dropped when all that came before is in the file.
    Tell(oneshot::Sender<Infallible>),
    /// After the last line, which says this.
    End(Option<&'static str>),
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
        let gathered = Arc::new(Mutex::new(Gathered::default()));
        let thread = std::thread::Builder::new().name("audit".into()).spawn({
            let (lost, lines, gathered) = (lost.clone(), lines.clone(), gathered.clone());
            move || write(writer, &orders, &lost, &lines, &gathered)
        });
        let thread = thread.map_err(AuditError::io("start a thread for", std::path::Path::new("audit.ndjson")))?;
        Ok(Self { queue, lost, lines, thread: Mutex::new(Some(thread)), gathered })
    }

    /// Notes an event; `fields` is a JSON object. Does not block: where the disk is too slow for
    /// what happens, a later line says how many entries were lost.
    pub fn note(&self, event: &'static str, fields: Value) {
        let order = Order::Entry { time: unix_now(), event, fields };
        if self.queue.try_send(order).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that somebody was turned away. The first of a kind, which is `reason` with the fields `device` and
    /// `service`, is told at once; how often it was afterwards is told at the end of a minute, and ever more seldom
    /// where it goes on.
    pub fn refuse(&self, reason: &'static str, mut fields: Value) {
        if locked(&self.gathered).refusals.tell(Instant::now(), reason, &fields) {
            fields["reason"] = reason.into();
            self.note("refused", fields);
        }
    }

    /// Notes that a device, or a guest, connected or disconnected. Of each, the first in a minute is told at once; how
    /// often it was besides is told at the end of that.
    pub fn visit(&self, visit: Visit, fields: Value) {
        if locked(&self.gathered).visits.tell(Instant::now(), visit, &fields) {
            self.note(visit.name(), fields);
        }
    }

    /// Waits until what has been noted is in the file, for whoever reads it.
    pub async fn written(&self) {
        let (tell, told) = oneshot::channel();
        if self.queue.try_send(Order::Tell(tell)).is_ok() {
            let _ = told.await;
        }
    }

    /// The lines that are written from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<str>> {
        self.lines.subscribe()
    }

    /// Writes what waits and leaves the files to others. What is noted afterwards is lost. Blocks.
    pub fn end(&self) {
        self.end_after(None);
    }

    /// The same, with an event of no fields as the last line.
    pub fn end_with(&self, event: &'static str) {
        self.end_after(Some(event));
    }

    fn end_after(&self, last: Option<&'static str>) {
        let _ = self.queue.send(Order::End(last)); // a thread that has ended needs no order
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

fn locked(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(
    mut writer: Writer,
    orders: &Receiver<Order>,
    lost: &AtomicU64,
    lines: &broadcast::Sender<Arc<str>>,
    gathered: &Mutex<Gathered>,
) {
    loop {
        // What opens a window comes as an order, and so the next end is looked up anew.
        let next = locked(gathered).next();
        let wait = next.map_or(IDLE, |end| end.saturating_duration_since(Instant::now()));
        let order = match orders.recv_timeout(wait) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut end, mut tell) = (None, Vec::new());
        let mut written = false;
        // All that waits, then to the disk once.
        for order in order.into_iter().chain(orders.try_iter()) {
            match order {
                Order::End(last) => end = Some(last),
                Order::Tell(reader) => tell.push(reader),
                Order::Entry { time, event, fields } => {
                    let count = lost.swap(0, Ordering::Relaxed);
                    if count > 0 {
                        put(&mut writer, lost, count, lines, (time, "lost", &json!({ "entries": count })));
                    }
                    put(&mut writer, lost, 1, lines, (time, event, &fields));
                    written = true;
                }
            }
        }
        let due = locked(gathered).due(Instant::now(), end.is_some());
        let last = end.flatten().map(|event| (event, json!({})));
        for (event, fields) in due.into_iter().chain(last) {
            put(&mut writer, lost, 1, lines, (unix_now(), event, &fields));
            written = true;
        }
        if written && let Err(error) = writer.seal() {
            tracing::error!(%error, "cannot write the audit trail");
        }
        drop(tell);
        if end.is_some() {
            return;
        }
    }
}

fn put(
    writer: &mut Writer,
    lost: &AtomicU64,
    count: u64,
    lines: &broadcast::Sender<Arc<str>>,
    (time, event, fields): (u64, &str, &Value),
) {
    match writer.append(time, event, fields) {
        Ok(line) => drop(lines.send(line.trim_end().into())),
        Err(error) => {
            lost.fetch_add(count, Ordering::Relaxed);
            tracing::error!(%error, event, "cannot write the audit trail");
        }
    }
}
