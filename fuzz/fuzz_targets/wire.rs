//! Whatever parses is emitted as the same bytes, and nothing else happens.
#![no_main]

use homing_core::wire::{Frame, HEADER_LEN, Header, PARAMS_LEN, Params, Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut out = vec![0; data.len()];
    let mut r = Reader::new(data);
    while let Ok(Some(frame)) = {
        let before = r.rest();
        Frame::parse(&mut r).inspect(|frame| {
            if let Some(frame) = frame {
                let read = &before[..before.len() - r.rest().len()];
                let mut w = Writer::new(&mut out);
                frame.emit(&mut w).expect("it fits where it came from");
                let len = w.len();
                assert_eq!(&out[..len], read);
            }
        })
    } {
        if let Frame::ResumeState(state) = frame {
            assert!(state.entries.iter().count() <= 64);
        }
    }
    if let Ok(header) = Header::parse(&mut Reader::new(data)) {
        assert_eq!(header.to_bytes(), data[..HEADER_LEN]);
    }
    if let Ok(params) = Params::parse(&mut Reader::new(data)) {
        assert!(params.is_valid());
        // A later minor version is read and not repeated.
        assert_eq!(params.to_bytes()[1..], data[1..PARAMS_LEN]);
    }
});
