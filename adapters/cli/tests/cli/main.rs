//! The program from the outside: what it lists, what it answers, how it exits. Tunnels are tested elsewhere.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod program;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use homing_core::crypto::Identity;
use homing_core::handshake::Suite;
use homing_core::pairing::{Flags, Ticket};
use serde_json::{Value, json};

use program::{Data, Server, ok, run, text};

#[test]
fn help_lists_exactly_the_commands_there_are() {
    let all = [
        ("", "completions config connect demo doctor forward guest host hosts man pair proxy relay status"),
        ("relay", "keys start status"),
        ("relay keys", "add list revoke rotate"),
        ("host", "audit devices disable enable guests jwks pair rotate start token"),
        ("host devices", "grant list rename revoke"),
        ("host guests", "end list"),
        ("hosts", "forget list log rename"),
        ("config", "check lock show unlock"),
    ];
    for (command, expected) in all {
        let words: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let listed = listed(&text(&ok(&run(&words)).stdout));
        assert_eq!(listed, expected.split(' ').map(str::to_owned).collect(), "homing {command}");
        for sub in listed {
            let mut words: Vec<_> = command.split_whitespace().collect();
            words.extend([sub.as_str(), "--help"]);
            assert!(text(&ok(&run(&words)).stdout).contains("Usage: homing "), "{words:?}");
        }
    }
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_right() {
    let data = Data::new();
    for (words, hint) in [
        (vec![], "Usage: homing"),
        (vec!["nothing"], "nothing"),
        (vec!["forward", "nas", "127.0.0.1:0"], "HOST/SERVICE"),
        (vec!["forward", "nas/web", "here"], "LISTEN_ADDR"),
        (vec!["relay", "start", "--listen", "here"], "--listen"),
        (vec!["relay", "start", "--tls-cert", "c.pem"], "--tls-key"),
        (vec!["relay", "start", "--open", "--proxy-protocol"], "--trusted-proxy"),
        (vec!["relay", "start", "--open", "--listen", "0.0.0.0:0"], "127.0.0.1"),
        (vec!["host", "start"], "--relay"),
        (vec!["host", "start", "--relay", "ws://example.org"], "wss://"),
        (vec!["host", "start", "--relay", "wss://example.org", "--expose", "web"], "NAME=URL"),
        (vec!["host", "pair", "--auto", "--confirm"], "--confirm"),
        (vec!["host", "pair", "--grant", "web:GET:/a/../b"], "path prefix"),
        (vec!["host", "pair", "--grant", "Web"], "service"),
        (vec!["host", "devices", "grant", "x"], "--everything"),
        (vec!["host", "devices", "grant", "x", "--everything", "--rate", "1"], "--everything"),
        (vec!["host", "devices", "grant", "x", "--rate", "0"], "--rate"),
        (vec!["host", "devices", "grant", "x", "--concurrent", "1", "--burst", "1"], "--rate"),
        (vec!["pair", "homing://pair/AEBA"], "link"),
        (vec!["pair", "https://example.org/"], "homing://pair/"),
        (vec!["-v", "-q", "status"], "--quiet"),
    ] {
        let output = data.run(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(text(&output.stderr).contains(hint), "{words:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let data = Data::new();
    let expired = link("127.0.0.1:1", 1_700_000_000);
    let unreachable = link(&format!("127.0.0.1:{}", closed_port()), u32::MAX);
    for (words, code, hint) in [
        (vec!["relay", "status"], 3, "homing relay start"),
        (vec!["host", "pair"], 3, "homing host start"),
        (vec!["host", "devices", "list"], 1, "host"),
        (vec!["host", "enable"], 1, "host"),
        (vec!["forward", "nas/web", "127.0.0.1:0"], 4, "homing hosts list"),
        (vec!["connect", "nas/web"], 4, "homing hosts list"),
        (vec!["hosts", "forget", "nas"], 4, "homing hosts list"),
        (vec!["doctor", "nas"], 4, ""),
        (vec!["pair", &expired], 5, "expired"),
        (vec!["pair", &unreachable], 3, "check"),
    ] {
        let output = data.run(&words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(text(&output.stderr).contains(hint), "{words:?}: {}", text(&output.stderr));
    }
    assert_eq!(data.run(&["status"]).status.code(), Some(0), "that nothing runs is an answer");
}

#[test]
fn links_come_from_stdin_too() {
    let data = Data::new();
    let mut child = data.command(&["pair", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", link("127.0.0.1:1", 1_700_000_000)).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn json_goes_to_stdout_alone_and_has_its_shape() {
    let data = Data::new();
    assert_eq!(data.json(&["status"]), json!({ "roles": [], "warnings": [] }));
    assert_eq!(data.json(&["hosts", "list"]), json!([]));
    let checks = data.json(&["doctor"]);
    let names: BTreeSet<_> = checks["checks"].as_array().unwrap().iter().map(|check| check["check"].as_str()).collect();
    assert!(names.len() >= 4, "{checks}");
    assert!(checks["checks"].as_array().unwrap().iter().all(|check| check["verdict"] == "ok"), "{checks}");
}

#[test]
fn the_doctor_looks_behind_every_service() {
    let data = Data::new();
    let [there, gone] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, free] = [&there, &gone].map(|listener| listener.local_addr().unwrap().port());
    drop(gone);
    let settings = format!(
        "[host]\nexpose = ['web=http://127.0.0.1:{port}']\n[services.notes]\nurl = 'http://127.0.0.1:{free}'\n"
    );
    std::fs::write(data.path().join("homing.toml"), settings).unwrap();
    let checks = data.json(&["doctor"]);
    let verdict = |name: &str| {
        let check = checks["checks"].as_array().unwrap().iter().find(|check| check["check"] == name);
        check.unwrap_or_else(|| panic!("{name} in {checks}"))["verdict"].clone()
    };
    assert_eq!((verdict("service web"), verdict("service notes")), (json!("ok"), json!("warn")), "{checks}");

    std::fs::write(data.path().join("homing.toml"), "[services.web]\nurl = 'http://127.0.0.1:1'\nca = 'gone.pem'\n")
        .unwrap();
    let refused = data.run(&["doctor"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stdout).contains("[services.web]"), "{}", text(&refused.stdout));
}

#[test]
fn a_relay_tells_its_address_and_counts_and_ends_on_a_signal() {
    let data = Data::new();
    let mut relay = data.serve(&["relay", "start", "--listen", "127.0.0.1:0", "--open", "--json"]);
    let event = relay.event();
    assert_eq!(event["event"], "listening");
    let address = event["address"].as_str().unwrap();
    assert_eq!(event["url"], format!("ws://{address}"));

    let status = data.json(&["relay", "status"]);
    assert_eq!((&status["role"], &status["listen"]), (&json!("relay"), &json!(address)));
    for count in ["links", "hosts", "channels", "parked", "refused", "forwarded_records", "queued_bytes"] {
        assert_eq!(status[count], 0, "{count}");
    }
    let roles = data.json(&["status"]);
    assert_eq!(roles["roles"][0]["role"], "relay");
    assert_eq!(roles["roles"].as_array().unwrap().len(), 1);
    assert!(text(&data.run(&["status"]).stdout).contains(address));

    let second = data.run(&["relay", "start", "--open", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("already runs"));

    let (code, log) = relay.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains(address), "the log names the address: {log}");
    assert_eq!(data.run(&["relay", "status"]).status.code(), Some(3));
}

#[test]
fn a_relay_tells_those_who_watch_over_it_how_it_does() {
    let data = Data::new();
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--open", "--metrics", "127.0.0.1:0", "--json"];
    let mut relay = data.serve(&start);
    let event = relay.event();
    let get = |address: &Value, path: &str| {
        let mut tcp = std::net::TcpStream::connect(address.as_str().unwrap()).unwrap();
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        std::io::read_to_string(tcp).unwrap()
    };
    assert!(get(&event["address"], "/readyz").ends_with("ready\n"));
    let metrics = get(&event["metrics"], "/metrics");
    assert!(metrics.contains("homing_relay_links{role=\"host\"} 0\n") && metrics.ends_with("# EOF\n"), "{metrics}");
    relay.stop();
    let wrong = data.run(&["relay", "start", "--open", "--trusted-proxy", "everyone"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("10.0.0.0/8"), "{}", text(&wrong.stderr));
}

#[test]
fn the_relay_key_is_shown_once_and_kept_as_a_hash() {
    let data = Data::new();
    let start = ["relay", "start", "--listen", "127.0.0.1:0", "--json"];
    let mut relay = data.serve(&start);
    let key = relay.event();
    assert_eq!(key["event"], "relay_key");
    let key = key["relay_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("hk_") && key.len() == 55, "{key}");
    assert_eq!(relay.event()["event"], "listening");
    let (_, log) = relay.stop();
    assert!(!log.contains(&key), "a log is no place for a key");

    let kept = data.path().join("relay.redb");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for file in std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        assert!(!text(&std::fs::read(&file).unwrap()).contains(&key[3..]), "{}", file.display());
    }
    let mut again = data.serve(&start);
    assert_eq!(again.event()["event"], "listening", "no key is shown a second time");
    again.stop();
}

#[test]
fn relay_keys_are_read_from_private_files_only() {
    let data = Data::new();
    let file = data.path().join("key");
    std::fs::write(&file, "hk_secret\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let start = ["host", "start", "--relay", "ws://127.0.0.1:1", "--relay-key-file", file.to_str().unwrap()];
    let output = data.run(&start);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("chmod 600"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("hk_secret"));
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let data = Data::new();
    let listen = |env: &[(&str, &str)]| {
        let output =
            data.command(&["config", "show", "--origin", "--json"]).envs(env.iter().copied()).output().unwrap();
        let shown: Value = serde_json::from_slice(&ok(&output).stdout).unwrap();
        (shown["relay.listen"]["value"].clone(), shown["relay.listen"]["origin"].clone())
    };
    assert_eq!(listen(&[]), (json!("127.0.0.1:8080"), json!("default")));
    std::fs::write(data.path().join("homing.toml"), "[relay]\nlisten = '127.0.0.1:2'\nopen = true\n").unwrap();
    assert_eq!(listen(&[]), (json!("127.0.0.1:2"), json!("file")));
    let env = ("HOMING_RELAY_LISTEN", "127.0.0.1:3");
    assert_eq!(listen(&[env]), (json!("127.0.0.1:3"), json!("environment")));

    // Port 3 is nobody's to take, so the flag must have won. The file's `open` counts as well: no key is shown.
    let mut relay = Server::start(data.command(&["relay", "start", "--listen", "127.0.0.1:0", "--json"]).envs([env]));
    let event = relay.event();
    assert_eq!(event["event"], "listening");
    assert!(!event["address"].as_str().unwrap().ends_with(":3"), "{event}");
    relay.stop();
}

#[test]
fn mistakes_in_settings_are_found() {
    let data = Data::new();
    assert_eq!(data.json(&["config", "check"])["exists"], false);
    for (file, hint) in [
        ("[relay]\nlitsen = '127.0.0.1:1'", "litsen"),
        ("[rely]", "[relay]"),
        ("listen = '127.0.0.1:1'", "section"),
        ("[host]\nrelay = 'ws://example.org'", "wss://"),
        ("[relay", "homing.toml"),
    ] {
        std::fs::write(data.path().join("homing.toml"), file).unwrap();
        let output = data.run(&["config", "check"]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(text(&output.stderr).contains(hint), "{file}: {}", text(&output.stderr));
        assert_eq!(data.run(&["relay", "start"]).status.code(), Some(2), "nothing starts on settings that are wrong");
    }
    std::fs::write(data.path().join("homing.toml"), "[host]\nrelay = ['wss://relay.example.org']\n").unwrap();
    assert_eq!(data.json(&["config", "check"])["ok"], true);
    let output = data.command(&["config", "check"]).env("HOMING_RELAY_ENABLED", "perhaps").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("HOMING_RELAY_ENABLED"));
}

#[test]
fn a_host_runs_without_its_relay_and_takes_orders() {
    let data = Data::new();
    let relay = format!("ws://127.0.0.1:{}", closed_port());
    let start = ["host", "start", "--relay", &relay, "--expose", "web=http://127.0.0.1:9", "--name", "nas", "--json"];
    let mut host = data.serve(&start);
    let event = host.event();
    assert_eq!(
        (&event["event"], &event["name"], &event["services"]),
        (&json!("started"), &json!("nas"), &json!(["web"]))
    );
    assert_eq!(data.json(&["host", "devices", "list"]), json!([]));

    let status = &data.json(&["status"])["roles"][0];
    assert_eq!((&status["role"], &status["enabled"]), (&json!("host"), &json!(true)));
    for field in ["state", "since", "last_round_trip_ms", "last_error", "retry_in_ms"] {
        assert!(status["links"][0].get(field).is_some(), "{field} in {status}");
    }
    assert_eq!(data.json(&["host", "disable"])["running"], true);
    assert_eq!(data.json(&["status"])["roles"][0]["enabled"], false);
    assert_eq!(data.run(&["host", "devices", "revoke", "00"]).status.code(), Some(1));
    assert_eq!(host.stop().0, Some(0));

    // Its state file can be asked and changed without it.
    assert_eq!(data.json(&["host", "devices", "list"]), json!([]));
    assert_eq!(data.json(&["host", "enable"])["running"], false);
    let mut host = data.serve(&start);
    host.event();
    assert_eq!(data.json(&["status"])["roles"][0]["enabled"], true);
    host.stop();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for words in [&["completions", "bash"][..], &["config", "show"], &["--help"]] {
        let data = Data::new();
        let mut child = data.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(text(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&ok(&run(&["completions", shell])).stdout);
        assert!(script.contains("relay-key-file"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let man = dir.path().join("man1");
    ok(&run(&["man", man.to_str().unwrap()]));
    for page in ["homing.1", "homing-pair.1", "homing-host-devices-revoke.1"] {
        assert!(std::fs::read_to_string(man.join(page)).unwrap().contains(".TH"), "{page}");
    }
}

#[test]
fn the_demo_checks_a_whole_tunnel() {
    let output = run(&["demo", "--once", "--json"]);
    let checked: Value = serde_json::from_slice(&ok(&output).stdout).unwrap();
    assert_eq!((&checked["event"], &checked["ok"]), (&json!("checked"), &json!(true)));
    let steps = checked["steps"].as_array().unwrap();
    assert_eq!(
        steps.iter().map(|step| step["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["page", "live event", "WebSocket", "download"]
    );
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["relay_saw"]["records"].as_u64().unwrap() > 0, "it all went through the relay: {step}");
    }
    assert!(steps[3]["relay_saw"]["bytes"].as_u64().unwrap() > 100 << 20);
    assert_eq!(text(&output.stderr), "");
}

/// The names under `Commands:`.
fn listed(help: &str) -> BTreeSet<String> {
    let (_, rest) = help.split_once("Commands:\n").expect("a list of commands");
    let entries = rest.lines().take_while(|line| !line.is_empty());
    let names = entries.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// A pairing link of nobody, by way of that relay.
fn link(relay: &str, expiry: u32) -> String {
    let mut rng = UnwrapErr(SysRng);
    let host = Identity::generate(&mut rng);
    let flags = Flags { plain: true, ..Flags::default() };
    let ticket = Ticket::issue(Suite::Hybrid, flags, expiry, host.public(), relay, &mut rng).unwrap();
    let mut link = String::new();
    ticket.write_link(&mut link).unwrap();
    link
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
