//! Calls that nobody uses, to a host that wants to sleep.

use super::*;

const LINGER: Duration = Duration::from_secs(1);

/// A world whose host is on demand, and a tunnel of a device to it.
async fn start() -> (World, Tunnel) {
    let mut world = World::new().await;
    world.pair().await;
    let data = world.data.path().join("host");
    let config = HostConfig { on_demand: true, linger: LINGER, ..config(&data, world.relay_at, world.service_at) };
    world.running.stop().await;
    (world.host, world.running) = run_host(config).await;
    let tunnel = world.tunnel();
    within("the list", tunnel.services()).await.expect("the list");
    (world, tunnel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_rests_while_there_is_no_stream_and_only_then() {
    let (mut world, tunnel) = start().await;
    until("rest", || tunnel.status().state == LinkState::Resting).await;
    assert_eq!(tunnel.status().last_error, None);
    until("the host's rest", || world.host.status()["sessions"] == 0).await;

    let mut stream = within("a stream", tunnel.open("raw")).await.unwrap();
    let mut service = within("the service's connection", world.served.recv()).await.unwrap();
    // Nothing passes, and it is a stream all the same.
    tokio::time::sleep(LINGER * 3).await;
    assert_eq!(tunnel.status().state, LinkState::Connected);
    stream.write_all(b"x").await.unwrap();
    let mut byte = [0];
    within("a byte", service.read_exact(&mut byte)).await.unwrap();
    drop(stream);
    until("rest again", || tunnel.status().state == LinkState::Resting).await;
    tunnel.close().await;
    assert_eq!(tunnel.status().state, LinkState::Ended, "it ends while it rests, too");
}

/// Whoever comes at the very moment is carried by that call or by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_is_lost_that_comes_while_a_call_is_laid_to_rest() {
    let (mut world, tunnel) = start().await;
    for round in 0..8 {
        // Looked at every tenth of a second, it ends between one and 1.1 after the last stream.
        tokio::time::sleep(LINGER + Duration::from_millis(14) * round).await;
        let mut stream = within("a stream", tunnel.open("raw")).await.unwrap();
        stream.write_all(&[u8::try_from(round).unwrap()]).await.unwrap();
        let mut service = within("the service's connection", world.served.recv()).await.unwrap();
        let mut byte = [0];
        within("its byte", service.read_exact(&mut byte)).await.unwrap();
        assert_eq!(u32::from(byte[0]), round);
        service.write_all(&byte).await.unwrap();
        within("its echo", stream.read_exact(&mut byte)).await.unwrap();
    }
}
