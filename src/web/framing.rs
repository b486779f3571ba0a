//! Where request heads end, and whether their framing is beyond doubt.
//!
//! hyper takes a bare line feed for a line's end and lets `Transfer-Encoding` win over `Content-Length`, as
//! RFC 9112 permits. A proxy in front may read such bytes differently, so they are refused here.

/// Longest header name of interest.
const NAME: usize = "transfer-encoding".len();

/// Follows the bytes of a connection, line by line. Counts heads as hyper does. Bytes of a body are taken
/// for a further head; that is harmless, because a connection whose request has a body is closed after it.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    /// Beginning of the current line, in lower case.
    name: [u8; NAME],
    /// Length of the current line so far.
    line: usize,
    /// Whether the last byte was a carriage return.
    carriage_return: bool,
    /// Whether the current head has a line already.
    begun: bool,
    content_length: bool,
    transfer_encoding: bool,
    ended: u64,
    ambiguous: Option<u64>,
}

impl HeadScanner {
    /// Takes the next bytes of the connection.
    pub(super) fn scan(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
                continue;
            }
            if byte == b':' && self.begun {
                match self.name.get(..self.line) {
                    Some(b"content-length") => self.content_length = true,
                    Some(b"transfer-encoding") => self.transfer_encoding = true,
                    _ => {}
                }
            }
            if let Some(place) = self.name.get_mut(self.line) {
                *place = byte.to_ascii_lowercase();
            }
            self.line = self.line.saturating_add(1);
            self.carriage_return = byte == b'\r';
        }
    }

    /// Whether a request has begun and its head not ended.
    pub(super) fn inside_head(&self) -> bool {
        self.begun || self.line > 0
    }

    /// Whether it is doubtful where the `nth` head (from 0) or one before it ends, or its body.
    pub(super) fn is_ambiguous(&self, nth: u64) -> bool {
        self.ambiguous.is_some_and(|first| first <= nth)
    }

    fn end_line(&mut self) {
        let empty = self.line == usize::from(self.carriage_return);
        let head_ends = empty && self.begun;
        if !self.carriage_return || (head_ends && self.content_length && self.transfer_encoding) {
            self.ambiguous.get_or_insert(self.ended);
        }
        if head_ends {
            self.ended += 1;
            self.content_length = false;
            self.transfer_encoding = false;
        }
        // Empty lines before a request are skipped, as hyper does.
        self.begun = !empty;
        self.line = 0;
        self.carriage_return = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bytes: &str) -> HeadScanner {
        let mut framing = HeadScanner::default();
        framing.scan(bytes.as_bytes());
        framing
    }

    #[test]
    fn plain_heads_are_counted_and_not_doubted() {
        let framing = after("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
        assert_eq!((framing.ended, framing.ambiguous, framing.inside_head()), (2, None, false));
    }

    #[test]
    fn a_head_is_open_until_its_empty_line_however_it_is_cut() {
        let head = "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        let mut framing = HeadScanner::default();
        for byte in head.as_bytes() {
            assert_eq!(framing.ended, 0);
            framing.scan(&[*byte]);
        }
        assert_eq!((framing.ended, framing.inside_head()), (1, false));
        assert!(after("GET / HT").inside_head());
        assert!(after("GET / HTTP/1.1\r\n").inside_head());
    }

    #[test]
    fn a_bare_line_feed_taints_its_own_head_and_later_ones_only() {
        let framing = after("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\nhost: a\r\n\r\n");
        assert!(!framing.is_ambiguous(0));
        assert!(framing.is_ambiguous(1));
        assert!(framing.is_ambiguous(2));
    }

    #[test]
    fn two_ways_to_end_a_body_in_one_head_are_ambiguous_in_any_case_and_order() {
        let two = "POST / HTTP/1.1\r\ncontent-LENGTH: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(after(two).is_ambiguous(0));
        let reversed = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nContent-Length:4\r\n\r\n";
        assert!(after(reversed).is_ambiguous(0));
        let apart = "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!after(apart).is_ambiguous(1));
        let other = "GET / HTTP/1.1\r\nX-Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!after(other).is_ambiguous(0));
    }
}
