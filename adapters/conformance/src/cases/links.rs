//! Links that are dropped, cut, silent or about to go: what streams live through, and what ends.

use core::time::Duration;
use std::time::Instant;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use homing_core::handshake::Suite;
use homing_core::hop::Code;
use homing_driver::Ended;

use super::{World, all_of, ask, pattern, within};
use crate::host::{Told, Wish};
use crate::runtime::Runtime;

/// What is said once each time that a link went, and heard again.
const WORDS: usize = 70_000;

/// Says something to an echo, and hears it.
async fn talk(stream: &mut (impl futures_io::AsyncRead + futures_io::AsyncWrite + Unpin)) {
    let said = pattern(WORDS);
    stream.write_all(&said).await.unwrap();
    hear(stream).await;
}

async fn hear(stream: &mut (impl futures_io::AsyncRead + Unpin)) {
    let mut got = vec![0; WORDS];
    stream.read_exact(&mut got).await.unwrap();
    assert!(got == pattern(WORDS));
}

pub(super) fn cancel_call<D: Runtime, H: Runtime, R: Runtime>() {
    let mut world = World::start::<D, H, R>(Suite::Classic);
    let url = world.relay.url.clone();
    world.call_anew::<D>(&url);
    let mut stream = within(ask::<D>(&world.opener, Wish::Echo));
    within(talk(&mut stream));
    for _ in 0..3 {
        world.calling.give_up();
        assert!(world.opener.open().is_none());
        // A stream takes what fits into its buffer, with nobody to carry it.
        let (before, after) = (&pattern(WORDS)[..1000], &pattern(WORDS)[1000..]);
        within(stream.write_all(before)).unwrap();
        (world.opener, world.calling) = world.device.reach::<D>(&url);
        within(stream.write_all(after)).unwrap();
        within(hear(&mut stream));
    }
    within(stream.close()).unwrap();
    assert!(within(all_of(&mut stream)).is_empty());
    world.close();
}

pub(super) fn resume_device<D: Runtime, H: Runtime, R: Runtime>() {
    let (mut world, wire) = World::wired::<D, H, R>(false);
    world.call_anew::<D>(&wire.url);
    let mut stream = within(ask::<D>(&world.opener, Wish::Echo));
    for _ in 0..3 {
        within(talk(&mut stream));
        // Some of it may be under way when the wire breaks.
        within(stream.write_all(&pattern(WORDS))).unwrap();
        wire.cut();
        let ended = world.calling.ended();
        assert!(matches!(ended, Ended::Wire(_)), "{ended:?}");
        (world.opener, world.calling) = world.device.reach::<D>(&wire.url);
        within(hear(&mut stream));
    }
    within(stream.close()).unwrap();
    assert!(within(all_of(&mut stream)).is_empty());
    world.close();
}

pub(super) fn resume_host<D: Runtime, H: Runtime, R: Runtime>() {
    let (mut world, wire) = World::wired::<D, H, R>(true);
    let url = world.relay.url.clone();
    world.call_anew::<D>(&url);
    let mut stream = within(ask::<D>(&world.opener, Wish::Echo));
    for _ in 0..3 {
        within(talk(&mut stream));
        within(stream.write_all(&pattern(WORDS))).unwrap();
        wire.cut();
        let ended = world.calling.ended();
        assert!(matches!(ended, Ended::Hop(Code::Gone)), "{ended:?}");
        let told = world.host.told();
        assert!(matches!(told, Told::Ended(Ended::Wire(_))), "{told:?}");
        assert!(matches!(world.host.told(), Told::Registered(_)));
        (world.opener, world.calling) = world.device.reach::<D>(&url);
        within(hear(&mut stream));
    }
    world.close();
}

pub(super) fn timeout<D: Runtime, H: Runtime, R: Runtime>() {
    let (world, wire) = World::wired::<D, H, R>(false);
    let mut stream = within(ask::<D>(&world.opener, Wish::Echo));
    within(talk(&mut stream));
    wire.swallow();
    let since = Instant::now();
    world.opener.probe();
    let ended = world.calling.ended();
    assert!(matches!(ended, Ended::Silent(_)), "{ended:?}");
    let waited = since.elapsed();
    // Three seconds, and no sooner.
    assert!((Duration::from_millis(2900)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
}

pub(super) fn drain<D: Runtime, H: Runtime, R: Runtime>() {
    let mut world = World::start::<D, H, R>(Suite::Classic);
    within(async { talk(&mut ask::<D>(&world.opener, Wish::Echo).await).await });
    world.relay.stop();
    let ended = world.calling.ended();
    // Whoever leaves first, the other may hear of it before its own time comes.
    assert!(matches!(ended, Ended::Hop(Code::Draining | Code::Gone)), "{ended:?}");
    let told = world.host.told();
    assert!(matches!(told, Told::Ended(Ended::Hop(Code::Draining))), "{told:?}");
    world.relay.ended();
}
