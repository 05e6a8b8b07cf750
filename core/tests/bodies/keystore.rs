//! State files that are arbitrary or were changed: nothing but what was sealed opens.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use homing_core::crypto::Secret;
use homing_core::keystore::{HEADER_LEN, Header, file_len, open, seal};
use homing_core::wire::Writer;

#[derive(Arbitrary, Clone, Debug)]
pub enum Input<'a> {
    /// Any file.
    Raw(&'a [u8]),
    /// A sealed file with bytes changed, cut or extended.
    Changed { changes: Vec<(u16, u8)>, cut: Option<u16>, tail: &'a [u8] },
    /// A text that is sealed and opened.
    Sealed { key: u8, generation: u64, text: &'a [u8] },
}

const GENERATION: u64 = 41;

static SEALED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut file = vec![0x5a; file_len(100)];
    seal(&key(7), GENERATION, [1; 16], [2; 24], &mut file).expect("room for the header");
    file
});

pub fn check(input: &Input<'_>) {
    match *input {
        Input::Raw(file) => {
            if let Ok(header) = Header::parse(file) {
                let mut out = [0; HEADER_LEN];
                header.emit(&mut Writer::new(&mut out)).expect("room for a header");
                assert_eq!(out, file[..HEADER_LEN]);
            }
            assert!(open(&key(7), &mut file.to_vec()).is_err(), "nobody sealed this");
        }
        Input::Changed { ref changes, cut, tail } => {
            let mut file = SEALED.clone();
            for (place, change) in changes {
                let place = usize::from(*place) % file.len();
                file[place] ^= change;
            }
            if let Some(len) = cut {
                file.truncate(len.into());
            }
            file.extend(tail);
            let same = file == *SEALED;
            let opened = open(&key(7), &mut file);
            assert_eq!(opened.is_ok(), same);
            if let Ok((generation, text)) = opened {
                assert!(generation == GENERATION && text.iter().all(|byte| *byte == 0x5a));
            }
        }
        Input::Sealed { key: byte, generation, text } => {
            let mut file = vec![0; file_len(text.len())];
            file[HEADER_LEN..][..text.len()].copy_from_slice(text);
            seal(&key(byte), generation, [byte; 16], [3; 24], &mut file).expect("room for the header");
            assert!(open(&key(byte ^ 1), &mut file.clone()).is_err(), "opened with another key");
            let (told, opened) = open(&key(byte), &mut file).expect("its own key opens it");
            assert_eq!((told, &opened[..text.len()]), (generation, text));
            assert!(opened[text.len()..].iter().all(|byte| *byte == 0));
        }
    }
}

fn key(byte: u8) -> Secret<32> {
    Secret::new([byte; 32])
}
