use homing_core::crypto::{Identity, Secret};
use homing_core::handshake::Suite;
use homing_core::wire::Caveats;

use super::*;

const FAR: u64 = 4_000_000_000;

fn guest(device: &str, names: &[&str]) -> Guest {
    let texts: Vec<_> = names.iter().map(|name| format!(r#"{{"name":"{name}","expires_at":{FAR}}}"#)).collect();
    let mut bytes = vec![u8::try_from(texts.len()).unwrap()];
    for text in &texts {
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    Guest::read(device, Caveats::from_bytes(&bytes).unwrap(), unix_now()).unwrap()
}

fn device(number: u8) -> Device {
    let key = *Identity::generate(&mut crate::random()).public();
    let root = Secret::new([number; 32]);
    Device::new([number; 8], format!("device {number}"), 1, key, Suite::Hybrid, root, &[number; 40])
}

fn state(devices: Vec<Device>) -> State {
    State { devices, ..State::fresh("host") }
}

#[test]
fn ending_a_guest_ends_those_that_it_made_and_no_other() {
    let mut one = device(1);
    let id = one.id.clone();
    let all = [guest(&id, &["anna"]), guest(&id, &["anna", "bert"]), guest(&id, &["carl"])];
    all.iter().for_each(|guest| one.met(guest));
    let mut state = state(vec![one]);
    let said = state.end_guest("anna").unwrap().unwrap();
    assert_eq!((&said["guest"], &said["guest_id"]), (&json!("anna"), &json!(all[0].id(&id))));
    let device = state.device(&id).unwrap();
    assert_eq!(all.each_ref().map(|guest| device.has_ended(guest)), [true, true, false]);
    let listed = state.guests(|_| 0);
    let ended: Vec<_> = listed.iter().map(|guest| (guest["name"].as_str(), guest["ended"].as_bool())).collect();
    assert_eq!(ended, [(Some("carl"), Some(false)), (Some("anna / bert"), Some(true)), (Some("anna"), Some(true))]);
    assert!(state.end_guest("anna").unwrap().is_none() && state.end_guest("anna / bert").unwrap().is_none());
}

#[test]
fn a_guest_is_found_by_its_id_its_name_and_the_beginning_of_its_id() {
    let (mut one, mut two) = (device(1), device(2));
    one.met(&guest(&one.id, &["anna"]));
    one.met(&guest(&one.id, &["bert"]));
    two.met(&guest(&two.id, &["anna"]));
    let (first, second) = (one.id.clone(), two.id.clone());
    let mut state = state(vec![one, two]);
    assert!(matches!(state.end_guest("anna"), Err(DeviceError::AmbiguousGuest(_))));
    assert!(matches!(state.end_guest(&first), Err(DeviceError::AmbiguousGuest(_))));
    for nobody in ["", "dora", "-"] {
        assert!(matches!(state.end_guest(nobody), Err(DeviceError::UnknownGuest(_))), "{nobody}");
    }
    assert_eq!(state.end_guest(&second).unwrap().unwrap()["device"], second.as_str());
    assert_eq!(state.end_guest(&guest(&first, &["anna"]).id(&first)).unwrap().unwrap()["device"], first.as_str());
    assert_eq!(state.end_guest("bert").unwrap().unwrap()["guest"], "bert");
}

#[test]
fn a_guest_that_has_not_come_is_ended_by_its_id() {
    let one = device(1);
    let id = one.id.clone();
    let anna = guest(&id, &["anna"]);
    let mut state = state(vec![one]);
    for no_id in [format!("{id}-"), format!("{id}-0123"), format!("{id}-{}", "G".repeat(16)), "-".repeat(17)] {
        assert!(matches!(state.end_guest(&no_id), Err(DeviceError::UnknownGuest(_))), "{no_id}");
    }
    assert!(state.end_guest(&anna.id(&id)).unwrap().is_some());
    assert!(state.devices[0].has_ended(&anna));
    let listed = state.guests(|_| 0);
    assert_eq!(
        (&listed[0]["expires_at"], &listed[0]["last_seen"], &listed[0]["ended"]),
        (&Value::Null, &Value::Null, &json!(true))
    );
    assert!(state.end_guest(&anna.id(&id)).unwrap().is_none());
    assert!(matches!(state.end_guest(""), Err(DeviceError::UnknownGuest(_))), "it has no name");
}

#[test]
fn what_is_remembered_is_bounded_and_who_was_ended_is_not_forgotten() {
    let mut one = device(1);
    let id = one.id.clone();
    let first = guest(&id, &["guest 0"]);
    one.met(&first);
    let mut state = state(vec![one]);
    let mut left = 0;
    for number in 0..200 {
        let name = format!("guest {number}");
        let device = &mut state.devices[0];
        device.met(&guest(&id, &[&name]));
        assert!(device.guests.len() <= KNOWN);
        left += usize::from(matches!(state.end_guest(&name), Err(DeviceError::TooManyEnded(_))));
    }
    let device = &mut state.devices[0];
    assert_eq!((device.ended_guests.len(), left), (ENDED, 200 - ENDED));
    assert!(device.has_ended(&first));
    device.forget_guests(FAR - 1);
    assert!(device.has_ended(&first));
    device.forget_guests(FAR);
    assert!(device.guests.is_empty() && device.ended_guests.is_empty());
}

#[test]
fn a_change_on_the_disk_takes_over_who_has_come_and_keeps_who_was_ended() {
    let mut one = device(1);
    let anna = guest(&one.id, &["anna"]);
    one.met(&anna);
    let (noticed, mut stored) = (state(vec![one]), state(vec![device(1)]));
    stored.learn(&noticed);
    stored.end_guest("anna").unwrap();
    stored.learn(&noticed);
    assert!(stored.devices[0].has_ended(&anna));
    let text = serde_json::to_vec(&stored).unwrap();
    assert!(serde_json::from_slice::<State>(&text).unwrap().devices[0].has_ended(&anna));
}
