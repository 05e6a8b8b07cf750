//! The running host's way to its trail: a thread writes, nobody waits for the disk.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use homing_local::clock::unix_now;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::refusals::Refusals;
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
    refusals: Arc<Mutex<Refusals>>,
}

enum Order {
    Entry { time: u64, event: &'static str, fields: Value },
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
        let refusals = Arc::new(Mutex::new(Refusals::default()));
        let thread = std::thread::Builder::new().name("audit".into()).spawn({
            let (lost, lines, refusals) = (lost.clone(), lines.clone(), refusals.clone());
            move || write(writer, &orders, &lost, &lines, &refusals)
        });
        let thread = thread.map_err(AuditError::io("start a thread for", std::path::Path::new("audit.ndjson")))?;
        Ok(Self { queue, lost, lines, thread: Mutex::new(Some(thread)), refusals })
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
        if locked(&self.refusals).tell(Instant::now(), reason, &fields) {
            fields["reason"] = reason.into();
            self.note("refused", fields);
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

fn locked(refusals: &Mutex<Refusals>) -> MutexGuard<'_, Refusals> {
    refusals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(
    mut writer: Writer,
    orders: &Receiver<Order>,
    lost: &AtomicU64,
    lines: &broadcast::Sender<Arc<str>>,
    refusals: &Mutex<Refusals>,
) {
    loop {
        // A refusal that opens a window comes as an order, and so the next end is looked up anew.
        let next = locked(refusals).next();
        let wait = next.map_or(IDLE, |end| end.saturating_duration_since(Instant::now()));
        let order = match orders.recv_timeout(wait) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut end = false;
        let mut written = false;
        // All that waits, then to the disk once.
        for order in order.into_iter().chain(orders.try_iter()) {
            match order {
                Order::End => end = true,
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
        let mut table = locked(refusals);
        let due = if end { table.end() } else { table.due(Instant::now()) };
        drop(table);
        for fields in due {
            put(&mut writer, lost, 1, lines, (unix_now(), "refused", &fields));
            written = true;
        }
        if written && let Err(error) = writer.seal() {
            tracing::error!(%error, "cannot write the audit trail");
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
