//! Part of a document: `Range` and `If-Range` (RFC 9110 §14), one range of bytes at a time.
//!
//! What cannot be read, and several ranges at once, count as none: the whole is a right answer to those.

use http::{HeaderMap, header};

/// Which bytes a caller wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Range {
    /// From the first on, up to the last where one is named.
    From(u64, Option<u64>),
    /// The last so many.
    Last(u64),
}

impl Range {
    /// The range that is asked for of what goes by `tag`.
    pub(super) fn asked(headers: &HeaderMap, tag: &str) -> Option<Self> {
        // Whoever has the beginning of something else needs the whole.
        if headers.get(header::IF_RANGE).is_some_and(|has| has.as_bytes() != tag.as_bytes()) {
            return None;
        }
        let (first, last) = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (first.is_empty(), last.is_empty()) {
            (true, _) => Some(Self::Last(number(last)?)),
            (false, true) => Some(Self::From(number(first)?, None)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// Where it begins, as far as that can be said without the size.
    pub(super) fn begin(self) -> u64 {
        match self {
            Self::From(first, _) => first,
            Self::Last(_) => 0,
        }
    }

    /// Its first byte, and how many, of so many; `None` if there is nothing in it.
    pub(super) fn of(self, size: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::From(first, last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
            Self::Last(length) => (size.saturating_sub(length), size),
        };
        (first < end).then(|| (first, end - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, if_range: Option<&str>) -> Option<Range> {
        let mut headers = HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]);
        if let Some(tag) = if_range {
            headers.insert(header::IF_RANGE, tag.parse().unwrap());
        }
        Range::asked(&headers, "\"ab\"")
    }

    #[test]
    fn one_range_is_read_and_everything_else_is_the_whole() {
        assert_eq!(asked("bytes=2-5", None), Some(Range::From(2, Some(5))));
        assert_eq!(asked("bytes=2-", Some("\"ab\"")), Some(Range::From(2, None)));
        assert_eq!(asked("bytes=-3", None), Some(Range::Last(3)));
        assert_eq!(asked("bytes=99999999999999999999-", None), Some(Range::From(u64::MAX, None)));
        for whole in ["bytes=5-2", "bytes=-", "bytes=+1-2", "bytes=1-2,4-5", "lines=1-2", "bytes 1-2"] {
            assert_eq!(asked(whole, None), None, "{whole}");
        }
        assert_eq!(asked("bytes=2-5", Some("\"other\"")), None);
    }

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        assert_eq!(Range::From(2, Some(5)).of(10), Some((2, 4)));
        assert_eq!(Range::From(2, Some(u64::MAX)).of(10), Some((2, 8)));
        assert_eq!(Range::From(9, None).of(10), Some((9, 1)));
        assert_eq!(Range::Last(3).of(10), Some((7, 3)));
        assert_eq!(Range::Last(30).of(10), Some((0, 10)));
        for nothing in [Range::From(10, None), Range::From(u64::MAX, None), Range::Last(0)] {
            assert_eq!(nothing.of(10), None);
        }
        assert_eq!(Range::Last(3).of(0), None);
    }
}
