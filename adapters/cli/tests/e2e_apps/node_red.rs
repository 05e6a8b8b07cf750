//! Node-RED: its editor in a browser, at the name that it has behind `homing proxy`. It needs no setting for that.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::browser::Page;
use crate::support::client::curled;
use crate::support::service::content_hash;
use crate::support::{HOST, Process, World};
use crate::{file_hash, fill, free_port, install};

const LEN: u64 = 4 << 20;

/// A flow that says back what is posted to /echo, and one that greets who asks and tells the editor about it.
fn flows() -> String {
    let flows = json!([
        { "id": "tab", "type": "tab", "label": "tried" },
        { "id": "post", "type": "http in", "z": "tab", "url": "/echo", "method": "post", "upload": false,
          "x": 100, "y": 100, "wires": [["echoed"]] },
        { "id": "echoed", "type": "http response", "z": "tab", "x": 300, "y": 100, "wires": [] },
        { "id": "get", "type": "http in", "z": "tab", "url": "/greet/:name", "method": "get",
          "x": 100, "y": 200, "wires": [["words"]] },
        { "id": "words", "type": "template", "z": "tab", "field": "payload", "fieldType": "msg", "syntax": "mustache",
          "template": "hello {{req.params.name}}", "x": 300, "y": 200, "wires": [["greeted", "told"]] },
        { "id": "greeted", "type": "http response", "z": "tab", "x": 500, "y": 200, "wires": [] },
        { "id": "told", "type": "debug", "z": "tab", "active": true, "tosidebar": true, "complete": "payload",
          "targetType": "msg", "x": 500, "y": 260, "wires": [] },
    ]);
    flows.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_is_made_in_node_reds_editor_and_its_endpoints_answer() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(install::node().await.join("node-red"));
    command.args(["--no-telemetry", "-D", "editorTheme.tours=false", "-D", "uiHost=127.0.0.1"]);
    command.args(["-p", &port.to_string(), "-u"]).arg(dir.path());
    let server = Process::spawn("node-red", command);
    server.says("Server now running at").await;
    server.says("Started flows").await;
    let world = World::start(&[("flows", format!("http://127.0.0.1:{port}"))]).await;
    let device = world.pair().await;
    let (proxy, web) = (device.proxy().await, device.forward("flows").await);

    let flag = format!("--proxy-server={}", proxy.address);
    let mut page = Page::open_with(&format!("http://flows.{HOST}.homing/"), &[&flag]).await;
    page.until("RED.nodes.registry.getNodeSet('node-red/debug').added && RED.workspaces.count() > 0").await;
    page.eval("window.heard = []; RED.comms.subscribe('debug', (topic, said) => heard.push(said.msg)); 0").await;
    page.eval(&format!("RED.view.importNodes({}, {{ generateIds: false, touchImport: true }}); 0", flows())).await;
    page.eval("RED.actions.invoke('core:deploy-flows'); 0").await;
    page.until("!RED.nodes.dirty()").await;

    let greeting = curled(&["-f", &web.url("/greet/you%20there")]).await;
    assert_eq!(greeting, "hello you there");
    page.until("heard.includes('hello you there')").await;
    let at = |name: &str| dir.path().join(name).display().to_string();
    fill(&dir.path().join("sent"), LEN);
    let (body, url, back) = (format!("@{}", at("sent")), web.url("/echo"), at("back"));
    curled(&["-f", "--data-binary", &body, "-H", "Content-Type: application/octet-stream", "-o", &back, &url]).await;
    assert_eq!(file_hash(&dir.path().join("back")), content_hash(LEN));

    let opened = page.noticed("Network.webSocketHandshakeResponseReceived");
    assert!(opened.iter().any(|opened| opened["response"]["status"] == 101), "{opened:?}");
    assert!(page.noticed("Network.webSocketClosed").is_empty(), "the editor lost its runtime");
    // The list of further nodes is on the internet, where the proxy does not go.
    let errors = page.errors().into_iter().filter(|error| !error.to_string().contains("catalogue.nodered.org"));
    assert_eq!(errors.collect::<Vec<_>>(), [] as [&Value; 0]);
}
