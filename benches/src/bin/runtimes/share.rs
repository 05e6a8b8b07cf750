//! Whose code a tunnel's CPU runs: samples of `perf`, user and kernel, each counted for the crate that the line belongs to. What
//! the compiler inlined from the standard library counts for whoever called it, and what libc copies and allocates for whoever
//! asked it to.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use crate::process::until;
use crate::roles::Trio;
use crate::{CONNECTIONS, load};

/// Adapters' own code may take so much.
const TARGET: f64 = 0.05;

type Load = fn(&Trio, u64) -> Duration;

pub(crate) fn report(trios: &[Trio], bytes: u64, requests: u64) -> ExitCode {
    let loads: [(&str, Load, u64); 3] = [
        ("bulk device to service", |trio, bytes| load::upload(trio.bulk, bytes), bytes),
        ("bulk service to device", |trio, bytes| load::download(trio.bulk, bytes), bytes),
        ("requests, 16 connections", |trio, count| load::requests(trio.http, CONNECTIONS, count), requests),
    ];
    let mut met = true;
    for (name, load, amount) in loads {
        for trio in trios {
            let shares = sample(trio, || load(trio, amount));
            let all: usize = shares.values().sum();
            let of = |owner: &str| shares.get(owner).copied().unwrap_or(0) as f64 / all as f64;
            let own = of("adapters/driver") + of("adapters/smol") + of("adapters/tokio");
            met &= own <= TARGET;
            println!("\n{name}, {}: {all} samples; driver and adapter {:.1} % of the CPU", trio.runtime, own * 100.0);
            let mut rows: Vec<_> = shares.keys().map(|owner| (of(owner), owner)).collect();
            rows.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (share, owner) in rows.into_iter().filter(|row| row.0 >= 0.001) {
                println!("| {owner:<28} | {:>5.1} % |", share * 100.0);
            }
        }
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Samples by the owner of the code.
fn sample(trio: &Trio, work: impl FnOnce() -> Duration) -> BTreeMap<String, usize> {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("perf.data");
    let ids: Vec<String> = trio.processes.iter().map(|process| process.id().to_string()).collect();
    let mut perf = Command::new("perf")
        // A little of the stack: enough to see who called libc.
        .args([
            "record",
            "-q",
            "-e",
            "cpu-clock",
            "-F",
            "997",
            "--call-graph",
            "dwarf,2048",
            "-p",
            &ids.join(","),
            "-o",
        ])
        .arg(&data)
        .stderr(Stdio::null())
        .spawn()
        .expect("perf: install linux-perf");
    until("perf", || fs::metadata(&data).ok());
    work();
    assert!(Command::new("kill").args(["-INT", &perf.id().to_string()]).status().unwrap().success());
    perf.wait().unwrap();
    let script = Command::new("perf").args(["script", "--no-inline", "-F", "ip,sym,dso", "-i"]).arg(&data).output();
    let script = String::from_utf8_lossy(&script.unwrap().stdout).into_owned();

    let program = std::env::current_exe().unwrap();
    let program_name = program.to_str().unwrap();
    let shift = shift(program_name);
    let mut shares = BTreeMap::new();
    let mut own: HashMap<u64, (String, usize)> = HashMap::new();
    for sample in script.split("\n\n") {
        let mut frames = sample.lines().filter_map(Frame::parse).enumerate();
        let Some((_, first)) = frames.next() else { continue };
        if first.object.starts_with('[') {
            *shares.entry("kernel".to_owned()).or_default() += 1;
            continue;
        }
        let is_own = |frame: &Frame<'_>| frame.object == program_name;
        let called = if is_own(&first) { Some((0, first)) } else { frames.find(|(_, frame)| is_own(frame)) };
        match called {
            Some((depth, frame)) => {
                // Where it goes on after a call is the next line already.
                let address = frame.address + shift - u64::from(depth > 0);
                own.entry(address).or_insert_with(|| (frame.symbol.to_owned(), 0)).1 += 1;
            }
            None => *shares.entry("libc".to_owned()).or_default() += 1,
        }
    }
    let lines = lines_of(&program, own.keys().copied());
    for (address, (symbol, count)) in own {
        *shares.entry(owner(&symbol, lines.get(&address))).or_default() += count;
    }
    shares
}

/// A line of a sample: `address symbol (object)`, the address as an offset in the object's file.
struct Frame<'a> {
    address: u64,
    symbol: &'a str,
    object: &'a str,
}

impl<'a> Frame<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (address, rest) = line.trim().split_once(' ')?;
        let (symbol, object) = rest.rsplit_once(" (")?;
        let object = object.strip_suffix(')')?;
        Some(Self { address: u64::from_str_radix(address, 16).ok()?, symbol, object })
    }
}

/// How far the program's code lies behind its place in the file.
fn shift(program: &str) -> u64 {
    let said = Command::new("readelf").args(["-lW", program]).output().expect("readelf: install binutils");
    let said = String::from_utf8(said.stdout).unwrap();
    let code = said.lines().find(|line| line.contains("LOAD") && line.contains(" R E ")).unwrap();
    let mut numbers = code.split_whitespace().skip(1).map(|hex| u64::from_str_radix(&hex[2..], 16).unwrap());
    let (offset, address) = (numbers.next().unwrap(), numbers.next().unwrap());
    address - offset
}

/// The source files of each address, the innermost function's first.
fn lines_of(program: &std::path::Path, addresses: impl Iterator<Item = u64>) -> HashMap<u64, Vec<String>> {
    let tool = std::env::var_os("ADDR2LINE").unwrap_or("addr2line".into());
    let mut child = Command::new(tool)
        .args(["-a", "-i", "-e"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("addr2line: install binutils");
    let asked: String = addresses.map(|address| format!("{address:#x}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let asking = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let said = child.wait_with_output().unwrap();
    asking.join().unwrap().unwrap();
    let mut lines: HashMap<u64, Vec<String>> = HashMap::new();
    let mut address = 0;
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        match line.strip_prefix("0x") {
            Some(digits) => address = u64::from_str_radix(digits, 16).unwrap(),
            None => lines.entry(address).or_default().push(line.to_owned()),
        }
    }
    lines
}

/// The crate that a line belongs to.
fn owner(symbol: &str, files: Option<&Vec<String>>) -> String {
    let is_std = |file: &&String| file.starts_with("/rustc/") || file.contains("/library/") || file.starts_with("??");
    let Some(file) = files.into_iter().flatten().find(|file| !is_std(file)) else {
        let is_ring = symbol.contains("ring_core") || symbol.contains("chacha20_poly1305");
        return if is_ring { "ring".into() } else { "std".into() };
    };
    if let Some((_, path)) = file.split_once("/registry/src/") {
        let package = path.split('/').nth(1).unwrap_or_default();
        return package.rsplit_once('-').map_or(package, |(name, _)| name).to_owned();
    }
    let mut parts = file.split('/').skip_while(|part| *part != "adapters");
    match (parts.next(), parts.next()) {
        (Some(_), Some(adapter)) => format!("adapters/{adapter}"),
        _ if file.contains("core/src/") => "core".into(),
        _ => "other".into(),
    }
}
