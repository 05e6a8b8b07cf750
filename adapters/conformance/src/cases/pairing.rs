//! Who gets in: pairing, revocation, and whose relay is trusted.

use homing_core::channel::code;
use homing_core::handshake::Suite;
use homing_driver::Ended;
use homing_driver::relay::DialError;

use super::{World, all_of, ask, certificate, echo, reason, within};
use crate::device::Device;
use crate::host::{Host, Wish};
use crate::relay::RunningRelay;
use crate::runtime::Runtime;

pub(super) fn pairing<D: Runtime, H: Runtime, R: Runtime>() {
    for suite in [Suite::Hybrid, Suite::Classic] {
        let world = World::start::<D, H, R>(suite);
        assert_eq!(world.device.paired.host_name, "test host");
        within(echo::<D>(&world.opener, 10));
        world.calling.close(&world.opener);
        let (opener, calling) = world.device.reach::<D>(&world.relay.url);
        within(echo::<D>(&opener, 1000));
        calling.close(&opener);
    }
}

pub(super) fn revocation<D: Runtime, H: Runtime, R: Runtime>() {
    let World { relay, host, device, calling, opener } = World::start::<D, H, R>(Suite::Classic);
    let mut stream = within(ask::<D>(&opener, Wish::Echo));
    within(echo::<D>(&opener, 10));
    host.revoke();
    let ended = calling.ended();
    assert!(matches!(ended, Ended::Closed { code: code::REVOKED, .. }), "{ended:?}");
    assert!(ended.is_final());
    let error = within(futures_util::AsyncReadExt::read(&mut stream, &mut [0; 8])).unwrap_err();
    assert_eq!(reason(&error), Some(homing_driver::StreamError::Lost), "{error}");
    assert!(opener.open().is_none());
    let again = device.call::<D>(&relay.url);
    let ended = again.ended();
    assert!(matches!(ended, Ended::Closed { code: code::REVOKED, .. }), "{ended:?}");
}

pub(super) fn tls<D: Runtime, H: Runtime, R: Runtime>() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (files, trusting) = certificate(dir.path());
    let relay = RunningRelay::start::<R>(Some(files));
    let host = Host::start::<H>(&relay.url, trusting(), Suite::Classic);
    let (_device, calling) = Device::pair::<D>(&relay.url, trusting(), &host.ticket);
    let opener = calling.opener();
    within(echo::<D>(&opener, 1_000_000));
    within(async {
        let mut stream = ask::<D>(&opener, Wish::Count).await;
        assert_eq!(all_of(&mut stream).await, b"done");
    });
    calling.close(&opener);

    let (_, stranger) = certificate(other.path());
    let (url, stranger) = (relay.url.clone(), stranger());
    let refused = D::run(async move { D::dial(&url, &stranger).await.err() });
    assert!(matches!(refused, Some(DialError::Tls { .. })), "{refused:?}");
}
