//! Jupyter Server, at the name that it has behind `homing proxy`. It takes WebSockets and requests that change something
//! only from pages of its own, so it is told that name: `--ServerApp.allow_origin`. Its other checks stay as they are.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::browser::Page;
use crate::support::client::curl;
use crate::support::service::content_hash;
use crate::support::{Forward, Process, World};
use crate::{file_hash, fill, free_port, install};

const LEN: u64 = 12 << 20;
const TOKEN: &str = "token-of-this-test";
/// Where pages of Jupyter come from.
const ORIGIN: &str = "http://jupyter.nest.homing";

struct Jupyter {
    proxy: Forward,
    world: World,
    _server: Process,
    dir: tempfile::TempDir,
}

impl Jupyter {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "files"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut command = Command::new(install::python().await.join("jupyter-server"));
        command.args(["--no-browser", "--allow-root", "--ip=127.0.0.1", &format!("--port={}", free_port())]);
        command.arg(format!("--ServerApp.root_dir={}", dir.path().join("files").display()));
        command.arg(format!("--ServerApp.allow_origin={ORIGIN}"));
        command.env("JUPYTER_TOKEN", TOKEN).env("HOME", dir.path().join("home"));
        let server = Process::spawn("jupyter-server", command);
        let line = server.logged("] http://127.0.0.1:").await;
        let url = line.rsplit_once("] ").unwrap().1.split_once("/?").unwrap().0.to_owned();
        let world = World::start(&[("jupyter", url)]).await;
        let proxy = world.pair().await.proxy().await;
        Self { proxy, world, _server: server, dir }
    }

    /// Status and body of a request to its API with the token.
    async fn ask(&self, method: &str, path: &str, args: &[&str]) -> (u16, Value) {
        let auth = format!("Authorization: token {TOKEN}");
        let (via, url) = (self.proxy.url(""), format!("{ORIGIN}{path}"));
        let fixed =
            ["-x", &via, "-X", method, "-H", &auth, "-H", "Content-Type: application/json", "-w", "\n%{http_code}"];
        let answer = curl(&[&fixed[..], args, &[&url]].concat()).await;
        let (body, status) = answer.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{method} {path}: {answer}"));
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// What a page of Jupyter does: makes a kernel, opens its WebSocket, sends code and collects what comes back.
const PAGE: &str = r#"(async () => {
    const xsrf = { 'X-XSRFToken': document.cookie.match(/_xsrf=([^;]+)/)[1] };
    window.post = path => fetch(path, { method: 'POST', headers: xsrf });
    window.kernel = '/api/kernels/' + (await (await post('/api/kernels')).json()).id;
    window.socket = new WebSocket('ws://' + location.host + kernel + '/channels');
    window.heard = [];
    socket.onmessage = event => heard.push(JSON.parse(event.data));
    window.run = (id, code) => socket.send(JSON.stringify({
        channel: 'shell', parent_header: {}, metadata: {},
        header: { msg_id: id, msg_type: 'execute_request', session: 's', username: 'u', version: '5.3' },
        content: { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: false },
    }));
    window.said = (id, type) => heard.filter(m => m.parent_header.msg_id === id && m.msg_type === type).map(m => m.content);
    await new Promise((opened, failed) => { socket.onopen = opened; socket.onerror = failed; });
    return kernel;
})()"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_of_jupyter_computes_streams_and_is_interrupted() {
    let mut jupyter = Jupyter::start().await;
    let (via, url) = (jupyter.proxy.url(""), format!("{ORIGIN}/?token={TOKEN}"));
    let mut page = Page::open_with(&url, &[&format!("--proxy-server={}", jupyter.proxy.address)]).await;
    page.until("document.readyState === 'complete' && document.cookie.includes('_xsrf=')").await;
    let kernel = page.eval(PAGE).await.as_str().expect("a kernel").to_owned();
    page.eval("run('sum', '1+1')").await;
    page.until("said('sum', 'execute_result')[0].data['text/plain'] === '2'").await;

    // Output comes while the code runs: it does not end before it is interrupted, and neither does the socket when the
    // relay dies.
    page.eval("run('loop', `import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)`)").await;
    page.until("said('loop', 'stream')[0].text === 'begun\\n'").await;
    jupyter.world.relay.kill();
    jupyter.world.restart_relay().await;
    assert_eq!(page.eval("post(kernel + '/interrupt').then(answer => answer.status)").await, 204);
    page.until("said('loop', 'error')[0].ename === 'KeyboardInterrupt'").await;

    // A message of a megabyte each way.
    page.eval("window.long = 'é'.repeat(500_000); run('long', `print('${long}', end='')`)").await;
    page.until("said('long', 'stream').map(part => part.text).join('') === long").await;
    assert!(page.noticed("Network.webSocketClosed").is_empty(), "the page lost its kernel");
    assert!(page.errors().is_empty(), "{:#?}", page.errors());

    // Jupyter's own checks hold behind the tunnel: a page from elsewhere does not get in with the cookie.
    let cookies = jupyter.dir.path().join("cookies").display().to_string();
    assert!(curl(&["-x", &via, "-c", &cookies, "-o", "/dev/null", &url]).await.code == 0);
    let channels = format!("{ORIGIN}{kernel}/channels");
    for (origin, expected) in [("http://evil.example", "403"), ("http://other.nest.homing", "403"), (ORIGIN, "101")] {
        let origin = format!("Origin: {origin}");
        let mut args = vec!["-x", &via, "-b", &cookies, "-o", "/dev/null", "-w", "%{http_code}", "-H", &origin];
        for header in ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"] {
            args.extend(["-H", header]);
        }
        args.extend(["-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "--max-time", "3", &channels]);
        let answer = curl(&args).await;
        assert_eq!(answer.stdout, expected, "{origin}: {answer}");
    }
    let other =
        curl(&["-x", &via, "-b", &cookies, "-X", "POST", "-w", "%{http_code}", &format!("{ORIGIN}/api/kernels")]).await;
    assert!(other.stdout.ends_with("403"), "without the page's token against forgery: {other}");
    let (code, _) = jupyter.ask("DELETE", &kernel, &[]).await;
    assert_eq!(code, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_up_and_down_by_jupyters_contents_api() {
    let jupyter = Jupyter::start().await;
    let (code, said) = jupyter.ask("GET", "/api/contents", &["-H", "Authorization: token wrong"]).await;
    assert_eq!(code, 403, "{said}");

    let (plain, request) = (jupyter.dir.path().join("plain"), jupyter.dir.path().join("request"));
    fill(&plain, LEN);
    let base64 = Command::new("base64").arg("-w0").arg(&plain).output().unwrap().stdout;
    let base64 = String::from_utf8(base64).unwrap();
    std::fs::write(&request, json!({ "type": "file", "format": "base64", "content": base64 }).to_string()).unwrap();
    let body = format!("@{}", request.display());
    let (code, said) = jupyter.ask("PUT", "/api/contents/large.bin", &["--data-binary", &body]).await;
    assert_eq!((code, &said["size"]), (201, &LEN.into()), "{said}");
    let stored = jupyter.dir.path().join("files/large.bin");
    assert_eq!(file_hash(&stored), content_hash(LEN));

    let fetched = jupyter.dir.path().join("fetched");
    let (code, _) = jupyter.ask("GET", "/files/large.bin", &["-o", fetched.to_str().unwrap()]).await;
    assert_eq!((code, file_hash(&fetched)), (200, content_hash(LEN)));
    let (code, read) = jupyter.ask("GET", "/api/contents/large.bin?format=base64", &[]).await;
    assert_eq!(code, 200);
    let same = read["content"].as_str().unwrap().bytes().filter(|byte| *byte != b'\n').eq(base64.bytes());
    assert!(same, "the contents API gives another file");

    let name = "/api/contents/%C3%BCber%20all.bin";
    let (code, said) = jupyter.ask("PATCH", "/api/contents/large.bin", &["-d", r#"{"path":"über all.bin"}"#]).await;
    assert_eq!(code, 200, "{said}");
    let (code, list) = jupyter.ask("GET", "/api/contents", &[]).await;
    assert_eq!((code, &list["content"][0]["name"]), (200, &"über all.bin".into()), "{list}");
    assert_eq!(jupyter.ask("DELETE", name, &[]).await, (204, Value::Null));
    assert_eq!(jupyter.ask("GET", name, &[]).await.0, 404);
    assert!(!stored.exists() && jupyter.world.host.is_running());
}
