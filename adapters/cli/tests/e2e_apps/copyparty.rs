//! copyparty: its page in a browser, at the name that it has behind `homing proxy`, and curl. `--rproxy=-1` says that what
//! its neighbour on this machine tells of callers may be believed; from there it knows the name that browsers show.

use std::process::Command;

use serde_json::json;

use crate::support::browser::Page;
use crate::support::client::{curl, curled};
use crate::support::service::content_hash;
use crate::support::{Forward, HOST, Process, World};
use crate::{file_hash, fill, free_port, install};

const LEN: u64 = 8 << 20;

struct Party {
    proxy: Forward,
    web: Forward,
    _world: World,
    _server: Process,
    // Last: the server ends before its directory goes.
    dir: tempfile::TempDir,
}

impl Party {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "files"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let port = free_port();
        let mut command = Command::new(install::python().await.join("copyparty"));
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "--no-crt", "--rproxy=-1", "-e2d", "-v"]);
        command.arg(format!("{}::rwd", dir.path().join("files").display()));
        command.env("HOME", dir.path().join("home")).env("XDG_CONFIG_HOME", dir.path().join("home"));
        let server = Process::spawn("copyparty", command);
        server.says("listening @").await;
        let world = World::start(&[("files", format!("http://127.0.0.1:{port}"))]).await;
        let device = world.pair().await;
        let (proxy, web) = (device.proxy().await, device.forward("files").await);
        Self { proxy, web, _world: world, _server: server, dir }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copypartys_page_uploads_in_pieces_and_what_came_is_listed() {
    let party = Party::start().await;
    fill(&party.dir.path().join("über.bin"), LEN);
    let flag = format!("--proxy-server={}", party.proxy.address);
    let mut page = Page::open_with(&format!("http://files.{HOST}.homing/"), &[&flag]).await;
    page.until("up2k !== null && document.getElementById('file1') !== null").await;
    let root = page.call("DOM.getDocument", json!({})).await;
    let input = page.call("DOM.querySelector", json!({ "nodeId": root["root"]["nodeId"], "selector": "#file1" })).await;
    let files = json!({ "nodeId": input["nodeId"], "files": [party.at("über.bin")] });
    page.call("DOM.setFileInputFiles", files).await;
    page.until("document.getElementById('modal-ok') !== null").await;
    page.click("modal-ok").await;
    page.until("document.querySelector('#u2cards > a[act=ok] > span').textContent === '1'").await;
    assert_eq!(file_hash(&party.dir.path().join("files/über.bin")), content_hash(LEN));
    assert!(page.errors().is_empty(), "{:#?}", page.errors());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_up_by_put_and_come_down_in_parts_and_as_an_archive() {
    let party = Party::start().await;
    fill(&party.dir.path().join("plain"), LEN);
    let put = curled(&["-f", "-T", &party.at("plain"), &party.web.url("/some/file.bin")]).await;
    assert!(put.contains(&format!("{LEN}")), "{put}");
    assert_eq!(file_hash(&party.dir.path().join("files/some/file.bin")), content_hash(LEN));
    let url = party.web.url("/some/file.bin");
    let part = curl(&["-r", "0-3999999", "-w", "%{http_code}", "-o", &party.at("part"), &url]).await;
    assert_eq!(part.stdout, "206", "{part}");
    let rest = curl(&["-C", "-", "-w", "%{http_code}", "-o", &party.at("part"), &url]).await;
    assert_eq!(rest.stdout, "206", "{rest}");
    assert_eq!(file_hash(&party.dir.path().join("part")), content_hash(LEN));
    curled(&["-f", "-o", &party.at("all.tar"), &party.web.url("/some?tar")]).await;
    let (archive, out) = (party.at("all.tar"), party.at("home"));
    assert!(Command::new("tar").args(["-xf", &archive, "-C", &out]).status().unwrap().success());
    assert_eq!(file_hash(&party.dir.path().join("home/some/file.bin")), content_hash(LEN));
}
