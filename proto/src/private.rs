//! Messages that carry what people wrote or own, or a secret: their `Debug` is their name and nothing else.
//!
//! Whoever logs a request, a delivery or an error with one of them inside logs nothing of a citizen. The list is the build's as
//! well; a test compares it with the fields of the language, so that a field that is added has to be decided about.

/// The messages, by their full names.
pub(crate) const PRIVATE: [&str; 32] = [
    "lgsp.v1.Submission",
    "lgsp.v1.Applicant",
    "lgsp.v1.Component",
    "lgsp.v1.DocumentRef",
    "lgsp.v1.Accepted",
    "lgsp.v1.Refused",
    "lgsp.v1.SupplementRequested",
    "lgsp.v1.SupplementProvided",
    "lgsp.v1.SupplementExpired",
    "lgsp.v1.Withdrawn",
    "lgsp.v1.ProcessingStarted",
    "lgsp.v1.FeePaid",
    "lgsp.v1.Stopped",
    "lgsp.v1.Resolved",
    "lgsp.v1.Result",
    "lgsp.v1.ResultRecalled",
    "lgsp.v1.Returned",
    "lgsp.v1.Extended",
    "lgsp.v1.Paused",
    "lgsp.v1.Progressed",
    "lgsp.v1.SubmitRequest",
    "lgsp.v1.RecordRequest",
    "lgsp.v1.RecordedEvent",
    "lgsp.v1.HandleParkedRequest",
    "lgsp.v1.ParkedAction",
    "lgsp.v1.UploadRequest",
    "lgsp.v1.DownloadResponse",
    "lgsp.v1.JoinToken",
    "lgsp.v1.JoinRequest",
    "lgsp.v1.IssueTokenResponse",
    "lgsp.spool.v1.Queued",
    "lgsp.spool.v1.ExceptionHandled",
];
