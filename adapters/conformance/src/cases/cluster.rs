//! Relays that send those on whose route another one serves.

use homing_core::handshake::Suite;
use homing_driver::relay::ClientTls;

use super::{echo, within};
use crate::device::Device;
use crate::host::Host;
use crate::relay::RunningRelay;
use crate::runtime::Runtime;

/// Of so many hosts all would have the first relay's routes in one run of 2^64.
const HOSTS: usize = 64;

pub(super) fn redirect<D: Runtime, H: Runtime, R: Runtime>() {
    let [first, second] = RunningRelay::cluster::<R>();
    let mut hosts = (0..HOSTS).map(|_| Host::start::<H>(&first.url, ClientTls::system(), Suite::Classic));
    let host = hosts.find(|host| host.at == second.url).expect("a host that was sent on");
    let (device, calling) = Device::pair::<D>(&second.url, ClientTls::system(), &host.ticket);
    let opener = calling.opener();
    calling.close(&opener);
    // From either, the device meets it at the second.
    for relay in [&first, &second] {
        let (opener, calling) = device.reach::<D>(&relay.url);
        within(echo::<D>(&opener, 100_000));
        calling.close(&opener);
    }
}
