//! The HTTP proxy: every service under a name of its own.

use crate::support::client::{Http, curl, curled};
use crate::support::service::{Site, content_hash};
use crate::support::{HOST, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_have_names_behind_the_proxy() {
    let (one, two) = (Site::start().await, Site::start().await);
    let world = World::start(&[("one", one.url()), ("two", two.url())]).await;
    let device = world.pair().await;
    let proxy = device.proxy().await;
    let via = proxy.url("");
    for (name, site) in [("one", &one), ("two", &two)] {
        let url = format!("http://{name}.{HOST}.homing/show?x=1");
        let shown = curled(&["-x", &via, &url]).await;
        assert!(shown.starts_with("GET /show?x=1\n"), "{shown}");
        assert!(shown.contains(&format!("\nhost: {}\n", site.address)), "{shown}");
        assert!(shown.contains(&format!("\nx-forwarded-host: {name}.{HOST}.homing\n")), "{shown}");
        assert!(shown.contains(&format!("\nhoming-device: {}\n", device.id)), "{shown}");
        assert!(!shown.contains("proxy-"), "{shown}");
        // Through CONNECT as well, as WebSocket clients do.
        let shown = curled(&["-p", "-x", &via, &url]).await;
        assert!(shown.starts_with("GET /show?x=1\n"), "{shown}");
    }
    let mut http = Http::to(proxy.address).await;
    let head = http.get(&format!("http://one.{HOST}.homing/bytes/3000000")).await;
    assert_eq!(http.body_hash(&head).await, (3_000_000, content_hash(3_000_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_says_what_it_does_not_serve() {
    let site = Site::start().await;
    let world = World::start(&[("web", site.url())]).await;
    let proxy = world.pair().await.proxy().await;
    let via = proxy.url("");
    for (url, status) in [
        (format!("http://nothing.{HOST}.homing/"), "404"),
        ("http://web.elsewhere.homing/".to_owned(), "404"),
        (format!("http://{HOST}.homing/"), "404"),
        (format!("{}/show", site.url()), "403"),
        ("http://example.com/".to_owned(), "403"),
    ] {
        let answer = curl(&["-x", &via, "-w", "\n%{http_code}", &url]).await;
        let (text, code) = answer.stdout.rsplit_once('\n').unwrap();
        assert_eq!(code, status, "{url}: {answer}");
        assert!(text.trim().len() > 10, "{url} is refused without a word: {answer}");
    }
    let good = curled(&["-x", &via, &format!("http://web.{HOST}.homing/show")]).await;
    assert!(good.starts_with("GET /show\n"), "{good}");
}
