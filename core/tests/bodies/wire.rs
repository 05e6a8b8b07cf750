//! Whatever parses is emitted as the same bytes, and padding says only what it should.

use homing_core::wire::{Frame, HEADER_LEN, Header, MAX_PLAINTEXT, PARAMS_LEN, Params, Reader, Writer, padme};

pub fn check(data: &[u8]) {
    frames(data);
    if let Ok(header) = Header::parse(&mut Reader::new(data)) {
        assert_eq!(header.to_bytes(), data[..HEADER_LEN]);
    }
    if let Ok(params) = Params::parse(&mut Reader::new(data)) {
        assert!(params.is_valid());
        // A later minor version is read and not repeated.
        assert_eq!(params.to_bytes()[1..], data[1..PARAMS_LEN]);
    }
    if let Some((numbers, _)) = data.split_first_chunk::<8>() {
        let [len, max] = [&numbers[..4], &numbers[4..]].map(|n| u32::from_le_bytes(n.try_into().unwrap()) as usize);
        padding(len, max);
        padding(len % 20_000, max % 20_000);
    }
}

fn frames(data: &[u8]) {
    let mut out = vec![0; data.len()];
    let mut r = Reader::new(data);
    loop {
        let before = r.rest();
        let Ok(Some(frame)) = Frame::parse(&mut r) else { return };
        let read = &before[..before.len() - r.rest().len()];
        let mut w = Writer::new(&mut out);
        frame.emit(&mut w).expect("it fits where it came from");
        let len = w.len();
        assert_eq!(&out[..len], read);
        if let Frame::ResumeState(state) = frame {
            assert!(state.entries.iter().count() <= 64);
        }
    }
}

fn padding(len: usize, max: usize) {
    let padded = padme(len, max);
    let most = max.min(MAX_PLAINTEXT);
    assert!(padded >= len && padded <= len.max(most));
    assert_eq!(padme(padded, max), padded, "a padded length is one that padding makes");
    assert!(len < 64 || padded - len <= len * 12 / 100);
    assert!(len > most || padded >= most.min(64));
    if len < most {
        assert!(padded <= padme(len + 1, max), "a longer text is not made shorter");
    }
}
