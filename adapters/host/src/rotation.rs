//! Other keys for a host without pairing anew (protocol 10.5): for a time it serves the old ones and the new ones, and tells
//! each device that comes by the old ones, which is the authority, to use the new ones.

use core::convert::Infallible;
use core::time::Duration;
use std::sync::Arc;

use homing_core::channel::code;
use homing_core::crypto::{Identity, Secret};
use homing_local::clock::{rfc3339, unix_now};
use homing_local::hex::Hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::registry::{Device, DeviceError, State};
use crate::shared::Shared;

/// How long devices may take to come by, in seconds.
pub const OVERLAP: u64 = 30 * 24 * 3600;
/// How long those that did not are told so, in seconds.
const DISMISSAL: u64 = 30 * 24 * 3600;
/// How late an overlap may end.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The key that devices know the host by.
    pub identity: bool,
    /// The key of its route at relays.
    pub route: bool,
    /// Let no device follow that has not yet.
    pub now: bool,
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When devices that have not followed are shut out, in Unix seconds; none where that is over.
    pub until: Option<u64>,
    /// How many have not followed.
    pub waiting: usize,
}

/// The keys before the last rotation.
#[derive(Serialize, Deserialize)]
pub(crate) struct Former {
    /// None once the overlap is over: the old key is gone then.
    pub(crate) identity: Option<Hex<32>>,
    pub(crate) public: Hex<32>,
    /// None where the route stayed.
    pub(crate) route: Option<FormerRoute>,
    /// When the overlap ends; once it is over, when devices are no longer told so. In Unix seconds.
    until: u64,
}

/// The route before the last rotation.
#[derive(Serialize, Deserialize)]
pub(crate) struct FormerRoute {
    pub(crate) key: Hex<32>,
    pub(crate) capability_key: Hex<32>,
    pub(crate) previous_capability_key: Hex<32>,
}

impl Former {
    /// Whether devices that know only these keys are turned away.
    pub(crate) const fn is_over(&self) -> bool {
        self.identity.is_none()
    }
}

impl State {
    /// How far a rotation is that devices still follow.
    pub(crate) fn rotation(&self) -> Option<Progress> {
        let former = self.former.as_ref().filter(|former| !former.is_over())?;
        Some(Progress { until: Some(former.until), waiting: self.left_behind().count() })
    }

    /// The devices that know the host by older keys only.
    pub(crate) fn left_behind(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.followed != self.rotations)
    }

    /// Makes other keys, or ends the overlap of a rotation before; gives what the audit trail says of it.
    pub(crate) fn rotate(&mut self, what: Rotation, now: u64) -> Result<(Progress, Value), DeviceError> {
        if let Some(Progress { until, waiting }) = self.rotation() {
            if !what.now {
                return Err(DeviceError::Rotating { until: rfc3339(until.unwrap_or(now)), waiting });
            }
            let said = self.end_overlap(now);
            return Ok((Progress { until: None, waiting }, said));
        }
        let mut rng = crate::random();
        let public = Hex::new(*Identity::from_secret(&self.identity.0).public().as_bytes());
        let mut former =
            Former { identity: Some(Hex(self.identity.0.duplicate())), public, route: None, until: now + OVERLAP };
        if what.identity {
            self.identity = Hex(Identity::generate(&mut rng).secret());
        }
        if what.route {
            let fresh = |of: &mut Hex<32>, with: Secret<32>| core::mem::replace(of, Hex(with));
            former.route = Some(FormerRoute {
                key: fresh(&mut self.route, Identity::generate(&mut rng).secret()),
                capability_key: fresh(&mut self.capability_key, Secret::random(&mut rng)),
                previous_capability_key: fresh(&mut self.previous_capability_key, Secret::random(&mut rng)),
            });
        }
        self.former = Some(former);
        self.rotations = self.rotations.saturating_add(1);
        let waiting = self.devices.len();
        let until = (!what.now && waiting > 0).then_some(now + OVERLAP);
        let said = json!({ "identity": what.identity, "route": what.route, "until": until.map(rfc3339) });
        if until.is_none() {
            self.end_overlap(now);
        }
        Ok((Progress { until, waiting }, said))
    }

    /// Whether [`tend`](Self::tend) has something to do.
    fn is_due(&self, now: u64) -> bool {
        let followed = || self.left_behind().next().is_none();
        self.former.as_ref().is_some_and(|former| now >= former.until || followed())
    }

    /// Ends what is over: an overlap, or the time in which devices are told that they missed it. Gives what the audit
    /// trail says where devices are concerned.
    fn tend(&mut self, now: u64) -> Option<Value> {
        if !self.is_due(now) {
            return None;
        }
        if self.rotation().is_some() {
            return Some(self.end_overlap(now));
        }
        self.former = None;
        None
    }

    fn end_overlap(&mut self, now: u64) -> Value {
        let left: Vec<_> = self.left_behind().map(|device| device.id.clone()).collect();
        match &mut self.former {
            Some(former) if !left.is_empty() => {
                former.identity = None;
                former.until = now.saturating_add(DISMISSAL);
            }
            former => *former = None,
        }
        json!({ "left_behind": left })
    }
}

/// Makes other keys for a running host. When this returns, they are in use. Blocks on the disk.
pub(crate) fn rotate(shared: &Shared, what: Rotation) -> Result<Progress, DeviceError> {
    let was_running = shared.lock().state.rotation().is_some();
    let (progress, said) = shared.persist(|state| state.rotate(what, unix_now()))??;
    shared.trail.note(if was_running { "rotation over" } else { "rotated" }, said);
    let dismissed = progress.until.is_none();
    if dismissed {
        dismiss(shared);
    }
    if !was_running {
        // Links that are open name the old key.
        shared.cancel_dialogs();
    }
    Ok(progress)
}

/// Ends overlaps in time, for ever.
pub(crate) async fn watch(shared: Arc<Shared>) -> Infallible {
    let mut changes = shared.news.subscribe();
    loop {
        changes.mark_unchanged();
        let due = shared.lock().state.is_due(unix_now());
        if due {
            let shared = shared.clone();
            let tended = tokio::task::spawn_blocking(move || {
                let said = shared.persist(|state| state.tend(unix_now()))?;
                if let Some(said) = said {
                    tracing::info!("the rotation of the host's keys is over");
                    shared.trail.note("rotation over", said);
                    dismiss(&shared);
                }
                Ok::<_, homing_local::StoreError>(())
            });
            if let Ok(Err(error)) = tended.await {
                tracing::error!(%error, "cannot store that a rotation is over");
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Ends the sessions of devices that did not follow: they would outlive the keys that they came by.
fn dismiss(shared: &Shared) {
    let mut inner = shared.lock();
    let left: Vec<_> = inner.state.left_behind().map(|device| (device.id.clone(), device.token_hash())).collect();
    for (id, _) in &left {
        inner.close_sessions(id, code::SHUTDOWN);
    }
    drop(inner);
    for (_, key) in &left {
        shared.sessions.revoke(key, code::SHUTDOWN);
    }
}

#[cfg(test)]
mod tests {
    use homing_core::crypto::PublicKey;
    use homing_core::handshake::{Error, HELLO_MAX, Kind, Knock, RouteId, Suite, start};
    use homing_core::wire::Params;

    use super::*;
    use crate::keys::Keys;

    const BOTH: Rotation = Rotation { identity: true, route: true, now: false };

    fn state(devices: u8) -> State {
        let mut state = State::fresh("nest");
        for number in 0..devices {
            let key = PublicKey::from_bytes([number; 32]);
            let (id, name) = ([number; 8], format!("device {number}"));
            state.devices.push(Device::new(id, name, 1, key, Suite::Classic, Secret::new([0; 32]), &[0; 40]));
        }
        state
    }

    /// What a device knows of the host.
    fn known(keys: &Keys) -> (PublicKey, RouteId) {
        (*keys.identity.public(), keys.route.id)
    }

    /// How a host with these keys hears a device that knows this of it: let in or not, and by the keys of now or not.
    fn knock(keys: &Keys, (host, route): (PublicKey, RouteId)) -> Result<bool, Error> {
        let (channel, mut hello) = ([7; 16], [0; HELLO_MAX]);
        let rng = &mut crate::random();
        let device = Identity::generate(rng);
        let psk = Secret::new([0; 32]);
        let kind = Kind::Connect { route: &route, psk: &psk };
        let (len, _) =
            start(Suite::Classic, kind, &channel, &device, &host, Params::default(), rng, &mut hello).unwrap();
        // The relay brings it by the route that it was dialled on.
        let (heard, current) = keys.hear(&route, [], &channel, &mut hello[..len])?;
        assert!(matches!(heard, Knock::Connect(_)));
        Ok(current)
    }

    #[test]
    fn both_keys_are_served_until_the_overlap_ends() {
        for (identity, route) in [(true, true), (true, false), (false, true)] {
            let mut state = state(2);
            let old = known(&Keys::of(&state));
            let (progress, _) = state.rotate(Rotation { identity, route, now: false }, 1000).unwrap();
            assert_eq!(progress, Progress { until: Some(1000 + OVERLAP), waiting: 2 });
            let keys = Keys::of(&state);
            let new = known(&keys);
            assert_eq!((old.0 != new.0, old.1 != new.1), (identity, route));
            assert_eq!((knock(&keys, old).unwrap(), knock(&keys, new).unwrap()), (false, true));
            assert!(matches!(state.rotate(BOTH, 1001), Err(DeviceError::Rotating { waiting: 2, .. })));

            assert!(state.tend(999 + OVERLAP).is_none() && keys.are_of(&state));
            assert!(state.tend(1000 + OVERLAP).is_some() && !keys.are_of(&state));
            let keys = Keys::of(&state);
            // It is told no, and not only met by silence.
            assert!(!matches!(knock(&keys, old).unwrap_err(), Error::Mac1), "{identity} {route}");
            assert!(knock(&keys, new).unwrap());
            let stranger = (PublicKey::from_bytes([9; 32]), new.1);
            assert!(matches!(knock(&keys, stranger), Err(Error::Mac1 | Error::WeakKey)));
            assert_eq!(state.rotation(), None);
            assert!(state.former.as_ref().unwrap().identity.is_none(), "the old key is gone");

            // Nor is it told for ever.
            state.tend(1000 + OVERLAP + DISMISSAL);
            assert!(state.former.is_none());
        }
    }

    #[test]
    fn the_old_keys_go_when_everybody_has_followed() {
        let mut state = state(2);
        let old = known(&Keys::of(&state));
        state.rotate(BOTH, 0).unwrap();
        state.devices[0].followed = state.rotations;
        assert_eq!((state.is_due(5), state.rotation().unwrap().waiting), (false, 1));
        state.devices[1].followed = state.rotations;
        assert_eq!(state.tend(5).unwrap(), json!({ "left_behind": [] }));
        assert!(state.former.is_none());
        assert!(matches!(knock(&Keys::of(&state), old), Err(Error::Mac1)));
    }

    #[test]
    fn at_once_means_that_nobody_follows() {
        let mut alone = state(2);
        let old = known(&Keys::of(&alone));
        let (progress, said) = alone.rotate(Rotation { now: true, ..BOTH }, 0).unwrap();
        assert_eq!((progress, &said["until"]), (Progress { until: None, waiting: 2 }, &Value::Null));
        assert!(knock(&Keys::of(&alone), old).is_err());
        // In an overlap it ends that, and makes no other keys.
        let mut state = state(2);
        state.rotate(BOTH, 0).unwrap();
        let new = known(&Keys::of(&state));
        state.devices[0].followed = state.rotations;
        let (progress, said) = state.rotate(Rotation { now: true, ..BOTH }, 1).unwrap();
        assert_eq!(progress, Progress { until: None, waiting: 1 });
        assert_eq!(said, json!({ "left_behind": [state.devices[1].id] }));
        assert_eq!(known(&Keys::of(&state)), new);
        // Without devices there is nobody to wait for.
        let mut empty = self::state(0);
        assert_eq!(empty.rotate(BOTH, 0).unwrap().0, Progress { until: None, waiting: 0 });
        assert!(empty.former.is_none());
    }

    #[test]
    fn what_is_kept_survives_the_disk() {
        let mut state = state(1);
        state.rotate(BOTH, 0).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        let read: State = serde_json::from_str(&text).unwrap();
        assert_eq!((read.rotations, read.rotation()), (1, state.rotation()));
        // One of an earlier version knows nothing of this.
        let mut early: Value = serde_json::from_str(&text).unwrap();
        for member in ["rotations", "former", "log"] {
            early.as_object_mut().unwrap().remove(member);
        }
        early["devices"][0].as_object_mut().unwrap().remove("followed");
        let early: State = serde_json::from_value(early).unwrap();
        assert_eq!((early.rotations, early.left_behind().count(), early.rotation()), (0, 0, None));
    }
}
