//! Many who knock with no right, or with a right and nothing to say: those inside do not notice.

use core::time::Duration;

use homing_core::handshake::{Exports, Failure, HELLO_MAX, Kind, parse_failure, start};
use homing_core::hop::Code;
use homing_core::wire::Params;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::plain;
use crate::rogue::{Rogue, Said, entropy, soon};
use crate::scene::{devices, ticket};
use crate::support::{World, rss_peak, run};

/// Capabilities, each good for ten dials a minute at the relay.
async fn capabilities(rogue: &mut Rogue, count: usize) -> Vec<[u8; 45]> {
    let mut all = Vec::new();
    for _ in 0..count {
        rogue.connect().await;
        all.push(rogue.capability);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knocking_in_vain_disturbs_nobody() {
    let echo = plain::echo().await;
    let world = World::start(&[("echo", format!("tcp://{echo}"))]).await;
    let (good, newcomer) = (world.pair().await, world.pair().await);
    let forward = good.forward("echo").await;
    let mut tcp = TcpStream::connect(forward.address).await.unwrap();
    plain::exchange(&mut tcp, b"hello").await.unwrap();
    let (link, _dialog) = ticket(&world.host_data(), &json!({})).await;
    let mut rogue = Rogue::pair(&link).await;
    let rights = capabilities(&mut rogue, 8).await;
    let before = rss_peak(world.host.pid());

    let flood = async {
        let (mut silent, mut told, mut busy) = (0, 0, 0);
        for (round, right) in rights.iter().enumerate() {
            rogue.capability = *right;
            for knock in 0..9 {
                let Ok((mut line, channel)) = rogue.dial().await else {
                    busy += 1;
                    continue;
                };
                let psk = Exports::psk(&rogue.root, rogue.suite);
                let kind = Kind::Connect { route: &rogue.paired.route_id, psk: &psk };
                let (mut hello, rng, own) = ([0; HELLO_MAX], &mut entropy(), Params::default());
                let (len, _) =
                    start(rogue.suite, kind, &channel, &rogue.identity, &rogue.host, own, rng, &mut hello).unwrap();
                match knock % 3 {
                    // A wrong mac1 is met with silence.
                    0 => hello[len - 1] ^= 1,
                    // Garbage of the right length, and of another.
                    1 => hello[..len].fill(round as u8),
                    _ => hello[40] ^= 1,
                }
                line.send_body(&hello[..if knock == 8 { len / 2 } else { len }]).await.unwrap();
                match line.event().await {
                    Said::Over(code) => {
                        assert!(matches!(code, Some(Code::Refused | Code::Protocol)), "{code:?}");
                        silent += 1;
                    }
                    Said::Data(reply) => {
                        let (failure, _) = parse_failure(&reply).unwrap().expect("no reply to a forgery");
                        assert!(matches!(failure, Failure::Rejected | Failure::Busy), "{failure}");
                        told += 1;
                    }
                    Said::Opened(_) => panic!("opened twice"),
                }
            }
        }
        (silent, told, busy)
    };
    let mut worst = Duration::ZERO;
    let mut flood = core::pin::pin!(flood);
    let (silent, told, busy) = loop {
        let asked = Instant::now();
        tokio::select! {
            counts = &mut flood => break counts,
            done = soon("the good device", plain::exchange(&mut tcp, b"ping")) => done.unwrap(),
        }
        worst = worst.max(asked.elapsed());
    };
    eprintln!(
        "{silent} knocks met with silence, {told} told no, {busy} not let through; at worst {worst:?} for the others"
    );
    assert!(silent > 20 && worst < Duration::from_secs(2));
    // Somebody who has a right comes in right behind it.
    let reached = run(&newcomer.data, &["connect", "nest/echo"]).await;
    assert_eq!(reached.code, 0, "{reached}");
    let grown = rss_peak(world.host.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "the host grew by {} MiB", grown >> 20);
    assert_eq!(devices(&world.host_data()).await.len(), 3);
}

/// Channels on which nothing is ever said are few, and do not last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_channels_do_not_keep_others_out() {
    let echo = plain::echo().await;
    let world = World::start(&[("echo", format!("tcp://{echo}"))]).await;
    let device = world.pair().await;
    let (link, _dialog) = ticket(&world.host_data(), &json!({})).await;
    let mut rogue = Rogue::pair(&link).await;
    let rights = capabilities(&mut rogue, 8).await;
    let mut silent = Vec::new();
    let mut turned_away = 0;
    for right in rights {
        rogue.capability = right;
        for _ in 0..9 {
            match rogue.dial().await {
                Ok(line) => silent.push(line),
                Err(code) => {
                    assert_eq!(code, Code::Busy);
                    turned_away += 1;
                }
            }
        }
    }
    assert!(silent.len() <= 64 && turned_away > 0, "{} channels, {turned_away} turned away", silent.len());
    // The host ends each after ten seconds. A device asks for fifteen, and its pauses grow: the second time at the latest
    // it gets in.
    let mut reached = run(&device.data, &["connect", "nest/echo"]).await;
    if reached.code != 0 {
        assert!(reached.code == 3 && reached.stderr.contains("too many connections"), "{reached}");
        reached = run(&device.data, &["connect", "nest/echo"]).await;
    }
    assert_eq!(reached.code, 0, "{reached}");
    for (line, _) in &mut silent {
        assert!(matches!(line.event().await, Said::Over(_)));
    }
}
