use homing_core::handshake::Suite;
use homing_local::clock::unix_now;
use tempfile::TempDir;

use super::*;
use crate::random;

fn add(data: &Path, name: &str, host: u8) -> HostSummary {
    let relay = "wss://relay.example.org".parse().unwrap();
    let new = NewHost {
        name,
        relay: &relay,
        suite: Suite::Hybrid,
        host: &PublicKey::from_bytes([host; 32]),
        identity: &Identity::generate(&mut random()),
        device_root: Secret::new([1; 32]),
        device_id: [2; 8],
        token: Secret::new([3; TOKEN_LEN]),
        route_id: [4; 16],
        capability: Secret::new([5; CAPABILITY_LEN]),
        paired_at: 77,
    };
    vault(data).unwrap().update(|profiles| profiles.insert(new)).unwrap().0
}

fn names(data: &Path) -> Vec<String> {
    Profiles::list(data).unwrap().into_iter().map(|host| host.name).collect()
}

#[test]
fn hosts_are_kept_sealed_and_named_once() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    assert!(Profiles::list(&data).unwrap().is_empty() && !data.exists());
    assert_eq!(add(&data, "My NAS!", 1).name, "my-nas");
    assert_eq!(add(&data, "my nas", 2).name, "my-nas-2");
    assert_eq!(add(&data, "../..", 3).name, "host");
    assert_eq!(names(&data), ["host", "my-nas", "my-nas-2"]);
    let profiles = Profiles::read(&data).unwrap();
    let profile = profiles.find("my-nas").unwrap();
    assert_eq!(profile.host_key(), PublicKey::from_bytes([1; 32]));
    assert_eq!((profile.ways(0)[0].route, profile.token().expose()), ([4; 16], &[3; TOKEN_LEN]));
    assert_eq!(profile.summary().relays, ["wss://relay.example.org"]);
    let told = format!("{profiles:?}");
    assert!(told.contains("my-nas") && !told.contains("0303"), "{told}");
    let sealed = std::fs::read(data.join(STATE_FILE)).unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"my-nas"));
}

#[test]
fn a_host_is_found_by_name_id_or_the_beginning_of_either() {
    let dir = TempDir::new().unwrap();
    let (nas, pc) = (add(dir.path(), "nas", 1), add(dir.path(), "nas-attic", 2));
    let profiles = Profiles::read(dir.path()).unwrap();
    let id = |host: &str| profiles.find(host).map(|profile| profile.id.clone());
    assert_eq!(id("nas").unwrap(), nas.id);
    assert_eq!(id("nas-").unwrap(), pc.id);
    assert_eq!(id(&pc.id).unwrap(), pc.id);
    assert_eq!(id(&nas.id[..8]).unwrap(), nas.id);
    assert!(matches!(id("na"), Err(DeviceError::Ambiguous { names, .. }) if names == ["nas", "nas-attic"]));
    for unknown in ["", "x/", "nas-attics"] {
        assert_eq!(id(unknown).unwrap_err().exit_code(), 4, "{unknown}");
    }
}

#[test]
fn pairing_again_keeps_the_name_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let first = add(dir.path(), "nas", 1);
    Profiles::rename(dir.path(), "nas", "attic").unwrap();
    let old = Profiles::read(dir.path()).unwrap().find("attic").unwrap().identity().public().to_owned();
    let again = add(dir.path(), "nas", 1);
    assert_eq!((again.id.as_str(), again.name.as_str()), (first.id.as_str(), "attic"));
    let profiles = Profiles::read(dir.path()).unwrap();
    assert_ne!(*profiles.find("attic").unwrap().identity().public(), old);
    assert_eq!(names(dir.path()), ["attic"]);
}

#[test]
fn renaming_and_forgetting_say_no_clearly() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(Profiles::forget(dir.path(), "nas"), Err(DeviceError::UnknownHost { .. })));
    add(dir.path(), "nas", 1);
    add(dir.path(), "pc", 2);
    assert!(matches!(Profiles::rename(dir.path(), "nas", "pc"), Err(DeviceError::NameTaken { .. })));
    for bad in ["", "a/b", "A", ".", "a..b", "a b", &"a".repeat(64)] {
        assert!(matches!(Profiles::rename(dir.path(), "nas", bad), Err(DeviceError::BadName { .. })), "{bad}");
    }
    assert_eq!(Profiles::rename(dir.path(), "nas", "nas").unwrap().name, "nas");
    Profiles::forget(dir.path(), "pc").unwrap();
    assert_eq!(names(dir.path()), ["nas"]);
}

#[test]
fn a_fresh_capability_keeps_the_one_that_worked_behind_it() {
    let dir = TempDir::new().unwrap();
    let id = add(dir.path(), "nas", 1).id;
    let shown = || ways(dir.path(), 0).into_iter().map(|(_, _, capability)| capability).collect::<Vec<_>>();
    assert_eq!(shown(), [5]);
    for (used, fresh) in [(5, 6), (5, 7), (7, 8)] {
        let used_bytes = Secret::new([used; CAPABILITY_LEN]);
        let mut vault = vault(dir.path()).unwrap();
        vault.update(|profiles| profiles.renew(&id, &[4; 16], &used_bytes, &[fresh; CAPABILITY_LEN])).unwrap();
        assert_eq!(shown(), [fresh, used]);
    }
}

/// The ways to the host "nas": the first byte of its key, of the route and of the capability.
fn ways(data: &Path, now: u64) -> Vec<(u8, u8, u8)> {
    let profiles = Profiles::read(data).unwrap();
    let ways = profiles.find("nas").unwrap().ways(now);
    ways.iter().map(|way| (way.host.as_bytes()[0], way.route[0], way.capability.to_bytes().expose()[0])).collect()
}

#[test]
fn a_host_that_moves_is_called_by_its_new_keys_and_the_old_ones_until_it_has_answered() {
    let dir = TempDir::new().unwrap();
    let (host, mut vault) = (add(dir.path(), "nas", 1), vault(dir.path()).unwrap());
    let to = |host: u8, route: u8, capability: u8| Move {
        host_key: Hex::new([host; 32]),
        route_id: Hex::new([route; 16]),
        capability: Hex::new([capability; CAPABILITY_LEN]),
        until: 100,
    };
    let mut follow = |to: Move| vault.update(|profiles| profiles.follow(&host.id, to)).unwrap().0;
    assert!(!follow(to(1, 4, 6)), "those it has already");
    assert!(follow(to(11, 14, 15)));
    assert_eq!(ways(dir.path(), 99), [(11, 14, 15), (1, 4, 6)]);
    assert_eq!(ways(dir.path(), 100), [(11, 14, 15)]);
    // Told again, by the old keys; and moved once more before it was ever reached by the new ones.
    assert!(!follow(to(11, 14, 16)) && follow(to(21, 24, 25)));
    assert_eq!(ways(dir.path(), 0), [(21, 24, 25), (1, 4, 6)]);

    // A capability belongs to the route of the call that brings it.
    let mut vault = self::vault(dir.path()).unwrap();
    let mut change = |change: &mut dyn FnMut(&mut Profiles)| vault.update(change).map(|_| ()).unwrap();
    let bytes = |byte| Secret::new([byte; CAPABILITY_LEN]);
    change(&mut |profiles| profiles.renew(&host.id, &[4; 16], &bytes(6), &[7; CAPABILITY_LEN]));
    assert_eq!(ways(dir.path(), 0), [(21, 24, 25), (1, 4, 7), (1, 4, 6)]);
    change(&mut |profiles| profiles.renew(&host.id, &[24; 16], &bytes(25), &[26; CAPABILITY_LEN]));
    change(&mut |profiles| profiles.renew(&host.id, &[9; 16], &bytes(1), &[1; CAPABILITY_LEN]));
    assert_eq!(ways(dir.path(), 0), [(21, 24, 26), (21, 24, 25), (1, 4, 7), (1, 4, 6)]);

    // An answer by the old keys settles nothing.
    change(&mut |profiles| profiles.settle(&host.id, &PublicKey::from_bytes([1; 32]), &[4; 16]));
    assert_eq!(ways(dir.path(), 0).len(), 4);
    change(&mut |profiles| profiles.settle(&host.id, &PublicKey::from_bytes([21; 32]), &[24; 16]));
    assert_eq!(ways(dir.path(), 0), [(21, 24, 26), (21, 24, 25)]);

    // It is the same host, also where it is paired anew.
    assert_eq!(add(dir.path(), "other", 21), HostSummary { relays: host.relays.clone(), ..host });
    assert_eq!(names(dir.path()), ["nas"]);
}

#[test]
fn long_names_stay_unique() {
    let dir = TempDir::new().unwrap();
    let long = "é".repeat(80) + &"x".repeat(80);
    let first = add(dir.path(), &long, 1).name;
    let second = add(dir.path(), &long, 2).name;
    assert!(is_name(&first) && is_name(&second) && first != second, "{first} {second}");
    assert!(second.ends_with("-2"));
}

#[test]
fn the_relays_that_a_host_names_come_before_the_one_it_was_paired_through() {
    let dir = TempDir::new().unwrap();
    let id = add(dir.path(), "nas", 1).id;
    let learn = |told: &[&str]| {
        let told: Vec<_> = told.iter().map(|relay| (*relay).to_owned()).collect();
        vault(dir.path()).unwrap().update(|profiles| profiles.learn_relays(&id, &told)).unwrap().0
    };
    let relays = || Profiles::list(dir.path()).unwrap().remove(0).relays;
    assert!(!learn(&[]) && !learn(&["http://x", "ws://relay.example.net", "\u{1b}[2J"]), "nothing to dial");
    assert_eq!(relays(), ["wss://relay.example.org"]);
    assert!(learn(&["wss://B.example.org:443", "wss://b.example.org", "nonsense", "wss://c.example.org:8443"]));
    assert_eq!(relays(), ["wss://b.example.org", "wss://c.example.org:8443", "wss://relay.example.org"]);
    assert!(!learn(&["wss://b.example.org", "wss://c.example.org:8443"]), "known");
    // Its order is the host's, where the host names it.
    assert!(learn(&["wss://relay.example.org", "wss://b.example.org"]));
    assert_eq!(relays(), ["wss://relay.example.org", "wss://b.example.org"]);
    let many: Vec<_> = (0..100).map(|n| format!("wss://r{n}.example.org")).collect();
    assert!(learn(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(relays().len(), RELAYS_MAX + 1);
    assert_eq!(Profiles::list(dir.path()).unwrap()[0].relay, "wss://relay.example.org");
}

#[test]
fn a_profile_from_before_relays_were_named_is_read() {
    let dir = TempDir::new().unwrap();
    add(dir.path(), "nas", 1);
    let mut text = serde_json::to_value(Profiles::read(dir.path()).unwrap()).unwrap();
    assert!(text["hosts"][0].as_object_mut().unwrap().remove("relays").is_some());
    for later in ["devices", "former"] {
        assert!(text["hosts"][0].as_object_mut().unwrap().remove(later).is_some());
    }
    let old: Profiles = serde_json::from_value(text).unwrap();
    assert_eq!(old.hosts[0].summary().relays, ["wss://relay.example.org"]);
}

#[test]
fn what_is_passed_on_reaches_the_same_host_and_ends_first() {
    use homing_core::channel::token_hash;
    use homing_core::handshake::{GuestChain, GuestSeed};
    use homing_core::pairing::{GUEST_MAX, parse_guest_link};
    use homing_core::wire::{Caveats, MAX_CAVEATS};

    let (owner, guest) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    add(owner.path(), "nas", 1);
    let (now, caveat) = (unix_now(), br#"{"expires_at":9}"#);
    let own = Profiles::read(owner.path()).unwrap();
    assert_eq!(own.find("nas").unwrap().caveats(), None);
    let mut link = own.find("nas").unwrap().pass_on(caveat, now + 1000).unwrap();
    assert!(link.web_link.starts_with("https://relay.example.org/guest#") && link.expires_at == now + 1000);
    let (root, mut names) = (Secret::new([1; 32]), Vec::new());
    let mut chain = GuestChain::of(&root);
    for depth in 1..=MAX_CAVEATS {
        let mut room = [0; GUEST_MAX];
        let pass = parse_guest_link(&link.link, &mut room).unwrap();
        let mut vault = vault(guest.path()).unwrap();
        names.push(vault.try_update(|profiles| profiles.insert_guest(&pass)).unwrap().0.0.name);
        let profiles = Profiles::read(guest.path()).unwrap();
        let profile = profiles.find("nas").unwrap();
        // What the host derives from the root of the device, and the caveats.
        chain = chain.narrowed(caveat);
        let caveats = Caveats::from_bytes(profile.caveats().unwrap()).unwrap();
        assert_eq!(caveats.iter().collect::<Vec<_>>(), vec![&caveat[..]; depth]);
        assert_eq!(token_hash(profile.token().expose()), token_hash(chain.token(&[2; 8]).expose()));
        let seed = GuestSeed::of(&root);
        assert_eq!(profile.identity().public(), seed.identity().public());
        assert!(profile.psk(Suite::Hybrid).same(&seed.psk(Suite::Hybrid)));
        assert_eq!((profile.host_key(), profile.ways(0)[0].route), (PublicKey::from_bytes([1; 32]), [4; 16]));
        assert_eq!(profile.summary().guest_until, Some(now + 1000));
        let passed_on = profile.pass_on(caveat, now + 5000);
        if depth == MAX_CAVEATS {
            assert!(matches!(passed_on, Err(DeviceError::TooNarrow)));
        } else {
            link = passed_on.unwrap();
            assert_eq!(link.expires_at, now + 1000, "no longer than its parent");
        }
    }
    assert_eq!(names, ["nas"; MAX_CAVEATS], "one host, whoever's guest this is");
    // A device of the host is no guest there, and one whose time is over makes no more.
    let mut room = [0; GUEST_MAX];
    let pass = parse_guest_link(&link.link, &mut room).unwrap();
    let refused = vault(owner.path()).unwrap().try_update(|profiles| profiles.insert_guest(&pass)).map(|_| ());
    assert!(matches!(refused, Err(DeviceError::PairedItself { host }) if host == "nas"));
    let over = own.find("nas").unwrap().pass_on(caveat, now).unwrap();
    let pass = parse_guest_link(&over.link, &mut room).unwrap();
    let token = pass.chain.token(&pass.device_id);
    let ((host, before), _) = vault(guest.path()).unwrap().try_update(|profiles| profiles.insert_guest(&pass)).unwrap();
    let late = Profiles::read(guest.path()).unwrap().find("nas").unwrap().pass_on(caveat, now + 5);
    assert_eq!(late.unwrap_err().exit_code(), 5);
    vault(guest.path()).unwrap().update(|profiles| profiles.take_back(&host.id, &token, before)).unwrap();
    assert_eq!(Profiles::list(guest.path()).unwrap()[0].guest_until, Some(now + 1000), "the one before is back");
    Profiles::forget(guest.path(), "nas").unwrap();
    vault(guest.path()).unwrap().update(|profiles| profiles.take_back(&host.id, &token, None)).unwrap();
    assert!(Profiles::list(guest.path()).unwrap().is_empty());
}
