//! Pairing links that somebody looks at on the page, and how each goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use homing_core::crypto::Secret;
use homing_local::hex;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::dialog::{PairDialog, PairEvent};

/// Links whose end is remembered, so that a page that looks late still hears of it.
const REMEMBERED: usize = 32;

#[derive(Default)]
pub(super) struct OpenLinks {
    inner: Mutex<HashMap<String, OpenLink>>,
}

struct OpenLink {
    progress: watch::Receiver<Value>,
    answer: Arc<Mutex<Option<oneshot::Sender<bool>>>>,
    task: AbortHandle,
    expires_at: u32,
}

impl OpenLinks {
    /// Watches over a link until it was used; returns its name here.
    pub(super) fn watch(&self, mut dialog: PairDialog) -> String {
        let id = hex::emit(Secret::<16>::random(&mut crate::random()).expose());
        let (report, progress) = watch::channel(json!({ "state": "waiting" }));
        let answer = Arc::new(Mutex::new(None));
        let expires_at = dialog.expires_at();
        let task = tokio::spawn({
            let answer = answer.clone();
            async move {
                while let Some(event) = dialog.next().await {
                    let state = match event {
                        PairEvent::Confirm { name, platform, check, answer: asked } => {
                            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
                            json!({ "state": "confirm", "device": { "name": name, "platform": platform }, "check": check })
                        }
                        PairEvent::Paired { id, name } => {
                            json!({ "state": "paired", "device": { "id": id, "name": name } })
                        }
                        PairEvent::Denied => json!({ "state": "denied" }),
                        PairEvent::Expired => json!({ "state": "expired" }),
                    };
                    report.send_replace(state);
                }
            }
        });
        let link = OpenLink { progress, answer, task: task.abort_handle(), expires_at };
        let mut inner = self.lock();
        if inner.len() >= REMEMBERED {
            let oldest = inner.iter().min_by_key(|(_, link)| link.expires_at).map(|(id, _)| id.clone());
            oldest.and_then(|id| inner.remove(&id)).inspect(|link| link.task.abort());
        }
        inner.insert(id.clone(), link);
        id
    }

    /// How it goes; none where there is no such link.
    pub(super) fn progress(&self, id: &str) -> Option<Value> {
        let inner = self.lock();
        let link = inner.get(id)?;
        let mut progress = link.progress.borrow().clone();
        if let Some(progress) = progress.as_object_mut() {
            progress.insert("id".into(), id.into());
            progress.insert("expires_at".into(), link.expires_at.into());
        }
        Some(progress)
    }

    /// Answers the device that asks; false where none does.
    pub(super) fn answer(&self, id: &str, approve: bool) -> Option<bool> {
        let inner = self.lock();
        let asked = inner.get(id)?.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(asked.is_some_and(|asked| asked.send(approve).is_ok()))
    }

    /// Voids a link.
    pub(super) fn cancel(&self, id: &str) -> bool {
        self.lock().remove(id).inspect(|link| link.task.abort()).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, OpenLink>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
