//! Frames, parameters and padding: what is written is what is read.

use homing_core::wire::{
    Auth, AuthOk, Close, Frame, PairAccept, PairFinish, Params, Reader, ResumeEntries, ResumeEntry, ResumeState, Scope,
    StreamId, Writer, padme,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;

/// What frames are made of.
#[derive(Clone, Debug)]
struct Parts {
    kind: usize,
    flag: bool,
    small: u8,
    short: u16,
    id: u32,
    numbers: [u64; 2],
    data: Vec<u8>,
    text: String,
    fixed: [u8; 45],
}

const KINDS: usize = 21;

fn parts() -> impl Strategy<Value = Parts> {
    let text = "\\PC{0,64}".prop_filter("at most 64 bytes", |text| text.len() <= 64);
    (0..KINDS, any::<(bool, u8, u16, u32, [u64; 2])>(), vec(any::<u8>(), 0..256), text, any::<[u8; 32]>()).prop_map(
        |(kind, (flag, small, short, id, numbers), data, text, some)| {
            let mut fixed = [1; 45];
            fixed[..32].copy_from_slice(&some);
            Parts { kind, flag, small, short, id, numbers, data, text, fixed }
        },
    )
}

impl Parts {
    /// Hands the frame that the parts make to `f`.
    fn with<T>(&self, f: impl FnOnce(&Frame<'_>) -> T) -> T {
        let (id, [a, b]) = (StreamId(self.id), self.numbers);
        let [token, half, other, device] = [40, 16, 16, 8].map(|len| &self.fixed[..len]);
        let (token, half, other, device) = (
            token.try_into().unwrap(),
            half.try_into().unwrap(),
            <&[u8; 16]>::try_from(other).unwrap(),
            device.try_into().unwrap(),
        );
        let entries = vec![ResumeEntry { id, received: a, limit: b, flags: self.small }; usize::from(self.small) % 65];
        let mut room = vec![0; entries.len() * 21];
        let entries = ResumeEntries::emit_into(&entries, &mut room).unwrap();
        let frame = match self.kind {
            0 => Frame::Ping(a),
            1 => Frame::Pong(a),
            2 => {
                let scope = if self.flag { Scope::Session } else { Scope::Channel };
                Frame::Close(Close { scope, code: self.short, text: &self.text })
            }
            3 => Frame::PairFinish(PairFinish { platform: self.small, name: &self.text }),
            4 => Frame::PairPending(self.short),
            5 => Frame::PairAccept(PairAccept {
                device_id: device,
                token,
                route_id: half,
                capability: &self.fixed,
                host_name: &self.text,
            }),
            6 => Frame::PairAck,
            7 => Frame::Auth(Auth { token, resume: self.flag.then_some((half, other)) }),
            8 => Frame::AuthOk(AuthOk { resumed: self.flag.then_some(half) }),
            9 => Frame::Token(token),
            10 => Frame::TokenAck,
            11 => Frame::Cap(&self.fixed),
            12 => Frame::Rotate(&self.data),
            13 => Frame::Stream { id, offset: a, fin: self.flag, data: &self.data },
            14 => Frame::StreamCredit { id, received: a, limit: b },
            15 => Frame::SessionCredit(a),
            16 => Frame::StreamsCredit(self.id),
            17 => Frame::Reset { id, code: self.short, size: a },
            18 => Frame::Stop { id, code: self.short },
            19 => Frame::Datagram(&self.data),
            _ => Frame::ResumeState(ResumeState { seen: self.id, received: a, limit: b, more: self.flag, entries }),
        };
        f(&frame)
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn frames_survive_the_wire(list in vec(parts(), 1..5), padding in 0..40usize) {
        let mut out = vec![0; 16_384];
        let mut w = Writer::new(&mut out);
        for parts in &list {
            parts.with(|frame| frame.emit(&mut w)).unwrap();
        }
        let len = w.len();
        let mut r = Reader::new(&out[..len + padding]);
        for parts in &list {
            let parsed = Frame::parse(&mut r);
            prop_assert!(parts.with(|frame| parsed == Ok(Some(*frame))), "{parts:?} became {parsed:?}");
        }
        prop_assert_eq!(Frame::parse(&mut r), Ok(None));
    }

    #[test]
    fn whatever_parses_is_emitted_alike(bytes in vec(any::<u8>(), 0..300), kind in parts()) {
        // Random bytes behind a real frame's type reach deeper than random bytes alone.
        let mut first = [0; 2_048];
        let mut w = Writer::new(&mut first);
        kind.with(|frame| frame.emit(&mut w)).unwrap();
        let mut bytes = bytes;
        if let Some(head) = bytes.first_mut() {
            *head = first[0];
        }
        let mut r = Reader::new(&bytes);
        if let Ok(Some(frame)) = Frame::parse(&mut r) {
            let mut out = [0; 512];
            let mut w = Writer::new(&mut out);
            frame.emit(&mut w).unwrap();
            let len = w.len();
            prop_assert_eq!(&out[..len], &bytes[..bytes.len() - r.rest().len()]);
        }
    }

    #[test]
    fn params_survive_the_wire(features in 0..1u32 << 24, record in 1024..=16_384u16, streams in 1..=4096u16,
                               session in 16u32 << 10..=16 << 20, part in 0.0..1.0f64) {
        let stream_window = ((4 << 10) + ((session - (4 << 10)) as f64 * part) as u32).min(session);
        let params = Params { features, max_record: record, max_streams: streams, session_window: session, stream_window };
        prop_assert_eq!(Params::parse(&mut Reader::new(&params.to_bytes())), Ok(params));
    }

    #[test]
    fn padding_is_bounded_and_idempotent(len in 0..=16_384usize, max in 1_024..=16_384usize) {
        let padded = padme(len, max);
        prop_assert!(padded >= len && padded <= len.max(max));
        prop_assert_eq!(padme(padded, max), padded);
        prop_assert!(len < 64 || padded <= len + len * 12 / 100, "{} became {}", len, padded);
    }
}
