//! nginx as a server of files, on a Unix socket: what curl gets through the tunnel is what it gets from nginx itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::client::{Http, curl};
use crate::support::service::content_hash;
use crate::support::{Forward, Process, World, until};
use crate::{file_hash, fill};

const LEN: u64 = 200 << 20;

struct Nginx {
    web: Forward,
    _world: World,
    _server: Process,
    // Last: the server ends before its directory goes.
    dir: tempfile::TempDir,
}

impl Nginx {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, at) = (dir.path().join("nginx.conf"), dir.path().display());
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let ways =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|way| format!("{way}_temp_path {at}/{way};"));
        // One process: a master that is killed leaves its workers behind.
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr notice;\nevents {{}}\nhttp {{\n{}\naccess_log \
             off; sendfile on; gzip on; gzip_min_length 100; gzip_types text/css;\ntypes {{ text/plain txt; text/css css; \
             }}\nserver {{ listen unix:{at}/socket; root {at}/files; autoindex on; }}\n}}\n",
            ways.join(" "),
        );
        std::fs::write(&config, text).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nginx");
        command.env("PATH", path).args(["-e", "stderr", "-c"]).arg(&config);
        let server = Process::spawn("nginx (Debian: nginx-light)", command);
        server.logged("event method").await;
        let world = World::start(&[("web", format!("http+unix://{at}/socket"))]).await;
        let web = world.pair().await.forward("web").await;
        Self { web, _world: world, _server: server, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    /// The answer to curl with these arguments: straight from nginx, and through the tunnel.
    async fn both(&self, path: &str, args: &[&str]) -> [Answer; 2] {
        let (socket, out) = (self.dir.path().join("socket"), self.dir.path().join("out"));
        let (near, far) = (format!("http://{}{path}", self.web.address), self.web.url(path));
        let straight = ["--unix-socket", socket.to_str().unwrap(), &near];
        [answer(&out, &straight, args).await, answer(&out, &[&far], args).await]
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line == header)
    }
}

async fn answer(out: &Path, to: &[&str], args: &[&str]) -> Answer {
    std::fs::write(out, "").unwrap();
    let fixed = ["-D", "-", "-o", out.to_str().unwrap()];
    let said = curl(&[&fixed, args, to].concat()).await;
    assert_eq!(said.code, 0, "{args:?}: {said}");
    let mut lines = said.stdout.lines().map(str::to_owned).filter(|line| !line.is_empty());
    let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    // These are of the moment and of the connection. The boundary of several ranges is a number that counts up.
    let passing = |line: &String| ["date: ", "connection: "].iter().any(|name| line.starts_with(name));
    let headers = lines.map(|line| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
        None => line,
    });
    let mut headers: Vec<_> = headers.filter(|line| !passing(line)).collect();
    // With -I the file holds the head.
    let mut body = if args.contains(&"-I") { Vec::new() } else { std::fs::read(out).unwrap() };
    for line in &mut headers {
        if let Some((kind, boundary)) = line.clone().split_once("; boundary=") {
            body = String::from_utf8_lossy(&body).replace(boundary, "BOUNDARY").into_bytes();
            *line = format!("{kind}; boundary=BOUNDARY");
        }
    }
    headers.sort();
    Answer { status, headers, body }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_conditions_and_coding_pass_as_nginx_gives_them() {
    let nginx = Nginx::start().await;
    let text: String = (0..5000).map(|number| format!("{number} a line of text\n")).collect();
    std::fs::write(nginx.file("text.css"), &text).unwrap();
    std::fs::write(nginx.file("a file of {ü}.txt"), "named").unwrap();
    std::fs::write(nginx.file("empty.txt"), "").unwrap();
    let (len, whole) = (text.len(), text.as_bytes());
    let [first, _] = nginx.both("/text.css", &[]).await;
    let header = |name: &str| first.headers.iter().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let (tag, changed) = (header("etag: "), header("last-modified: "));
    let (match_tag, none_match) = (format!("If-Match: {tag}"), format!("If-None-Match: {tag}"));
    let (since, unmodified) = (format!("If-Modified-Since: {changed}"), format!("If-Unmodified-Since: {changed}"));
    let (if_range, dated) = (format!("If-Range: {tag}"), format!("If-Range: {changed}"));
    let past = "Sat, 01 Jan 2000 00:00:00 GMT";
    let (not_since, gone) = (format!("If-Modified-Since: {past}"), format!("If-Unmodified-Since: {past}"));
    let last = (len - 3).to_string() + "-";
    let beyond = format!("{len}-");
    for (args, status, body) in [
        (&[][..], "200", Some(whole)),
        (&["-I"], "200", Some(b"")),
        (&["-r", "0-9"], "206", Some(&whole[..10])),
        (&["-r", "-7"], "206", Some(&whole[len - 7..])),
        (&["-r", &last], "206", Some(&whole[len - 3..])),
        (&["-r", "4000-9999999"], "206", Some(&whole[4000..])),
        (&["-r", "0-9,50-59,-5"], "206", None),
        (&["-r", &beyond], "416", None),
        (&["-H", "Range: bytes=9-3"], "416", None),
        (&["-r", "0-9", "-H", &if_range], "206", Some(&whole[..10])),
        (&["-r", "0-9", "-H", &dated], "206", Some(&whole[..10])),
        (&["-r", "0-9", "-H", "If-Range: \"another\""], "200", Some(whole)),
        (&["-r", "0-9", "-I"], "206", Some(b"")),
        (&["-H", &none_match], "304", Some(b"")),
        (&["-H", &since], "304", Some(b"")),
        (&["-I", "-H", &none_match], "304", Some(b"")),
        (&["-H", "If-None-Match: \"another\""], "200", Some(whole)),
        (&["-H", &not_since], "200", Some(whole)),
        (&["-H", &match_tag], "200", Some(whole)),
        (&["-H", "If-Match: \"another\""], "412", None),
        (&["-H", &unmodified], "200", Some(whole)),
        (&["-H", &gone], "412", None),
        (&["-H", "Accept-Encoding: gzip"], "200", None),
        (&["--compressed"], "200", Some(whole)),
        (&["-X", "DELETE"], "405", None),
        (&["-d", "x"], "405", None),
    ] {
        let [near, far] = nginx.both("/text.css", args).await;
        assert_eq!(near.status, status, "nginx itself, to {args:?}: {:?}", near.headers);
        assert_eq!((&far.status, &far.headers), (&near.status, &near.headers), "{args:?}");
        assert!(far.body == near.body, "{args:?} gives another body");
        assert!(body.is_none_or(|body| far.body == body), "{args:?} gives no such body");
        match args {
            ["-r", "0-9,50-59,-5"] => assert!(far.has("content-type: multipart/byteranges; boundary=BOUNDARY")),
            ["-H", "Accept-Encoding: gzip"] => {
                assert!(
                    far.has("content-encoding: gzip") && far.body.starts_with(&[0x1f, 0x8b]) && far.body.len() < len
                );
            }
            ["-I"] => assert!(far.has(&format!("content-length: {len}")), "{:?}", far.headers),
            _ => {}
        }
    }
    for (path, status) in [
        ("/", "200"),
        ("/empty.txt", "200"),
        ("/a%20file%20of%20%7B%C3%BC%7D.txt", "200"),
        ("/absent", "404"),
        ("/text.css/", "404"),
        ("/..%2f..%2fetc/passwd", "400"),
        ("/text.css?query=1&query=2", "200"),
    ] {
        let [near, far] = nginx.both(path, &["--path-as-is"]).await;
        assert_eq!((&*near.status, &far), (status, &near), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_comes_whole_and_in_pieces() {
    let nginx = Nginx::start().await;
    let large = nginx.file("large");
    tokio::task::spawn_blocking(move || fill(&large, LEN)).await.unwrap();
    let mut http = Http::to(nginx.web.address).await;
    let head = http.get("/large").await;
    let got = http.body_hash(&head).await;
    assert_eq!((head.status, got), (200, (LEN, content_hash(LEN))));

    // A download that its user stopped goes on where it was.
    let (url, part) = (nginx.web.url("/large"), nginx.dir.path().join("part"));
    let to = part.to_str().unwrap();
    let mut slow = tokio::process::Command::new("curl");
    slow.args(["-q", "-sS", "--limit-rate", "20M", "-o", to, &url]).kill_on_drop(true);
    let mut slow = slow.spawn().unwrap();
    let size = || std::fs::metadata(&part).map_or(0, |meta| meta.len());
    until("some of it is there", super::support::PATIENCE, || size() > 1 << 20).await;
    slow.kill().await.unwrap();
    let had = size();
    assert!(had < LEN, "it was stopped too late");
    let rest = curl(&["-C", "-", "-o", to, "-w", "%{http_code} %{size_download}", &url]).await;
    assert_eq!(rest.stdout, format!("206 {}", LEN - had), "{rest}");
    assert_eq!(file_hash(&part), content_hash(LEN));
}
