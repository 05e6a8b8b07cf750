//! A feed of server-sent events by uvicorn and sse-starlette.

use std::process::Command;

use crate::install;
use crate::support::browser::Page;
use crate::support::client::{Http, curled};
use crate::support::{Forward, HOST, Process, World};

struct Feed {
    web: Forward,
    world: World,
    server: Process,
}

impl Feed {
    async fn start() -> Self {
        let mut command = Command::new(install::python().await.join("uvicorn"));
        command.arg("--app-dir").arg(install::beside("")).args(["feed:app", "--port", "0"]);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let server = Process::spawn("uvicorn", command);
        let line = server.logged("running on http://").await;
        let address = line.split_once("http://").unwrap().1.split(' ').next().unwrap().to_owned();
        let world = World::start(&[("feed", format!("http://{address}"))]).await;
        let web = world.pair().await.forward("feed").await;
        Self { web, world, server }
    }
}

/// The fields of the next event.
async fn event(http: &mut Http) -> Vec<String> {
    let mut fields = Vec::new();
    loop {
        let line = http.line().await.expect("the feed goes on");
        match line.as_str() {
            "" if fields.iter().any(|field: &String| field.starts_with("data:")) => return fields,
            // Lengths of chunks, comments that keep a connection alive.
            _ if line.split_once(": ").is_some_and(|(name, _)| !name.is_empty()) => fields.push(line),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_one_by_one_and_a_listener_that_goes_is_missed() {
    let feed = Feed::start().await;
    let mut http = Http::to(feed.web.address).await;
    http.send("GET /feed HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\nLast-Event-ID: 41\r\n\r\n").await;
    let head = http.head().await;
    assert_eq!((head.status, &head.all("content-type")[..]), (200, &["text/event-stream; charset=utf-8"][..]));
    feed.server.logged("listening after 41").await;
    for number in 42..50 {
        // The service says no more before it is told to: nothing is held back on the way until more follows.
        assert_eq!(
            event(&mut http).await,
            [format!("id: {number}"), format!("data: number {number}"), "retry: 100".into()]
        );
        if number < 49 {
            curled(&["-f", "-X", "POST", &feed.web.url("/next")]).await;
        }
    }
    assert!(!feed.server.log().iter().any(|line| line.contains("gone")));
    drop(http);
    feed.server.logged("gone after 49").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_goes_on_with_a_feed_where_it_ended() {
    let feed = Feed::start().await;
    let proxy = feed.world.pair().await.proxy().await;
    let flag = format!("--proxy-server={}", proxy.address);
    let mut page = Page::open_with(&format!("http://feed.{HOST}.homing/"), &[&flag]).await;
    page.until("heard.length >= 7").await;
    let heard = page.eval("heard.slice(0, 7).join()").await;
    assert_eq!(heard, "1=number 1,2=number 2,3=number 3,4=number 4,5=number 5,6=number 6,7=number 7");
    feed.server.logged("listening after 6").await;
    assert_eq!(page.eval("location.host").await, format!("feed.{HOST}.homing"));
}
