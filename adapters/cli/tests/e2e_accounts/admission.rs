//! Who else decides: a server of the operator's, or nobody, where that is said in so many words.

use std::sync::{Arc, Mutex};

use super::*;

/// A server that answers with this, whatever it is asked, and shows the last question.
async fn decider(answer: &str) -> (String, Arc<Mutex<String>>, Arc<Mutex<String>>) {
    let (answer, asked) = (Arc::new(Mutex::new(answer.to_owned())), Arc::new(Mutex::new(String::new())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/admit", listener.local_addr().unwrap());
    let (says, hears) = (answer.clone(), asked.clone());
    let router = axum::Router::new().fallback(move |headers: axum::http::HeaderMap, question: String| {
        let shown = headers.get("authorization").map(|token| token.to_str().unwrap().to_owned());
        *hears.lock().unwrap() = format!("{shown:?} {question}");
        let answer = says.lock().unwrap().clone();
        async move { answer }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, answer, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_lets_hosts_in_and_cuts_them_off_within_two_seconds() {
    let (url, answer, asked) = decider(r#"{"allow":true,"account":"alice","plan":"one","ttl":1}"#).await;
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let (data, token) = (dir.path().join("relay"), dir.path().join("token"));
    homing_local::file::make_dir(&data).unwrap();
    homing_local::file::write(&token, b"sesame\n").unwrap();
    let settings = format!("[relay]\nadmit_token_file = {token:?}\n[plans.one]\nhosts = 1\n");
    std::fs::write(data.join("homing.toml"), settings).unwrap();
    let args = ["relay", "start", "--listen", "127.0.0.1:0", "--json", "--admit-url", &url];
    let process = Process::start("relay", &data, &args);
    let address = process.event("listening").await["address"].as_str().unwrap().parse().unwrap();
    let relay = Relay { process, address, dir };
    assert_eq!(count(&relay.process, "relay_key"), 0, "there are no keys to show");
    let keys = run(&relay.data(), &["relay", "keys", "list"]).await;
    assert!(keys.code == 1 && keys.stderr.contains("--admit-url"), "{keys}");

    let key = relay.dir.path().join("customer.key");
    homing_local::file::write(&key, b"what-the-customer-got").unwrap();
    let web = format!("web=http://{}", plain::page("", "hello").await);
    let host = relay.host("host", &key, &web);
    host.logged(REACHED).await;
    let question = asked.lock().unwrap().clone();
    assert!(question.starts_with(r#"Some("Bearer sesame") {"version":1,"role":"host""#), "{question}");
    assert!(!question.contains("address"), "{question}");
    let second = relay.host("second", &key, &web);
    second.logged(LOST).await;
    assert_eq!(count(&second, REACHED), 0, "the plan is that of homing.toml");
    second.kill();

    *answer.lock().unwrap() = r#"{"allow":false,"reason":"not paid"}"#.to_owned();
    let revoked = Instant::now();
    until("the host is cut off", Duration::from_secs(2), || count(&host, LOST) > 0).await;
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
    relay.process.logged("not paid").await;
    let log = relay.process.log().join("\n");
    assert!(!log.contains("sesame") && !log.contains("what-the-customer-got"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_is_open_to_everyone_only_where_that_is_said() {
    let dir = tempfile::Builder::new().prefix("homing").tempdir().unwrap();
    let start = ["relay", "start", "--listen", "0.0.0.0:0"];
    let refused = run(dir.path(), &[&start[..], &["--open"]].concat()).await;
    assert!(refused.code == 2 && refused.stderr.contains("--open-to-everyone"), "{refused}");
    let both = run(dir.path(), &[&start[..], &["--open", "--admit-url", "http://127.0.0.1:1"]].concat()).await;
    assert!(both.code == 2 && both.stderr.contains("one of them"), "{both}");
    let plain = run(dir.path(), &[&start[..], &["--admit-url", "http://admit.example/"]].concat()).await;
    assert!(plain.code == 2 && plain.stderr.contains("this machine only"), "{plain}");
    let open = Process::start("relay", dir.path(), &[&start[..], &["--open-to-everyone"]].concat());
    open.logged("whoever finds this relay may use it").await;
    open.kill();

    // A start that fails after it has made the key has shown it.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let failed = run(dir.path(), &["relay", "start", "--listen", &listen]).await;
    assert!(failed.code == 1 && failed.stdout.contains("hk_"), "{failed}");
    let again = run(dir.path(), &["relay", "start", "--listen", &listen]).await;
    assert!(again.code == 1 && !again.stdout.contains("hk_"), "once: {again}");
}
