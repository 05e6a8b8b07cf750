//! Peers that break the rules: each gets its answer, and neither the relay nor the honest pair on it takes harm.
//!
//! The cases are tables; `hostile/CASES.md` lists them all. After each, a host and a device that were joined before are
//! served as before, and the relay has as many links, channels and reserved bytes as before, and none that wait.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

#[path = "hostile/ends.rs"]
mod ends;
#[path = "hostile/floods.rs"]
mod floods;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/patience.rs"]
mod patience;
#[path = "hostile/raw.rs"]
mod raw;
#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/rights.rs"]
mod rights;
#[path = "hostile/stage.rs"]
mod stage;
#[path = "hostile/words.rs"]
mod words;

/// Every case, by the file that has it.
fn list() -> String {
    let mut text = String::from(
        "# Hostile peers of a relay\n\nWritten by `LIST_CASES=1 cargo test -p homing-relay --test hostile listed`.\n",
    );
    let mut count = 0;
    let mut chapter = |title: &str, names: Vec<String>| {
        count += names.len();
        text += &format!("\n## {title}: {}\n\n", names.len());
        names.iter().for_each(|name| text += &format!("- {name}\n"));
    };
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let of_scenes = |scenes: Vec<stage::Scene>| scenes.into_iter().map(|(name, _)| name.to_owned()).collect();
    let requests = requests::cases().into_iter().chain(requests::named());
    chapter("Requests", requests.map(|(name, ..)| name.to_owned()).collect());
    chapter("Frames", frames::cases().into_iter().map(|(name, ..)| name.to_owned()).collect());
    chapter("Messages", words::cases().into_iter().map(|case| case.name).collect());
    chapter("Rights", of_scenes(rights::scenes()));
    chapter("Ends", of_scenes(ends::scenes()));
    chapter("Floods", of_scenes(floods::scenes()));
    chapter("Patience", owned(patience::names()));
    text += &format!("\nTogether {count}.\n");
    text
}

#[test]
fn every_case_is_listed_once() {
    let list = list();
    let names: Vec<_> = list.lines().filter(|line| line.starts_with("- ")).collect();
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    assert!(names.len() >= 60, "{}", names.len());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/CASES.md");
    if std::env::var_os("LIST_CASES").is_some() {
        std::fs::write(path, &list).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), list, "write it anew with LIST_CASES=1");
}
