//! Input that a random string of bytes fills well: many steps, short strings, and all of it read
//! from the front, so that a changed byte changes what comes from there on and nothing else.

use arbitrary::{Arbitrary, Result, Unstructured};

/// Steps until the input is used up.
#[derive(Clone, Debug)]
pub struct Steps<T>(pub Vec<T>);

const MOST_STEPS: usize = 200;

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Steps<T> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < MOST_STEPS {
            steps.push(T::arbitrary(u)?);
        }
        Ok(Self(steps))
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}

/// A few bytes, seldom many: below 32 by one byte for the length, more by two or three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Arbitrary<'a> for Bytes<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let len = match u8::arbitrary(u)? {
            short @ ..224 => usize::from(short % 32),
            224..248 => u8::arbitrary(u)?.into(),
            248.. => u16::arbitrary(u)?.into(),
        };
        u.bytes(len.min(u.len())).map(Self)
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (1, None)
    }
}

impl Bytes<'_> {
    /// The bytes that are read as these.
    pub fn to_input(self) -> Vec<u8> {
        match u8::try_from(self.0.len()) {
            Ok(len @ ..32) => [&[len], self.0].concat(),
            _ => [&[248], &(self.0.len() as u16).to_le_bytes()[..], self.0].concat(),
        }
    }
}
