//! Guests: what they say before their token, and who must not say it.

use homing_core::Instant;
use homing_core::channel::{Channel, Config, Error, Event, code, token_hash};
use homing_core::crypto::Secret;
use homing_core::handshake::{GuestChain, Suite};
use homing_core::session::{Role, Session};
use homing_core::wire::{Auth, CAVEATS_MAX, Caveats, Frame, MAX_CAVEATS, MAX_RECORD, Params};

use super::malice::told;
use super::side::Pipes;
use super::small;
use super::support::ends::{Ends, TOKEN, sealed};

const ID: [u8; 8] = [7; 8];
const NOW: Instant = Instant::ZERO;

fn chain(caveats: Caveats<'_>) -> GuestChain {
    let root = Secret::new([9; 32]);
    caveats.iter().fold(GuestChain::of(&root), |chain, caveat| chain.narrowed(caveat))
}

fn caveats(bytes: &[u8]) -> Caveats<'_> {
    Caveats::from_bytes(bytes).unwrap()
}

/// The host's end as it weighs what a guest says, and what becomes of it.
fn hear(host: &mut Channel<16>, record: &mut [u8]) -> Vec<Result<String, Error>> {
    let mut events = host.handle_input(NOW, record).unwrap();
    let mut heard = Vec::new();
    while let Some(event) = events.next() {
        if let Ok(Event::Introduced(caveats)) = event {
            events.expect_token(token_hash(chain(caveats).token(&ID).expose()));
        }
        heard.push(event.map(|event| format!("{event:?}").split([' ', '(']).next().unwrap().to_owned()));
    }
    heard
}

#[test]
fn a_guest_is_let_in_with_the_token_of_its_caveats() {
    let [device, host] = Ends::with_params(Suite::Hybrid, false, small()).shake();
    let said = caveats(&[2, 1, 0, b'a', 2, 0, b'b', b'c']);
    let token = chain(said).token(&ID);
    assert_eq!(token.expose()[..8], ID);
    let mut guest = Channel::<16>::connect(&device, token.expose(), &Config::default(), NOW);
    let mut host = Channel::<16>::admit_guest(&host, &Config::default(), NOW);
    let id = guest.open(NOW).unwrap();
    let mut record = vec![0; MAX_RECORD];
    assert_eq!(guest.introduce(said, NOW, &mut record[..64]), Err(Error::NoSpace), "and nothing has changed");
    let len = guest.introduce(said, NOW, &mut record).unwrap();
    assert_eq!(guest.introduce(said, NOW, &mut [0; MAX_RECORD]), Err(Error::Misuse));
    assert_eq!(hear(&mut host, &mut record[..len]), [Ok("Introduced".into()), Ok("Established".into())]);
    let mut record = vec![0; MAX_RECORD];
    let Ok(homing_core::channel::Output::Transmit { len }) = guest.poll_output(NOW, &mut Pipes::default(), &mut record)
    else {
        panic!("nothing to say")
    };
    assert!(hear(&mut host, &mut record[..len]).iter().all(Result::is_ok));
    assert!(host.is_open() && host.streams().acknowledged(id).is_some());
}

/// What the host says to these frames, where they are a guest's or a device's.
fn refused(is_guest: bool, frames: &[Frame<'_>]) -> (Option<Error>, Option<u16>) {
    let [device, host] = Ends::with_params(Suite::Classic, false, small()).shake();
    let config = Config::default();
    let mut session = Session::new(Role::Device, &device, NOW);
    let mut host = if is_guest {
        Channel::<16>::admit_guest(&host, &config, NOW)
    } else {
        Channel::admit(&host, token_hash(&TOKEN), &config, NOW)
    };
    let error = hear(&mut host, &mut sealed(&mut session, NOW, frames)).into_iter().find_map(Result::err);
    let told = error.map(|_| told(&mut session, &mut host, NOW));
    (error, told)
}

#[test]
fn whoever_says_too_much_or_too_little_has_a_wrong_token() {
    let (one, other) = (caveats(&[1, 1, 0, b'a']), caveats(&[1, 1, 0, b'b']));
    let longer = caveats(&[2, 1, 0, b'a', 1, 0, b'b']);
    let (mine, device) = (chain(one).token(&ID), TOKEN);
    let auth = |token| Frame::Auth(Auth { token, resume: None });
    let wrong = (Some(Error::Token), Some(code::TOKEN_INVALID));
    assert_eq!(refused(true, &[Frame::Guest(one), auth(mine.expose())]), (None, None));
    assert_eq!(refused(false, &[auth(&device)]), (None, None));
    for said in [other, longer] {
        assert_eq!(refused(true, &[Frame::Guest(said), auth(mine.expose())]), wrong);
    }
    assert_eq!(refused(true, &[auth(mine.expose())]), wrong, "no caveats");
    assert_eq!(refused(true, &[auth(&device)]), wrong, "the device's own token");
    assert_eq!(refused(true, &[Frame::Guest(one), auth(&device)]), wrong);
    assert_eq!(refused(true, &[Frame::Guest(one), Frame::Guest(one), auth(mine.expose())]), wrong, "twice");
    assert_eq!(refused(false, &[Frame::Guest(one), auth(&device)]), wrong, "no guest");
    assert_eq!(refused(false, &[Frame::Guest(one), auth(mine.expose())]), wrong);
    let late = (Some(Error::Violation(homing_core::mux::Violation::Unexpected)), Some(code::PROTOCOL));
    assert_eq!(refused(true, &[Frame::Guest(one), auth(mine.expose()), Frame::Guest(one)]), late);
    assert_eq!(refused(true, &[Frame::PairAck]), (Some(Error::Protocol), Some(code::PROTOCOL)));
}

#[test]
fn a_guest_that_nobody_weighs_is_refused() {
    let [device, host] = Ends::with_params(Suite::Classic, false, small()).shake();
    let said = caveats(&[1, 1, 0, b'a']);
    let mut guest = Channel::<16>::connect(&device, chain(said).token(&ID).expose(), &Config::default(), NOW);
    let mut host = Channel::<16>::admit_guest(&host, &Config::default(), NOW);
    let mut record = vec![0; MAX_RECORD];
    let len = guest.introduce(said, NOW, &mut record).unwrap();
    let heard: Vec<_> = host.handle_input(NOW, &mut record[..len]).unwrap().collect();
    assert!(matches!(heard[..], [Ok(Event::Introduced(_)), Err(Error::Token)]), "{heard:?}");
}

#[test]
fn a_guest_comes_back_for_its_session() {
    let [device, host] = Ends::with_params(Suite::Classic, false, small()).shake();
    let said = caveats(&[1, 1, 0, b'a']);
    let token = chain(said).token(&ID);
    let mut session = Session::new(Role::Device, &device, NOW);
    let mut host = Channel::<16>::admit_guest(&host, &Config::default(), NOW);
    let auth = Frame::Auth(Auth { token: token.expose(), resume: Some((&[1; 16], &[2; 16])) });
    let heard = hear(&mut host, &mut sealed(&mut session, NOW, &[Frame::Guest(said), auth]));
    assert_eq!(heard, ["Introduced", "ResumeRequested", "Established"].map(|event| Ok(event.into())));
}

#[test]
fn caveats_are_bounded() {
    let (mut even, mut odd) = ([0; CAVEATS_MAX + 1], [0; CAVEATS_MAX + 1]);
    let mut len = 0;
    for count in 1..=MAX_CAVEATS {
        core::mem::swap(&mut even, &mut odd);
        let older = (len > 0).then(|| caveats(&odd[..len]));
        assert!(Caveats::add(older, b"", &mut even).is_err());
        len = Caveats::add(older, &[b'x'; 100], &mut even).unwrap().as_bytes().len();
        assert_eq!(caveats(&even[..len]).iter().collect::<Vec<_>>(), vec![&[b'x'; 100][..]; count]);
    }
    assert!(Caveats::add(Some(caveats(&even[..len])), b"x", &mut odd).is_err(), "too many");
    let most = CAVEATS_MAX - 3;
    assert!(Caveats::add(None, &vec![b'x'; most + 1], &mut odd).is_err(), "too long");
    assert_eq!(Caveats::add(None, &vec![b'x'; most], &mut odd).unwrap().as_bytes().len(), CAVEATS_MAX);
    let least = usize::from(Params::default().max_record);
    assert!(CAVEATS_MAX + 1 + 74 <= least, "what a host takes by default holds them and AUTH");
}
