//! Streams without records: one end under a peer that says what it likes, or two honest ends.

use core::time::Duration;

use arbitrary::Arbitrary;
use homing_core::Instant;
use homing_core::mux::Mux;
use homing_core::session::Role;
use homing_core::wire::{Frame, Reader, Writer};

use super::streams::{CAPS, Done, OWN, STREAMS, Said, Streams};
use super::{Steps, joined};

#[derive(Arbitrary, Clone, Debug)]
pub enum Input<'a> {
    Hostile(Hostile<'a>),
    Joined(Steps<(bool, joined::Step)>),
}

pub fn check(input: &Input<'_>) {
    match input {
        Input::Hostile(hostile) => check_hostile(hostile),
        Input::Joined(steps) => joined::check(steps),
    }
}

/// One end and what happens to it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Hostile<'a> {
    pub host: bool,
    pub steps: Steps<Step<'a>>,
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Step<'a> {
    Said(Said<'a>),
    Done(Done),
    /// The end says what it has to say, in records of this length, and it arrives.
    Poll(u16),
    Pass(u16),
    /// The link is lost, and there is another one.
    Reattach,
}

/// Ends in a violation or goes on; what it holds and sends is what the model allows.
fn check_hostile(Hostile { host, steps }: &Hostile<'_>) {
    let role = if *host { Role::Host } else { Role::Device };
    let mut now = Instant::ZERO;
    let mut mux = Mux::<STREAMS>::new(role, OWN, OWN, CAPS, now);
    let mut streams = Streams::new(u32::from(!*host));
    let mut plain = vec![0; 2_048];
    for step in &steps.0 {
        match step {
            Step::Said(said) => {
                let mut w = Writer::new(&mut plain);
                streams.emit(said, &mut w);
                let len = w.len();
                let mut said = streams.note(&plain[..len]);
                let mut r = Reader::new(&plain[..len]);
                while let Ok(Some(frame)) = Frame::parse(&mut r) {
                    match mux.handle(now, frame) {
                        Ok(Some(event)) => streams.handle(event, &mut said),
                        Ok(None) => {}
                        Err(_) => return,
                    }
                }
            }
            Step::Done(done) => streams.apply(done, &mut mux, now),
            Step::Poll(room) => {
                let mut out = vec![0; 64 + usize::from(*room) % 2_000];
                for _ in 0..16 {
                    mux.handle_timeout(now);
                    let told = mux.has_output();
                    let mut w = Writer::new(&mut out);
                    mux.poll(&mut streams, &mut w);
                    let len = w.len();
                    assert!(told || len == 0, "output without notice");
                    streams.check_sent(&out[..len]);
                    if len == 0 {
                        break;
                    }
                }
            }
            Step::Pass(millis) => now = now + Duration::from_millis((*millis).into()),
            Step::Reattach => {
                mux.reattach();
                streams.reattach();
            }
        }
        assert!(mux.len() <= STREAMS);
    }
}
