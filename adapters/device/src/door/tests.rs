use super::*;

fn allowed(names: &[&str]) -> Arc<[HostName]> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// The status of the answer, or none where all passes.
fn refused(door: &mut Door, bytes: &[u8]) -> Option<u16> {
    match door.admit(bytes) {
        Ok(len) => {
            assert_eq!(len, bytes.len(), "held back: {}", bytes.escape_ascii());
            None
        }
        Err(refusal) => {
            Some(refusal.answer().get(9..12).and_then(|code| core::str::from_utf8(code).ok()?.parse().ok()).unwrap())
        }
    }
}

fn asked(line: &str, headers: &[&str]) -> Option<u16> {
    asked_with(&[], line, headers)
}

fn asked_with(names: &[&str], line: &str, headers: &[&str]) -> Option<u16> {
    let head =
        format!("{line} HTTP/1.1\r\n{}\r\n", headers.iter().map(|line| format!("{line}\r\n")).collect::<String>());
    let known = refused(&mut Door::http(allowed(names)), head.as_bytes());
    let unknown = refused(&mut Door::unknown(allowed(names)), head.as_bytes());
    assert_eq!(known, unknown, "what a browser says is judged alike: {head}");
    known
}

#[test]
fn a_name_of_the_internet_is_misdirected() {
    for host in
        ["evil.example", "evil.example:8080", "Host.Evil.Example.", "127.0.0.1.evil.example", "a b", "user@localhost"]
    {
        assert_eq!(asked("GET /", &[&format!("Host: {host}")]), Some(421), "{host}");
        assert_eq!(asked("POST /a", &["Content-Length: 0", &format!("hOST:{host}")]), Some(421), "{host}");
    }
    for host in ["127.0.0.1:8080", "[::1]:8080", "localhost", "test", "nas.local", "web.nest.homing", ""] {
        assert_eq!(asked("GET /", &[&format!("Host: {host}")]), None, "{host}");
    }
    assert_eq!(asked("GET /", &[]), None, "no browser; the host wants a Host");
    assert_eq!(asked("GET /", &["Host: localhost", "Host: localhost"]), Some(400));
    assert_eq!(asked("GET /", &["Host: localhost", "host: evil.example"]), Some(400));
}

#[test]
fn a_target_that_names_somebody_is_looked_at_too() {
    for (line, host, expected) in [
        ("GET http://evil.example/", "localhost", Some(421)),
        ("GET http://localhost:80/", "evil.example", Some(421)),
        ("GET http://user@evil.example?x", "localhost", Some(421)),
        ("GET http:/evil.example/", "localhost", Some(400)),
        ("GET http:///", "localhost", None),
        ("GET http://localhost:80/http://evil.example/", "localhost", None),
        ("GET /http://evil.example/", "localhost", None),
        ("OPTIONS *", "localhost", None),
    ] {
        assert_eq!(asked(line, &[&format!("Host: {host}")]), expected, "{line}");
    }
    let tunnel = b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(refused(&mut Door::http(allowed(&[])), tunnel), Some(400));
}

#[test]
fn pages_of_other_sites_are_forbidden() {
    let upgrade = ["Connection: keep-alive, Upgrade", "Upgrade: websocket"];
    for (host, origin, expected) in [
        ("127.0.0.1:9000", "http://evil.example", Some(403)),
        ("127.0.0.1:9000", "https://evil.example:9000", Some(403)),
        ("127.0.0.1:9000", "http://203.0.113.9", Some(403)),
        ("127.0.0.1:9000", "http://192.168.1.1", Some(403)),
        ("127.0.0.1:9000", "http://printer.lan", Some(403)),
        ("127.0.0.1:9000", "null", Some(403)),
        ("127.0.0.1:9000", "file://", Some(403)),
        ("127.0.0.1:9000", "http://localhost.evil.example", Some(403)),
        ("127.0.0.1:9000", "http://localhost http://evil.example", Some(403)),
        ("127.0.0.1:9000", "http://localhost@evil.example", Some(403)),
        ("127.0.0.1:9000", "", Some(403)),
        ("127.0.0.1:9000", "http://127.0.0.1:9000", None),
        ("127.0.0.1:9000", "http://localhost:5173", None),
        ("127.0.0.1:9000", "http://[::1]:3000", None),
        ("127.0.0.1:9000", "tauri://localhost", None),
        ("192.168.1.7:9000", "http://192.168.1.7:9000", None),
        ("NAS.lan:9000", "http://nas.lan:9000", None),
        ("nas.lan:9000", "http://other.lan", Some(403)),
    ] {
        let (host, origin) = (format!("Host: {host}"), format!("Origin: {origin}"));
        assert_eq!(asked("GET /ws", &[&[&*host, &origin], &upgrade[..]].concat()), expected, "{host} {origin}");
        assert_eq!(asked("POST /", &[&host, "content-length: 0", &origin]), expected, "{host} {origin}");
        assert_eq!(asked("GET /", &[&host, &origin]), expected, "{host} {origin}");
    }
    // A link on another site, and a form whose page sends no referrer.
    let host = "Host: 127.0.0.1:9000";
    assert_eq!(asked("GET /", &[host, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"]), None);
    assert_eq!(asked("POST /", &[host, "Origin: null", "Sec-Fetch-Site: same-origin"]), None);
    assert_eq!(asked("POST /", &[host, "Origin: null", "Sec-Fetch-Site: cross-site"]), Some(403));
    assert_eq!(asked("POST /", &["Host: evil.example", "Sec-Fetch-Site: same-origin"]), Some(421));
    let twice = [host, "Origin: null", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"];
    assert_eq!(asked("POST /", &twice), Some(403));
}

#[test]
fn what_was_allowed_passes() {
    let names = &["app.example", "203.0.113.9"];
    for (host, origin, expected) in [
        ("app.example", "https://app.example", None),
        ("APP.example.:443", "https://app.example", None),
        ("localhost:9000", "https://app.example", None),
        ("localhost:9000", "http://203.0.113.9:1", None),
        ("sub.app.example", "https://app.example", Some(421)),
        ("app.example", "https://evil.example", Some(403)),
    ] {
        let headers = [&*format!("Host: {host}"), &*format!("Origin: {origin}")];
        assert_eq!(asked_with(names, "GET /", &headers), expected, "{headers:?}");
    }
}

#[test]
fn answers_say_what_to_do_and_nothing_that_was_made_up() {
    let text = |bytes: &[u8]| String::from_utf8(Door::http(allowed(&[])).admit(bytes).unwrap_err().answer()).unwrap();
    let answer = text(b"GET / HTTP/1.1\r\nHost: Evil.Example:1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())) && head.ends_with("Connection: close"),
        "{head}"
    );
    assert!(body.contains("--allow-host evil.example\n"), "{body}");
    let answer = text(b"GET / HTTP/1.1\r\nHost: <script>.example\r\n\r\n");
    assert!(answer.contains("421") && !answer.contains("script"), "{answer}");
    let answer = text(b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n");
    assert!(answer.contains("403") && answer.contains("--allow-host evil.example "), "{answer}");
}

#[test]
fn every_request_of_a_connection_is_looked_at() {
    let evil = b"POST /b HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n\r\n";
    for first in [
        &b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\nGET /a HTTP/1.1\nHost: a\n\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello\r\n\r\nyou",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n00\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n1\r\n!\r\n0\r\nx-a: b\r\nx-c: d\r\n\r\n",
    ] {
        let mut door = Door::http(allowed(&[]));
        assert_eq!(refused(&mut door, first), None);
        assert_eq!(refused(&mut door, first), None, "the next one is found: {}", first.escape_ascii());
        assert_eq!(refused(&mut door, evil), Some(403), "{}", first.escape_ascii());
        assert_eq!(refused(&mut Door::http(allowed(&[])), &[first, evil].concat()), Some(403));
    }
    let mut door = Door::http(allowed(&[]));
    assert_eq!(
        refused(&mut door, b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        None
    );
    assert_eq!(refused(&mut door, evil), None, "another protocol now");
}

#[test]
fn bodies_that_end_in_two_places_are_refused() {
    for (headers, expected) in [
        (&["Content-Length: 3", "Transfer-Encoding: chunked"][..], 400),
        (&["Content-Length: 3", "Content-Length: 3"], 400),
        (&["Content-Length: 3, 3"], 400),
        (&["Content-Length: +3"], 400),
        (&["Content-Length:"], 400),
        (&["Content-Length: 99999999999999999999"], 400),
        (&["Transfer-Encoding: gzip, chunked"], 501),
        (&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 501),
        (&["Transfer-Encoding: xchunked"], 501),
    ] {
        assert_eq!(asked("POST /", &[&["Host: a"], headers].concat()), Some(expected), "{headers:?}");
    }
    let mut door = Door::http(allowed(&[]));
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n";
    assert_eq!(refused(&mut door, bytes), Some(400));
}

#[test]
fn what_is_no_request_goes_on_only_where_it_may_be_no_http() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"G",
        b"GET",
        b"GET key\r\n",
        b"CWD /home\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        b"\r\n",
        b"\0",
    ] {
        assert_eq!(refused(&mut Door::open(), bytes), None);
        let mut door = Door::unknown(allowed(&[]));
        assert_eq!(refused(&mut door, bytes), None, "{}", bytes.escape_ascii());
        assert_eq!(
            refused(&mut door, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            None,
            "only what comes first decides"
        );
    }
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(refused(&mut Door::http(allowed(&[])), bytes), Some(400), "{}", bytes.escape_ascii());
    }
    // Whoever is spoken to first does not speak HTTP.
    let mut door = Door::unknown(allowed(&[]));
    door.hear_service();
    assert_eq!(refused(&mut door, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), None);
    let mut door = Door::http(allowed(&[]));
    door.hear_service();
    assert_eq!(refused(&mut door, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), Some(421));
}

#[test]
fn heads_have_a_bound() {
    let mut door = Door::http(allowed(&[]));
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ".to_vec();
    head.resize(MAX_HEAD - 1, b'x');
    assert_eq!(door.admit(&head), Ok(0), "held back");
    head.push(b'x');
    assert_eq!(refused(&mut door, &head), Some(431));
    let many: String = (0..=MAX_HEADERS).map(|i| format!("a{i}: b\r\n")).collect();
    assert_eq!(refused(&mut Door::http(allowed(&[])), format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), Some(431));
    let mut door = Door::http(allowed(&[]));
    let endless =
        [&b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"[..], &[b'x'; MAX_HEAD]].concat();
    assert_eq!(refused(&mut door, &endless), Some(431));
    // Headers and bodies that only together are longer do not mind.
    let mut door = Door::http(allowed(&[]));
    let mut long = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 3 * MAX_HEAD).into_bytes();
    long.resize(long.len() + 3 * MAX_HEAD, b'x');
    assert_eq!(refused(&mut door, &long), None);
}

/// Shows the pieces to a door as [`splice`](crate::splice) does; what it let go, and the refusal that ended it.
fn carry(mut door: Door, pieces: &[&[u8]]) -> (Vec<u8>, Option<Refusal>) {
    let (mut gone, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        match door.admit(&held) {
            Ok(len) => gone.extend(held.drain(..len)),
            Err(refusal) => return (gone, Some(refusal)),
        }
    }
    assert!(held.is_empty(), "held back to the end: {}", held.escape_ascii());
    (gone, None)
}

#[test]
fn it_does_not_matter_where_bytes_are_split() {
    let good = b"POST /a?b=c HTTP/1.1\r\nHost: localhost:9000\r\nOrigin: http://localhost:9000\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x\r\na\r\n\r\n0\r\nt: u\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\n\r\n\nGET / HTTP/1.1\r\nHost: b\r\n\r\n";
    let evil = [&good[..], b"POST /evil HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"].concat();
    let door = || Door::http(allowed(&[]));
    let check = |pieces: &[&[u8]], bad: bool| {
        let (gone, refusal) = carry(door(), pieces);
        match refusal {
            None => assert!(!bad && gone == good, "{pieces:?}"),
            Some(refusal) => {
                assert!(bad && refusal == Refusal::misdirected("evil.example".parse().ok().as_ref()), "{pieces:?}");
                // Nothing of the request that was refused.
                assert!(good.starts_with(&gone), "{}", gone.escape_ascii());
            }
        }
    };
    for (bytes, bad) in [(&good[..], false), (&evil[..], true)] {
        check(&bytes.chunks(1).collect::<Vec<_>>(), bad);
        for first in 0..bytes.len() {
            for second in (first..bytes.len()).step_by(5) {
                check(&[&bytes[..first], &bytes[first..second], &bytes[second..]], bad);
            }
        }
    }
}
