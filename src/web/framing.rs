//! Detection of requests whose end is ambiguous.
//!
//! hyper accepts a bare line feed as the end of a line and lets `Transfer-Encoding` override `Content-Length`, as RFC 9112
//! permits. A proxy in front may read such bytes differently (request smuggling), so the server rejects them.

/// Length of the longest header name of interest.
const MAX_NAME: usize = "transfer-encoding".len();

/// Scanner of the bytes of a connection. It counts request heads as hyper does. It treats the bytes of a body as
/// another head, which is harmless, because a connection is closed after a request with a body.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    /// Beginning of the current line, in lower case.
    name: [u8; MAX_NAME],
    /// Length of the current line so far.
    line_len: usize,
    /// Whether the last byte was a carriage return.
    after_carriage_return: bool,
    /// Whether the current head already has a line.
    has_line: bool,
    has_content_length: bool,
    has_transfer_encoding: bool,
    /// Number of complete heads.
    complete_heads: u64,
    /// First ambiguous head, counted from 0.
    first_ambiguous: Option<u64>,
}

impl HeadScanner {
    /// Scans the next bytes of the connection.
    pub(super) fn scan(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
                continue;
            }
            if byte == b':' && self.has_line {
                match self.name.get(..self.line_len) {
                    Some(b"content-length") => self.has_content_length = true,
                    Some(b"transfer-encoding") => self.has_transfer_encoding = true,
                    _ => {}
                }
            }
            if let Some(slot) = self.name.get_mut(self.line_len) {
                *slot = byte.to_ascii_lowercase();
            }
            self.line_len = self.line_len.saturating_add(1);
            self.after_carriage_return = byte == b'\r';
        }
    }

    /// Whether a request has begun and its head is incomplete.
    pub(super) fn inside_head(&self) -> bool {
        self.has_line || self.line_len > 0
    }

    /// Whether the end of the `nth` request (from 0) or an earlier one is ambiguous.
    pub(super) fn is_ambiguous(&self, nth: u64) -> bool {
        self.first_ambiguous.is_some_and(|first| first <= nth)
    }

    fn end_line(&mut self) {
        let is_empty = self.line_len == usize::from(self.after_carriage_return);
        let ends_head = is_empty && self.has_line;
        let has_two_lengths = self.has_content_length && self.has_transfer_encoding;
        if !self.after_carriage_return || (ends_head && has_two_lengths) {
            self.first_ambiguous.get_or_insert(self.complete_heads);
        }
        if ends_head {
            self.complete_heads += 1;
            self.has_content_length = false;
            self.has_transfer_encoding = false;
        }
        // Like hyper, skip empty lines before a request.
        self.has_line = !is_empty;
        self.line_len = 0;
        self.after_carriage_return = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(bytes: &str) -> HeadScanner {
        let mut framing = HeadScanner::default();
        framing.scan(bytes.as_bytes());
        framing
    }

    #[test]
    fn valid_heads_are_counted_and_unambiguous() {
        let framing = scanned("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
        assert_eq!(
            (framing.complete_heads, framing.first_ambiguous, framing.inside_head()),
            (2, None, false)
        );
    }

    #[test]
    fn a_head_ends_at_its_empty_line_in_any_split_of_the_bytes() {
        let head = "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        let mut framing = HeadScanner::default();
        for byte in head.as_bytes() {
            assert_eq!(framing.complete_heads, 0);
            framing.scan(&[*byte]);
        }
        assert_eq!((framing.complete_heads, framing.inside_head()), (1, false));
        assert!(scanned("GET / HT").inside_head());
        assert!(scanned("GET / HTTP/1.1\r\n").inside_head());
    }

    #[test]
    fn a_bare_line_feed_makes_its_head_and_later_ones_ambiguous() {
        let framing = scanned("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\nhost: a\r\n\r\n");
        assert!(!framing.is_ambiguous(0));
        assert!(framing.is_ambiguous(1));
        assert!(framing.is_ambiguous(2));
    }

    #[test]
    fn both_length_headers_in_one_head_are_ambiguous_in_any_case_and_order() {
        let two = "POST / HTTP/1.1\r\ncontent-LENGTH: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(scanned(two).is_ambiguous(0));
        let reversed = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nContent-Length:4\r\n\r\n";
        assert!(scanned(reversed).is_ambiguous(0));
        let apart = "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!scanned(apart).is_ambiguous(1));
        let other = "GET / HTTP/1.1\r\nX-Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!scanned(other).is_ambiguous(0));
    }
}
