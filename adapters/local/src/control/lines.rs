//! Lines off a socket, each of bounded length. Dropping a pending `next` loses nothing.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Why there is no line.
#[derive(Debug)]
pub(super) enum LineError {
    TooLong,
    Io(io::Error),
}

#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    partial: Vec<u8>,
    max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R, max: usize) -> Self {
        Self { reader: BufReader::new(reader), partial: Vec::new(), max }
    }

    /// The next line without its end; `None` at the end. A last line may go without its end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            let bytes = self.reader.fill_buf().await.map_err(LineError::Io)?;
            if bytes.is_empty() {
                let last = core::mem::take(&mut self.partial);
                return Ok((!last.is_empty()).then_some(last));
            }
            let end = bytes.iter().position(|b| *b == b'\n');
            let taken = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            if self.partial.len() + taken.len() > self.max {
                return Err(LineError::TooLong);
            }
            self.partial.extend_from_slice(taken);
            let used = taken.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(core::mem::take(&mut self.partial)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_split_and_bounded() {
        let mut lines = Lines::new(&b"abcd\n\nef"[..], 4);
        for expected in ["abcd", "", "ef"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected.as_bytes());
        }
        assert!(lines.next().await.unwrap().is_none());
        assert!(matches!(Lines::new(&b"abcde\n"[..], 4).next().await, Err(LineError::TooLong)));
        assert!(matches!(Lines::new(&[b'x'; 100_000][..], 4).next().await, Err(LineError::TooLong)));
    }
}
