//! A changed record is refused, and moves nothing.

use homing_core::Instant;
use homing_core::channel::{Config, Error as ChannelError, Output};
use homing_core::mux::{Source, Taken};
use homing_core::session::{Role, Session};
use homing_core::wire::{HEADER_LEN, Params, StreamId, TAG_LEN};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use super::change::change;
use super::support::ends::{channels, keys};

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn changed_records_are_refused(texts in vec(vec(any::<u8>(), 0..200), 1..4), change in change()) {
        let [device, host] = keys([Params::default(); 2]);
        let mut device = Session::<homing_core::crypto::Portable>::new(Role::Device, &device, Instant::ZERO);
        let mut host = Session::<homing_core::crypto::Portable>::new(Role::Host, &host, Instant::ZERO);
        let mut records: Vec<_> = texts.iter().map(|text| {
            let mut buf = [&[0; HEADER_LEN], &text[..], &[0; TAG_LEN]].concat();
            device.seal(Instant::ZERO, &mut buf, text.len()).unwrap();
            buf
        }).collect();
        let last = records.pop().unwrap();
        for (mut record, text) in records.into_iter().zip(&texts) {
            prop_assert_eq!(host.open(Instant::ZERO, &mut record).unwrap(), &text[..]);
        }
        let mut forged = last.clone();
        change.apply(&mut forged);
        let expected = host.next_opened();
        prop_assert!(host.open(Instant::ZERO, &mut forged).is_err());
        prop_assert_eq!(host.next_opened(), expected, "a refused record moves nothing");
        let mut last = last;
        prop_assert_eq!(host.open(Instant::ZERO, &mut last).unwrap(), &texts[texts.len() - 1][..]);
    }

    #[test]
    fn changed_records_end_a_channel_without_events(change in change()) {
        let [mut device, mut host] = channels::<8>([Params { max_streams: 4, ..Params::default() }; 2], &Config::default());
        let id = device.open(Instant::ZERO).unwrap();
        device.streams().wants(id);
        let mut out = vec![0; 17_000];
        let mut source = |_: StreamId, buf: &mut [u8]| {
            buf[..4].copy_from_slice(b"text");
            Taken { len: 4, more: false, fin: false }
        };
        let output = device.poll_output(Instant::ZERO, &mut Closure(&mut source), &mut out).unwrap();
        let Output::Transmit { len } = output else { panic!("a first record") };
        out.truncate(len);
        change.apply(&mut out);
        let error = host.handle_input(Instant::ZERO, &mut out).map(|_| ()).unwrap_err();
        prop_assert!(matches!(error, ChannelError::Discard(_)));
        prop_assert!(host.is_over());
        prop_assert!(matches!(host.handle_input(Instant::ZERO, &mut out), Err(ChannelError::Over)));
    }
}

struct Closure<'f, F>(&'f mut F);

impl<F: FnMut(StreamId, &mut [u8]) -> Taken> Source for Closure<'_, F> {
    fn read(&mut self, id: StreamId, _: u64, buf: &mut [u8]) -> Taken {
        (self.0)(id, buf)
    }
}
