//! How much of it.

use super::*;
use crate::support::service::{Site, echo_service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_fast_is_429_and_says_when_to_come_again() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair().await;
    let host = world.host_data();
    grant(&host, &device, &["--rate", "1", "--burst", "3"]).await;
    let web = device.forward("web").await;
    let mut http = Http::to(web.address).await;
    let mut answers = Vec::new();
    let limited = loop {
        let head = http.get("/show").await;
        http.body(&head).await;
        answers.push(head.status);
        if head.status != 200 {
            break head;
        }
        assert!(answers.len() < 60, "a limit");
    };
    assert_eq!((limited.status, limited.all("retry-after")), (429, vec!["1"]), "{}", limited.text);
    assert!(answers.len() > 3, "the burst first: {answers:?}");
    until_status(&web, "/show", 200).await;
    // The limit is the device's: another stream and another session have no other one.
    let again = device.forward("web").await;
    within(async { while status(&again, "/show", &[]).await.0 != 429 {} }).await;
    let refused = trail(&host, "refused").await;
    assert_eq!(
        (&refused[0]["reason"], &refused[0]["device"]),
        (&"too many requests".into(), &device.id.as_str().into())
    );
    let other = world.pair().await;
    let free = other.forward("web").await;
    for _ in 0..8 {
        assert_eq!(status(&free, "/show", &[]).await.0, 200, "another device has its own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_at_once_is_503_until_something_is_over() {
    let mut site = Site::start().await;
    let raw = echo_service().await;
    let world = World::start(&[("web", site.url()), ("raw", format!("tcp://{raw}"))]).await;
    let device = world.pair_with(&["--concurrent", "1"]).await;
    let (web, tcp) = (device.forward("web").await, device.forward("raw").await);
    let mut busy = Http::to(web.address).await;
    busy.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(site.next().await, "hang began");
    let mut http = Http::to(web.address).await;
    let head = http.get("/show").await;
    http.body(&head).await;
    assert_eq!((head.status, head.all("retry-after")), (503, vec!["1"]), "{}", head.text);
    assert!(!echoes(&device, "raw").await, "raw streams count, too");
    drop(busy);
    assert_eq!(site.next().await, "hang dropped");
    until_status(&web, "/show", 200).await;
    // A connection that is only kept alive is no request.
    assert_eq!(http.get("/show").await.status, 200);
    assert_eq!(status(&web, "/show", &[]).await.0, 200);

    let (socket, head) = upgrade(&web).await;
    assert_eq!(head.status, 101);
    assert_eq!(status(&web, "/show", &[]).await.0, 503, "a WebSocket counts as long as it lasts");
    drop(socket);
    until_status(&web, "/show", 200).await;

    let mut echo = within(TcpStream::connect(tcp.address)).await.unwrap();
    echo.write_all(b"x").await.unwrap();
    within(echo.read_u8()).await.unwrap();
    assert_eq!(status(&web, "/show", &[]).await.0, 503);
    drop(echo);
    until_status(&web, "/show", 200).await;
    let reasons = trail(&world.host_data(), "refused").await;
    assert!(reasons.iter().all(|entry| entry["reason"] == "too many at once"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refusals_does_not_fill_the_trail() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let device = world.pair_with(&["--grant", "web:GET:/show"]).await;
    let host = world.host_data();
    let web = device.forward("web").await;
    let mut http = Http::to(web.address).await;
    for _ in 0..500 {
        let head = http.get("/secret").await;
        assert_eq!(head.status, 403);
        http.body(&head).await;
    }
    let told = trail(&host, "refused").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["method"] == "GET" && told[0].get("count").is_none(), "{told:?}");
    world.host.signal("TERM");
    assert_eq!(world.host.ended().await, 0);
    let told = trail(&host, "refused").await;
    let counted = &told[1];
    assert_eq!((told.len(), counted["count"].as_u64()), (2, Some(499)), "{told:?}");
    assert_eq!((&counted["device"], &counted["service"]), (&told[0]["device"], &"web".into()));
    let sound = run(&host, &["host", "audit", "verify"]).await;
    assert_eq!(sound.code, 0, "{sound}");
}
