//! A wire to the relay that can be cut, or swallow what goes through it. Threads and `std::net`: no runtime's.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use homing_driver::relay::RelayUrl;

/// A wire that ends at a relay.
#[derive(Debug)]
pub struct Wire {
    /// Its other end.
    pub url: RelayUrl,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Mutex<Vec<TcpStream>>,
    swallows: AtomicBool,
}

impl Wire {
    /// Lays one to a relay.
    #[must_use]
    pub fn lay(relay: &RelayUrl) -> Self {
        let to: SocketAddr = relay.authority().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state = Arc::<State>::default();
        let ours = state.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(to) else { continue };
                let again = |tcp: &TcpStream| {
                    tcp.set_nodelay(true).unwrap();
                    tcp.try_clone().unwrap()
                };
                let ends = [again(&near), again(&far), again(&near), again(&far)];
                ours.live.lock().unwrap().extend([near, far]);
                let [near_in, far_out, near_out, far_in] = ends;
                let (up, down) = (ours.clone(), ours.clone());
                thread::spawn(move || up.carry(near_in, far_out));
                thread::spawn(move || down.carry(far_in, near_out));
            }
        });
        Self { url, state }
    }

    /// Breaks all that runs through it.
    pub fn cut(&self) {
        for tcp in self.state.live.lock().unwrap().drain(..) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }

    /// From now on nothing comes out of it, and nobody is told.
    pub fn swallow(&self) {
        self.state.swallows.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buf) {
            if !self.swallows.load(Ordering::SeqCst) && to.write_all(&buf[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
