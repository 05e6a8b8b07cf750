//! Garbage at every port: whoever sends it gets an answer or an end, and the others are served as before.

use core::net::SocketAddr;
use core::time::Duration;

use homing_core::crypto::{Identity, Secret};
use homing_core::hop::{Capability, HostLink, MAX_CONTROL};
use homing_driver::Clock;
use homing_local::control::{Role, call};
use homing_tokio::{ClientTls, TokioClock, dial, endpoint_config};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::missiles::{UPGRADE, messages, requests};
use crate::plain;
use crate::rogue::{entropy, soon};
use crate::scene::ask;
use crate::support::{Forward, World, rss_peak, run};

/// Sends this and reads whatever comes, until the other end hangs up or seems to wait for more.
async fn throw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    finish(&mut TcpStream::connect(address).await.unwrap(), bytes).await
}

async fn finish(tcp: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tcp.split();
    let mut answer = Vec::new();
    let throwing = async {
        // It may well be cut off in the middle.
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
    };
    let hearing = async {
        let _ = read.read_to_end(&mut answer).await;
    };
    soon("an answer or an end", async { tokio::join!(throwing, hearing) }).await;
    answer
}

/// All roles, each port open, and a good device whose connection is in use.
struct Stage {
    world: World,
    web: Forward,
    proxy: Forward,
    echo: Forward,
    good: TcpStream,
}

impl Stage {
    async fn set() -> Self {
        let (echo, page) = (plain::echo().await, plain::page("", "a page").await);
        let world = World::start(&[("echo", format!("tcp://{echo}")), ("web", format!("http://{page}"))]).await;
        let device = world.pair().await;
        let (web, echo, proxy) = (device.forward("web").await, device.forward("echo").await, device.proxy().await);
        let good = TcpStream::connect(echo.address).await.unwrap();
        Self { world, web, proxy, echo, good }
    }

    /// All roles run, are small, and serve.
    async fn is_well(&mut self, after: &str) {
        soon(after, plain::exchange(&mut self.good, b"still here")).await.unwrap();
        let processes =
            [&self.world.relay, &self.world.host, &self.web.process, &self.proxy.process, &self.echo.process];
        for process in processes {
            assert!(process.is_running(), "{after}: one has ended");
            let peak = rss_peak(process.pid());
            assert!(peak < 100 << 20, "{after}: one took {} MiB", peak >> 20);
            let log = process.log();
            assert!(!log.iter().any(|line| line.contains("panicked")), "{after}: {log:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_every_port_disturbs_nobody() {
    let mut stage = Stage::set().await;
    let (relay, web, proxy) = (stage.world.relay_address, stage.web.address, stage.proxy.address);
    let settings = settings(&stage.world).await;
    for (name, bytes) in requests() {
        for (port, whose) in [(relay, "relay"), (web, "forward"), (proxy, "proxy"), (settings, "settings")] {
            let answer = throw(port, &bytes).await;
            let text = String::from_utf8_lossy(&answer);
            // An upgrade that only a relay minds is a proper request: what to answer is the service's business.
            if whose == "forward" && bytes.starts_with(b"GET /homing/1 HTTP/1.1\r\n") {
                continue;
            }
            assert!(
                !text.starts_with("HTTP/1.1 1") && !text.starts_with("HTTP/1.1 2"),
                "{name} at the {whose}: {text}"
            );
        }
    }
    stage.is_well("garbage at the ports").await;
    for (name, bytes) in messages() {
        let mut tcp = TcpStream::connect(relay).await.unwrap();
        tcp.write_all(UPGRADE.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("the upgrade", tcp.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{name}");
        finish(&mut tcp, &bytes).await;
    }
    stage.is_well("garbage on links").await;
    // Slow ones: many connections that say one byte and wait.
    let mut slow = Vec::new();
    for port in [relay, web, proxy] {
        for _ in 0..30 {
            let mut tcp = TcpStream::connect(port).await.unwrap();
            tcp.write_all(b"G").await.unwrap();
            slow.push(tcp);
        }
    }
    stage.is_well("slow ones").await;
    assert!(plain::get(web, "/", "").await.unwrap().ends_with("a page"));
    assert!(plain::get(proxy, "http://web.nest.homing/", "").await.unwrap().ends_with("a page"));
    // The relay waits for nobody's request for ever.
    let mut first = slow.swap_remove(0);
    let _ = soon("the relay to lose patience", first.read(&mut [0; 1])).await;
    let status = run(&stage.world.relay_data(), &["relay", "status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["hosts"], 1, "{status}");
}

/// Where the host's settings are served.
async fn settings(world: &World) -> SocketAddr {
    let status = ask(&world.host_data(), &json!({ "cmd": "status" })).await;
    let url = status["settings"].as_str().unwrap_or_else(|| panic!("{status}"));
    url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
}

#[test]
fn every_missile_has_a_name_of_its_own() {
    let names: std::collections::HashSet<_> = requests().into_iter().chain(messages()).map(|(name, _)| name).collect();
    assert_eq!(names.len(), requests().len() + messages().len());
    assert!(names.len() >= 60);
}

/// Connections that say nothing neither take all of the host's descriptors, nor keep others from its settings for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_to_the_settings_are_few_and_short() {
    let mut stage = Stage::set().await;
    let settings = settings(&stage.world).await;
    let descriptors =
        |stage: &Stage| std::fs::read_dir(format!("/proc/{}/fd", stage.world.host.pid())).unwrap().count();
    let before = descriptors(&stage);
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut tcp = TcpStream::connect(settings).await.unwrap();
        tcp.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        idle.push(tcp);
    }
    stage.is_well("idle connections").await;
    // The last in the queue has its turn once those before it were given up.
    let last = plain::get(settings, "/", "").await.unwrap();
    assert!(last.starts_with("HTTP/1.1 421 ") || last.starts_with("HTTP/1.1 200 "), "{last}");
    let most = descriptors(&stage);
    assert!(most <= before + 140, "{before} descriptors, and then {most}");
    for mut tcp in idle {
        let mut answer = Vec::new();
        let _ = soon("the host to lose patience", tcp.read_to_end(&mut answer)).await;
    }
    stage.is_well("idle connections that are gone").await;
}

/// Proofs that are wrong get a clear no from the relay, and take no host's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_proofs_take_nobodys_place() {
    let mut stage = Stage::set().await;
    let url = stage.world.relay_url().parse().unwrap();
    let state = crate::scene::unseal(&stage.world.host_data(), "relay");
    let route = crate::scene::unhex(state["route"].as_str().unwrap());
    let route = Identity::from_secret(&Secret::new(route.try_into().unwrap()));
    for forge in [true, false] {
        let mut socket = dial(&url, &ClientTls::system(), endpoint_config()).await.unwrap();
        let keys = || Secret::<32>::random(&mut entropy());
        let name = homing_tokio::RelayUrl::authority(&url);
        let mut link = HostLink::<4>::new(name, route.duplicate(), keys(), keys(), None, TokioClock.now()).unwrap();
        let code = loop {
            let mut out = [0; MAX_CONTROL];
            while let Some(len) = link.poll_output(TokioClock.now(), &mut out) {
                if forge && out[0] == 0x81 {
                    out[5 + 32] ^= 1;
                }
                let message = async_tungstenite::tungstenite::Message::binary(out[..len].to_vec());
                socket.send(message).await.unwrap();
            }
            match soon("the relay", futures_util::StreamExt::next(&mut socket)).await {
                Some(Ok(async_tungstenite::tungstenite::Message::Binary(message))) => {
                    if message[0] == 0x8d {
                        break Some(message[5]);
                    }
                    if message[0] == 0x82 {
                        break None;
                    }
                    link.handle(TokioClock.now(), &message).unwrap();
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => panic!("hung up without a word"),
            }
        };
        // With the route's key it does work, which shows that the forged proof was all that was wrong.
        assert_eq!(code, if forge { Some(8) } else { None });
        if !forge {
            // The host's own link was replaced; it says so, and does not fight for its place.
            stage.world.host.logged("another host").await;
        } else {
            stage.is_well("a wrong proof").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_must_be_proven() {
    use crate::rogue::Rogue;
    let mut stage = Stage::set().await;
    let (link, _dialog) = crate::scene::ticket(&stage.world.host_data(), &json!({})).await;
    let mut rogue = Rogue::pair(&link).await;
    rogue.connect().await;
    // Another key, another expiry, another class: the relay knows them from the real one.
    let good_one = rogue.capability;
    let (mut key, mut expiry, mut class) = (good_one, good_one, good_one);
    key[40] ^= 1;
    expiry[9] ^= 1;
    class[12] ^= 1;
    let dials = [key, expiry, class].map(|capability| {
        let rogue = Rogue {
            relay: rogue.relay.clone(),
            suite: rogue.suite,
            host: rogue.host,
            identity: rogue.identity.duplicate(),
            root: rogue.root.duplicate(),
            paired: homing_driver::Paired {
                device_id: rogue.paired.device_id,
                token: rogue.paired.token.duplicate(),
                route_id: rogue.paired.route_id,
                capability: rogue.paired.capability.duplicate(),
                host_name: String::new(),
            },
            capability,
        };
        async move { rogue.dial().await.err() }
    });
    for refused in futures_util::future::join_all(dials).await {
        assert_eq!(refused, Some(homing_core::hop::Code::NotReachable));
    }
    let mut old = Capability::from_bytes(&good_one).to_bytes().expose().to_vec();
    old[8..12].copy_from_slice(&1_000_000_u32.to_le_bytes());
    rogue.capability = old.try_into().unwrap();
    assert_eq!(rogue.dial().await.err(), Some(homing_core::hop::Code::Denied));
    rogue.capability = good_one;
    assert!(rogue.dial().await.is_ok());
    stage.is_well("wrong proofs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_the_control_socket_disturbs_nobody() {
    let mut stage = Stage::set().await;
    let world = &stage.world;
    let mut sockets = Vec::new();
    for (data, name) in [(world.host_data(), "host.sock"), (world.relay_data(), "relay.sock")] {
        sockets.push(data.join("run").join(name));
    }
    let deep = [vec![b'['; 30_000], b"\n".to_vec()].concat();
    let lines: [&[u8]; 14] = [
        b"\n",
        b"x\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"{\"cmd\":1}\n",
        b"{\"cmd\":\"nosuch\"}\n",
        b"\xff\xfe\n",
        b"{\"cmd\":\"rename\"}\n",
        b"{\"cmd\":\"revoke\",\"id\":[]}\n",
        b"{\"cmd\":\"revoke\",\"id\":\"\"}\n",
        b"{\"cmd\":\"pair\",\"life\":-1,\"confirm\":\"x\"",
        b"",
        &deep,
    ];
    for socket in &sockets {
        for line in lines {
            let mut control = UnixStream::connect(socket).await.unwrap();
            control.write_all(line).await.unwrap();
            control.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = soon("the role's answer", control.read_to_end(&mut answer)).await;
            assert!(!String::from_utf8_lossy(&answer).contains("\"ok\":true"), "{}", String::from_utf8_lossy(line));
        }
        // A line without end is not collected.
        let mut control = UnixStream::connect(socket).await.unwrap();
        let huge = vec![b'a'; 64 << 20];
        let sent = soon("the role to hang up", control.write_all(&huge)).await;
        assert!(sent.is_err(), "64 MiB were taken");
        // Nor is more said ahead than anyone reads.
        let mut control = UnixStream::connect(socket).await.unwrap();
        let chatter = [&b"{\"cmd\":\"pair\"}\n"[..], &b"{\"approve\":true}\n".repeat(100_000)].concat();
        let _ = soon("the role to hang up", control.write_all(&chatter)).await;
    }
    // More connections than are served at once: the others wait for their turn.
    let idle: Vec<_> = futures_util::future::join_all((0..60).map(|_| UnixStream::connect(&sockets[0]))).await;
    let status = ask(&world.host_data(), &json!({ "cmd": "status" })).await;
    assert_eq!(status["role"], "host");
    drop(idle);
    let mut relay = call(&world.relay_data(), Role::Relay, &json!({ "cmd": "status" })).await.unwrap();
    assert_eq!(soon("the relay", relay.next()).await.unwrap().unwrap()["hosts"], 1);
    // No pairing was left behind by those who hung up.
    let mut dialogs = Vec::new();
    soon("four places for links", async {
        while dialogs.len() < 4 {
            let mut dialog = call(&world.host_data(), Role::Host, &json!({ "cmd": "pair" })).await.unwrap();
            match dialog.next().await {
                Ok(_) => dialogs.push(dialog),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    stage.is_well("garbage at the control sockets").await;
}
