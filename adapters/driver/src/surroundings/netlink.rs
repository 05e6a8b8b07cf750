//! What Linux tells of its interfaces, addresses and routes (rtnetlink). Only whether something changed is read out of it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// Groups of messages, as the bits of an address: interfaces, and addresses and routes of IPv4 and IPv6.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Types of messages.
const NEW_LINK: u16 = 16;
const OTHERS: [u16; 5] = [17, 20, 21, 24, 25]; // interface gone; address new, gone; route new, gone
/// Length of a message's header, and where the header of an interface has its fields behind that.
const HEADER: usize = 16;
const INDEX: usize = HEADER + 4;
const FLAGS: usize = HEADER + 8;
/// Of an interface's flags: up, running, carrier.
const STATE: u32 = 0x1 | 0x40 | 0x1_0000;
/// More interfaces than this are not remembered; each of their events then counts.
const REMEMBERED: usize = 1024;

/// A subscription to the system's news of its network: a socket to wait for, and what it told so far.
#[derive(Debug)]
pub struct Subscription {
    interfaces: Interfaces,
}

impl Subscription {
    /// Subscribes; the socket does not block, and is to be waited for until it can be read.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open() -> io::Result<(OwnedFd, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol means routing.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok((socket, Self { interfaces: Interfaces::default() }))
    }

    /// Reads what the socket has, and says whether something changed.
    ///
    /// # Errors
    /// `WouldBlock` where it has nothing; any other error ends the subscription.
    pub fn read(&mut self, socket: &impl AsFd) -> io::Result<bool> {
        let mut buf = [0; 8 * 1024];
        match recv(socket, &mut buf[..], RecvFlags::empty()) {
            Ok((len, _)) => Ok(self.interfaces.changed(buf.get(..len).unwrap_or_default())),
            // More than the socket holds has happened.
            Err(Errno::NOBUFS) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Which interfaces are up, as far as was heard: much that is said of them, as by wireless ones, is no change.
#[derive(Debug, Default)]
struct Interfaces(BTreeMap<u32, u32>);

impl Interfaces {
    /// Whether one of these messages tells of a change.
    fn changed(&mut self, mut messages: &[u8]) -> bool {
        let mut changed = false;
        while let (Some(len), Some(kind)) = (u32_at(messages, 0), u16_at(messages, 4)) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let Some(message) = messages.get(..len).filter(|_| len >= HEADER) else { break };
            changed |= match kind {
                NEW_LINK => self.is_news(message),
                kind => OTHERS.contains(&kind),
            };
            messages = messages.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        changed
    }

    fn is_news(&mut self, message: &[u8]) -> bool {
        let (Some(index), Some(flags)) = (u32_at(message, INDEX), u32_at(message, FLAGS)) else { return false };
        let state = flags & STATE;
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&index) {
            return true;
        }
        self.0.insert(index, state) != Some(state)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER + body.len()).unwrap();
        let mut all = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        all.resize(all.len().next_multiple_of(4), 0);
        all
    }

    fn link(index: u32, flags: u32) -> Vec<u8> {
        let body = [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 7]].concat();
        message(NEW_LINK, &body)
    }

    #[test]
    fn an_interface_that_stays_as_it_is_is_no_news() {
        let mut interfaces = Interfaces::default();
        assert!(interfaces.changed(&link(2, 0x1_0041)));
        assert!(!interfaces.changed(&link(2, 0x1_1041)), "another flag");
        assert!(interfaces.changed(&link(2, 0x41)), "no carrier");
        assert!(interfaces.changed(&link(3, 0x41)), "another interface");
        assert!(!interfaces.changed(&[link(2, 0x41), link(3, 0x41)].concat()));
        assert!(interfaces.changed(&[link(2, 0x41), message(20, &[0; 8])].concat()), "an address behind it");
        for index in 0..2 * u32::try_from(REMEMBERED).unwrap() {
            interfaces.changed(&link(index, 1));
        }
        assert_eq!(interfaces.0.len(), REMEMBERED);
    }

    #[test]
    fn nonsense_is_no_change() {
        let mut interfaces = Interfaces::default();
        assert!(!interfaces.changed(&message(99, &[0; 40])));
        let whole = link(2, 1);
        for len in 0..whole.len() - 8 {
            assert!(!interfaces.changed(&whole[..len]), "{len}");
        }
        assert!(!interfaces.changed(&[0; 64]), "a length of nothing");
        assert!(!interfaces.changed(&[255; 64]));
        let mut short = message(NEW_LINK, &[0; 4]);
        assert!(!interfaces.changed(&short));
        short[0] = 3;
        assert!(!interfaces.changed(&short));
    }
}
