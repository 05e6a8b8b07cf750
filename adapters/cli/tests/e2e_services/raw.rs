//! Services that are bytes, and services on Unix sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::curled;
use crate::support::service::{acceptor, content, echo_service, echo_service_at, site_at};
use crate::support::{Forward, HOST, World, run, within};

async fn connect(forward: &Forward) -> TcpStream {
    within(TcpStream::connect(forward.address)).await.unwrap()
}

/// Sends `len` bytes, ends, and reads the same bytes and an end.
pub(crate) async fn echo(forward: &Forward, len: u64) {
    let (mut read, mut write) = connect(forward).await.into_split();
    let send = async move {
        for piece in content(len) {
            write.write_all(&piece).await.unwrap();
        }
        write.shutdown().await.unwrap();
    };
    let receive = async {
        let mut got = Vec::new();
        read.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = within(async { tokio::join!(send, receive) }).await;
    let sent: Vec<u8> = content(len).flatten().collect();
    assert!(got == sent, "{} bytes of {len} came back, or others", got.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_bytes_pass_over_tcp_and_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let (raw, web) = (directory.path().join("raw.sock"), directory.path().join("web.sock"));
    echo_service_at(&raw);
    site_at(&web);
    let world = World::start(&[
        ("tcp", format!("tcp://{}", echo_service().await)),
        ("unix", format!("unix://{}", raw.display())),
        ("web", format!("http+unix://{}", web.display())),
    ])
    .await;
    let device = world.pair().await;
    for service in ["tcp", "unix"] {
        let forward = device.forward(service).await;
        for len in [0, 1, 100_000, 10 << 20] {
            echo(&forward, len).await;
        }
    }
    let forward = device.forward("web").await;
    let shown = curled(&["-d", "x", &forward.url("/show?unix")]).await;
    assert!(shown.starts_with("POST /show?unix\n") && shown.contains(&device.id), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_may_end_first_and_still_listen() {
    let (address, mut sockets) = acceptor().await;
    let world = World::start(&[("raw", format!("tcp://{address}"))]).await;
    let forward = world.pair().await.forward("raw").await;

    let mut client = connect(&forward).await;
    client.write_all(b"a question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut service = within(sockets.recv()).await.unwrap();
    let mut heard = String::new();
    within(service.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "a question");
    service.write_all(b"an answer").await.unwrap();
    drop(service);
    let mut heard = String::new();
    within(client.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "an answer");

    let mut client = connect(&forward).await;
    let mut service = within(sockets.recv()).await.unwrap();
    service.write_all(b"a banner").await.unwrap();
    service.shutdown().await.unwrap();
    let mut heard = String::new();
    within(client.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "a banner");
    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    within(service.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_hosts_that_do_not_exist_are_refused_with_a_reason() {
    let world = World::start(&[("raw", format!("tcp://{}", echo_service().await))]).await;
    let device = world.pair().await;
    let connected = run(&device.data, &["connect", &format!("{HOST}/raw")]).await;
    assert_eq!((connected.code, connected.stdout.as_str()), (0, ""), "{connected}");
    let unknown = run(&device.data, &["connect", &format!("{HOST}/nothing")]).await;
    assert!(unknown.code == 4 && unknown.stderr.contains("no service of this name"), "{unknown}");
    for command in [&["connect", "elsewhere/raw"][..], &["forward", "elsewhere/raw", "127.0.0.1:0"]] {
        let unknown = run(&device.data, command).await;
        assert!(unknown.code != 0 && unknown.stderr.contains("elsewhere"), "{command:?}: {unknown}");
        assert!(unknown.stderr.contains("homing"), "it does not say what to do: {unknown}");
    }
    // A service that does not run is another matter than one that does not exist.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::start(&[("raw", format!("tcp://{nobody}"))]).await;
    let device = world.pair().await;
    let down = run(&device.data, &["connect", &format!("{HOST}/raw")]).await;
    assert!(down.code == 3 && down.stderr.contains("the service does not answer"), "{down}");
}
