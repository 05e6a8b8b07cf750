//! R3: connections that die without a word: how soon are they found, and replaced?

use core::net::SocketAddr;
use core::time::Duration;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::crowd::{Crowd, Manner};
use crate::peer::SMALL;
use crate::relay::{Plan, Relay};
use crate::sheet::{Aim, Sheet};

pub(crate) async fn run(sheet: &mut Sheet, hosts: usize) {
    let relay = Relay::start(&Plan { links: 2 * hosts + 64, ..Plan::default() });
    let (holes, hole) = watch::channel(0_u32);
    let proxy = proxy(relay.target.address, hole).await;
    let behind = relay.target.through(proxy);
    let crowd = Crowd::start(&behind, hosts, Manner { room: SMALL, echo: false, returns: true }).await;
    // They have just been answered: nothing is expected for as long as there can be.
    sleep(Duration::from_millis(15_500)).await;
    crowd.fate.arrivals.lock().unwrap().clear();
    holes.send_modify(|holes| *holes += 1);
    let began = Instant::now();
    while crowd.fate.arrivals.lock().unwrap().len() < hosts {
        assert!(began.elapsed() < Duration::from_secs(90), "hosts do not come back");
        sleep(Duration::from_millis(20)).await;
    }
    let last = |times: &[Instant]| times.iter().max().map_or(f64::NAN, |at| at.duration_since(began).as_secs_f64());
    let found = last(&crowd.fate.losses.lock().unwrap());
    let back = last(&crowd.fate.arrivals.lock().unwrap());
    let name = |figure: &str| format!("{hosts} hosts, dead connections: {figure}");
    sheet.hold("R3", &name("the last is found after"), found, "s", Aim::AtMost(25.0));
    sheet.hold("R3", &name("the last is replaced after"), back, "s", Aim::AtMost(26.0));
    // The relay knew at once, by the new ones.
    relay.until_links(hosts as u64);
    let left = relay.status()["links"].as_f64().unwrap_or(f64::NAN) - hosts as f64;
    sheet.hold("R3", &name("links that the relay has besides"), left, "", Aim::AtMost(0.0));
}

/// Passes bytes on; connections from before a hole opened pass nothing any more, and stay open.
async fn proxy(to: SocketAddr, hole: watch::Receiver<u32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (here, _) = listener.accept().await.unwrap();
            let mut hole = hole.clone();
            hole.mark_unchanged();
            tokio::spawn(async move {
                let Ok(there) = TcpStream::connect(to).await else { return };
                let _ = (here.set_nodelay(true), there.set_nodelay(true));
                let ((mut from_host, mut to_host), (mut from_relay, mut to_relay)) =
                    (here.into_split(), there.into_split());
                let pass = async {
                    tokio::select! {
                        () = copy(&mut from_host, &mut to_relay) => {}
                        () = copy(&mut from_relay, &mut to_host) => {}
                    }
                };
                tokio::select! {
                    () = pass => {}
                    _ = hole.changed() => sleep(Duration::from_secs(600)).await,
                }
            });
        }
    });
    address
}

async fn copy(from: &mut tokio::net::tcp::OwnedReadHalf, to: &mut tokio::net::tcp::OwnedWriteHalf) {
    let mut buf = [0; 1024];
    while let Ok(len @ 1..) = from.read(&mut buf).await
        && to.write_all(&buf[..len]).await.is_ok()
    {}
}
