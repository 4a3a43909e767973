//! The ten statuses of a dossier, as they are reported to the National Public Service Portal.
//!
//! Owns their numbers, names and report classes. Which status may follow which, and who may say so, is the domain's transition table.

use std::fmt;
use std::str::FromStr;

use super::malformed::{Malformed, compact, rule};

/// Where a dossier stands. The numbers are those of `TrangThaiHoSo` in the portal's dossier synchronisation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Status {
    /// 1, filed online or at a desk that is not competent, and waiting for the competent authority's one-stop unit.
    Registered = 1,
    /// 2, received as complete and valid.
    Accepted = 2,
    /// 3, not received, with form 03 and its reasons. An end.
    NotAccepted = 3,
    /// 4, being decided.
    Processing = 4,
    /// 5, the citizen was asked for papers or data, with form 02.
    SupplementRequested = 5,
    /// 6, the citizen was asked to pay.
    PaymentRequested = 6,
    /// 7, the citizen took it back. An end.
    Withdrawn = 7,
    /// 8, stopped without result, with form 05. An end.
    Stopped = 8,
    /// 9, decided; the result waits for the citizen.
    Resolved = 9,
    /// 10, the result was handed over. An end.
    Returned = 10,
}

/// The column of the one-stop report that a status is counted in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ReportClass {
    /// Statuses 1 and 3.
    NotReceived,
    /// Statuses 2 and 4.
    Processing,
    /// Status 5.
    Supplementing,
    /// Statuses 6 and 8.
    Paused,
    /// Status 7.
    Withdrawn,
    /// Statuses 9 and 10.
    Done,
}

const UNKNOWN: Malformed = rule(
    "STATUS_UNKNOWN",
    "is none of the ten statuses: a number from 1 to 10, or a name such as processing",
    "không phải một trong mười trạng thái hồ sơ: số từ 1 đến 10, hoặc tên như processing",
);

impl Status {
    /// All ten, in the order of their numbers.
    pub const ALL: [Status; 10] = [
        Status::Registered,
        Status::Accepted,
        Status::NotAccepted,
        Status::Processing,
        Status::SupplementRequested,
        Status::PaymentRequested,
        Status::Withdrawn,
        Status::Stopped,
        Status::Resolved,
        Status::Returned,
    ];

    /// The number on the wire, 1 to 10.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name for programs: command line, JSON, metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Registered => "registered",
            Status::Accepted => "accepted",
            Status::NotAccepted => "not_accepted",
            Status::Processing => "processing",
            Status::SupplementRequested => "supplement_requested",
            Status::PaymentRequested => "payment_requested",
            Status::Withdrawn => "withdrawn",
            Status::Stopped => "stopped",
            Status::Resolved => "resolved",
            Status::Returned => "returned",
        }
    }

    /// The name for English readers.
    pub const fn english(self) -> &'static str {
        match self {
            Status::Registered => "Newly registered",
            Status::Accepted => "Accepted",
            Status::NotAccepted => "Not accepted",
            Status::Processing => "Being processed",
            Status::SupplementRequested => "Supplement requested",
            Status::PaymentRequested => "Payment requested",
            Status::Withdrawn => "Withdrawn by the citizen",
            Status::Stopped => "Processing stopped",
            Status::Resolved => "Resolved",
            Status::Returned => "Result returned",
        }
    }

    /// The official name.
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Status::Registered => "Mới đăng ký",
            Status::Accepted => "Được tiếp nhận",
            Status::NotAccepted => "Không được tiếp nhận",
            Status::Processing => "Đang xử lý",
            Status::SupplementRequested => "Yêu cầu bổ sung giấy tờ",
            Status::PaymentRequested => "Yêu cầu thực hiện nghĩa vụ tài chính",
            Status::Withdrawn => "Công dân yêu cầu rút hồ sơ",
            Status::Stopped => "Dừng xử lý",
            Status::Resolved => "Đã xử lý xong",
            Status::Returned => "Đã trả kết quả",
        }
    }

    /// The column of the one-stop report.
    pub const fn report_class(self) -> ReportClass {
        match self {
            Status::Registered | Status::NotAccepted => ReportClass::NotReceived,
            Status::Accepted | Status::Processing => ReportClass::Processing,
            Status::SupplementRequested => ReportClass::Supplementing,
            Status::PaymentRequested | Status::Stopped => ReportClass::Paused,
            Status::Withdrawn => ReportClass::Withdrawn,
            Status::Resolved | Status::Returned => ReportClass::Done,
        }
    }

    /// Whether nothing can follow: 3, 7, 8 and 10.
    pub const fn is_terminal(self) -> bool {
        match self {
            Status::NotAccepted | Status::Withdrawn | Status::Stopped | Status::Returned => true,
            Status::Registered
            | Status::Accepted
            | Status::Processing
            | Status::SupplementRequested
            | Status::PaymentRequested
            | Status::Resolved => false,
        }
    }
}

impl ReportClass {
    /// All six, in the order of the report.
    pub const ALL: [ReportClass; 6] = [
        ReportClass::NotReceived,
        ReportClass::Processing,
        ReportClass::Supplementing,
        ReportClass::Paused,
        ReportClass::Withdrawn,
        ReportClass::Done,
    ];

    /// The name for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReportClass::NotReceived => "not_received",
            ReportClass::Processing => "processing",
            ReportClass::Supplementing => "supplementing",
            ReportClass::Paused => "paused",
            ReportClass::Withdrawn => "withdrawn",
            ReportClass::Done => "done",
        }
    }
}

impl TryFrom<u32> for Status {
    type Error = Malformed;

    fn try_from(number: u32) -> Result<Self, Malformed> {
        Status::ALL.into_iter().find(|status| u32::from(status.number()) == number).ok_or(UNKNOWN)
    }
}

/// Reads the name or, as the portal writes it, the number.
impl FromStr for Status {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        let found =
            Status::ALL.into_iter().find(|status| text == status.as_str() || text == status.number().to_string());
        found.ok_or(UNKNOWN)
    }
}

impl TryFrom<&str> for Status {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ReportClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_run_from_one_to_ten_and_come_back() {
        for (status, number) in Status::ALL.into_iter().zip(1u32..) {
            assert_eq!(u32::from(status.number()), number);
            assert_eq!(Status::try_from(number), Ok(status));
            assert_eq!(number.to_string().parse(), Ok(status));
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        for number in [0, 11, 257, u32::MAX] {
            assert_eq!(Status::try_from(number), Err(UNKNOWN));
        }
    }

    #[test]
    fn names_are_not_shared() {
        let names: BTreeSet<_> = Status::ALL.iter().flat_map(|s| [s.as_str(), s.english(), s.vietnamese()]).collect();
        assert_eq!(names.len(), 30);
        assert_eq!(ReportClass::ALL.iter().map(|c| c.as_str()).collect::<BTreeSet<_>>().len(), 6);
    }

    #[test]
    fn four_statuses_are_an_end() {
        let ends: Vec<_> = Status::ALL.into_iter().filter(|s| s.is_terminal()).map(Status::number).collect();
        assert_eq!(ends, [3, 7, 8, 10]);
    }

    #[test]
    fn every_status_is_counted_in_the_column_of_the_report() {
        use ReportClass::*;
        let expected =
            [NotReceived, Processing, NotReceived, Processing, Supplementing, Paused, Withdrawn, Paused, Done, Done];
        assert_eq!(Status::ALL.map(Status::report_class), expected);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["01", "+1", "Processing", "đang", "0", "11"] {
            assert_eq!(text.parse::<Status>(), Err(UNKNOWN), "{text:?}");
        }
        assert_eq!(" 1".parse::<Status>(), Err(Malformed::Blank));
        assert_eq!("".parse::<Status>(), Err(Malformed::Empty));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<Status>();
        }
    }
}
