//! A dossier as the portal has it: one record and the steps that led there, made from the dossier's events up to one of them.
//!
//! Both are functions of what the gateway has admitted, and of nothing that is kept here: the same delivery gives the same bytes whenever it
//! is carried, and a later one everything that an earlier one said. Field names and codes are those of docs/portal-fields.md.

use jiff::tz::{Offset, TimeZone};
use lgsp_domain::registry::Registry;
use lgsp_proto::types::{BusinessTime, PartyId, ProcedureCode, Status};
use lgsp_proto::v1;
use lgsp_proto::v1::entry::What;
use prost::Message;
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::reading::Whole;

/// The most entries of one call of `CapNhatTienDoHoSoMC`.
pub(super) const STEPS_AT_ONCE: usize = 10;

/// The longest texts, in characters, as the portal takes them.
const SUMMARY_MAX: usize = 1000;
const RESULT_NAME_MAX: usize = 2000;
const FILE_NAME_MAX: usize = 4000;
const CLERK_MAX: usize = 50;

/// A dossier with its events up to one of them.
pub(super) struct Story<'a> {
    dossier: &'a v1::Dossier,
    submission: v1::Submission,
    /// The events in their order, each with what was said; `None` for the submission, and for what was erased or is not known here.
    events: Vec<(&'a v1::Event, Option<What>)>,
    /// For names; without it there are codes only.
    registry: Option<&'a Registry>,
    /// Whether the portal itself took it in.
    is_the_portals: bool,
    /// Where the portal may fetch documents.
    documents_url: Option<&'a str>,
}

impl<'a> Story<'a> {
    /// What is known of a dossier. `None` when there is nothing to tell: its content was erased.
    pub(super) fn of(
        whole: &'a Whole,
        portal: &str,
        registry: Option<&'a Registry>,
        documents_url: Option<&'a str>,
    ) -> Option<Self> {
        let Whole { dossier, events: recorded } = whole;
        let mut submission = None;
        let mut events = Vec::new();
        for recorded in recorded {
            let Some(event) = &recorded.event else { continue };
            let body = Some(&recorded.body).filter(|body| !body.is_empty());
            let mut what = None;
            if event.kind == v1::EventKind::Submitted as i32 {
                submission = body.and_then(|body| v1::Submission::decode(body.clone()).ok());
            } else {
                what = body.and_then(|body| v1::Entry::decode(body.clone()).ok()).and_then(|entry| entry.what);
            }
            events.push((event, what));
        }
        let is_the_portals = dossier.intake_desk == portal;
        Some(Self { dossier, submission: submission?, events, registry, is_the_portals, documents_url })
    }

    /// The dossier's code.
    pub(super) fn code(&self) -> &str {
        &self.dossier.code
    }

    /// `HoSo`.
    pub(super) fn record(&self) -> Value {
        let Self { dossier, submission, .. } = self;
        let nobody = v1::Applicant::default();
        let applicant = submission.applicant.as_ref().unwrap_or(&nobody);
        let (procedure_name, field) = self.procedure();
        let of_kind = |kind: v1::EventKind| self.events.iter().rev().find(|(event, _)| event.kind == kind as i32);
        let time_of = |kind| of_kind(kind).map_or_else(String::new, |(event, _)| stamp(event.occurred_at.as_ref()));
        let status = self.status();
        // A result that was taken back is none.
        let resolved = matches!(status, Some(Status::Resolved | Status::Returned));
        let number = &applicant.personal_number;
        let identities = match number.len() {
            0 => json!([]),
            12 => json!([{ "LoaiDinhDanh": "1", "SoDinhDanh": number }]),
            _ => json!([{ "LoaiDinhDanh": "2", "SoDinhDanh": number }]),
        };
        let paper = if applicant.organisation_number.is_empty() { number } else { &applicant.organisation_number };
        let digitised = submission.components.iter().any(|component| component.document.is_some());
        json!({
            "MaHoSo": dossier.code,
            "MaTTHC": dossier.procedure_code,
            "TenTTHC": procedure_name,
            "MaLinhVuc": "",
            "TenLinhVuc": field,
            "KenhThucHien": dossier.intake_channel.to_string(),
            "ChuHoSo": applicant.full_name,
            "LoaiDoiTuong": applicant.kind.to_string(),
            "MaDoiTuong": "",
            "SoGiayToChuHoSo": paper,
            "DinhDanhCHS": identities,
            "Email": applicant.email,
            "Fax": "",
            "SoDienThoai": applicant.phone,
            "ThongTinKhac": "",
            "TrichYeuHoSo": cut(&submission.summary, SUMMARY_MAX),
            "NgayNopHoSo": stamp(dossier.received_at.as_ref()),
            "NgayTiepNhan": stamp(dossier.received_at.as_ref()),
            "NgayHenTra": self.events.last().map_or_else(String::new, |(event, _)| stamp(event.due_at.as_ref())),
            "NgayKetThucXuLy": if resolved { time_of(v1::EventKind::Resolved) } else { String::new() },
            "NgayTra": time_of(v1::EventKind::Returned),
            "NgayTuChoi": time_of(v1::EventKind::Refused),
            "TrangThaiHoSo": status.map_or_else(String::new, |status| status.number().to_string()),
            "HinhThuc": if dossier.return_channel == v1::ReturnChannel::Post as i32 { "1" } else { "0" },
            "ThongTinTra": submission.return_address,
            "DonViXuLy": self.name_of(&dossier.competent_authority),
            "NoiNopHoSo": if self.is_the_portals { "1" } else { "2" },
            "HoSoCoThanhPhanSoHoa": if digitised { "1" } else { "0" },
            "TaiKhoanDuocXacThucVoiVNeID": "0",
            "DuocThanhToanTrucTuyen": "0",
            "GhiChu": "",
            "TaiLieuNop": self.papers(),
            "DanhSachLePhi": self.fees(),
            "DanhSachTepDinhKemKhac": self.other_papers(),
            "DanhSachHoSoBoSung": self.supplements(),
            "DanhSachGiayToKetQua": if resolved { self.results() } else { json!([]) },
            "DSKetNoiCSDL": [],
        })
    }

    /// The entries of `CapNhatTienDoHoSoMC`, call by call: the step of the reception stands first in each. None before that step.
    pub(super) fn steps(&self) -> Vec<Value> {
        let Some(reception) = self.reception() else { return Vec::new() };
        let first = self.step(reception);
        let others = self.events.iter().filter(|(event, _)| event.sequence > reception.0.sequence);
        let others: Vec<_> = others.map(|event| self.step(event)).collect();
        if others.is_empty() {
            return vec![json!([first])];
        }
        let call = |some: &[Value]| {
            let mut entries = vec![first.clone()];
            entries.extend_from_slice(some);
            Value::Array(entries)
        };
        others.chunks(STEPS_AT_ONCE - 1).map(call).collect()
    }

    /// The status after the last of the events.
    fn status(&self) -> Option<Status> {
        self.events.last().and_then(|(event, _)| status(event))
    }

    /// The event by which the authority received it.
    fn reception(&self) -> Option<&(&'a v1::Event, Option<What>)> {
        self.events.iter().find(|(event, _)| status(event) == Some(Status::Accepted))
    }

    fn step(&self, (event, what): &(&v1::Event, Option<What>)) -> Value {
        let status = status(event);
        let (mut unit, mut content) = (self.name_of(&event.party), status.map_or("", Status::vietnamese).to_owned());
        if let Some(What::Progressed(progress)) = what {
            content.clone_from(&progress.step);
            if !progress.unit.is_empty() {
                unit = self.name_of(&progress.unit);
            }
        }
        json!({
            "MaHoSo": event.dossier_code,
            "NguoiXuLy": cut(&event.actor, CLERK_MAX),
            "ChucDanh": "",
            "ThoiDiemXuLy": stamp(event.occurred_at.as_ref()),
            "PhongBanXuLy": unit,
            "NoiDungXuLy": content,
            "TrangThai": status.map_or_else(String::new, |status| status.number().to_string()),
            "NgayBatDau": stamp(event.occurred_at.as_ref()),
            "NgayKetThucTheoQuyDinh": stamp(event.due_at.as_ref()),
        })
    }

    fn papers(&self) -> Value {
        let named =
            self.submission.components.iter().filter_map(|component| Some((component, component.document.as_ref()?)));
        let paper = |(component, document): (&v1::Component, &v1::DocumentRef)| {
            let digest = data_encoding::HEXLOWER.encode(&document.sha256);
            let name = if document.file_name.is_empty() { &component.name } else { &document.file_name };
            json!({
                "TepDinhKemId": digest,
                "TenTepDinhKem": cut(name, FILE_NAME_MAX),
                "IsDeleted": "False",
                "MaThanhPhanHoSo": component.code,
                "DuongDanTaiTepTin": self.url(&digest),
                "DuocSoHoa": "1",
                "DuocTaiSuDung": "0",
                "DuocLayTuKhoDMQG": "0",
                "MaKetQuaThayThe": "",
            })
        };
        named.map(paper).collect()
    }

    fn other_papers(&self) -> Value {
        let free = self.submission.components.iter().filter(|component| component.code.is_empty());
        let paper = |component: &v1::Component| {
            let pieces = component.originals.saturating_add(component.copies);
            json!({ "TenGiayTo": component.name, "SoLuong": pieces, "LoaiGiayTo": "" })
        };
        free.map(paper).collect()
    }

    fn fees(&self) -> Value {
        let fees = self.events.iter().filter_map(|(_, what)| match what {
            Some(What::FeeRequested(requested)) => Some(&requested.fees),
            _ => None,
        });
        let fee = |fee: &v1::Fee| {
            json!({
                "TenPhiLePhi": fee.name,
                "MaPhiLePhi": fee.code,
                "HinhThucThu": "",
                "Gia": fee.amount_vnd.to_string(),
                "LoaiPhiLePhi": "",
            })
        };
        fees.flatten().map(fee).collect()
    }

    fn supplements(&self) -> Value {
        let mut supplements: Vec<Value> = Vec::new();
        let mut due_before = String::new();
        for (event, what) in &self.events {
            let (at, due) = (stamp(event.occurred_at.as_ref()), stamp(event.due_at.as_ref()));
            match what {
                Some(What::SupplementRequested(requested)) => {
                    let wanted = std::iter::once(&requested.reason).chain(&requested.items).map(String::as_str);
                    supplements.push(json!({
                        "HoSoBoSungId": event.sequence,
                        "NguoiYeuCauBoSung": event.actor,
                        "NoiDungBoSung": wanted.collect::<Vec<_>>().join("; "),
                        "NgayBoSung": at,
                        "NguoiTiepNhanBoSung": "",
                        "ThongTinTiepNhan": "",
                        "NgayTiepNhanBoSung": "",
                        "TrangThaiBoSung": false,
                        "DanhSachGiayToBoSung": [],
                        "DanhSachLePhiBoSung": [],
                        "NgayHenTraTruoc": due_before,
                        "NgayHenTraMoi": "",
                    }));
                }
                Some(What::SupplementProvided(provided)) => {
                    if let Some(last) = supplements.last_mut() {
                        last["NguoiTiepNhanBoSung"] = event.actor.as_str().into();
                        last["ThongTinTiepNhan"] = provided.note.as_str().into();
                        last["NgayTiepNhanBoSung"] = at.into();
                        last["TrangThaiBoSung"] = true.into();
                        last["DanhSachGiayToBoSung"] =
                            provided.components.iter().map(|one| json!({ "TenGiayTo": one.name })).collect();
                        last["NgayHenTraMoi"] = due.as_str().into();
                    }
                }
                _ => {}
            }
            if !due.is_empty() {
                due_before = due;
            }
        }
        supplements.into()
    }

    fn results(&self) -> Value {
        let last = self.events.iter().rev().find_map(|(_, what)| match what {
            Some(What::Resolved(resolved)) => Some(&resolved.results),
            _ => None,
        });
        let result = |result: &v1::Result| {
            let digest = result.document.as_ref().map(|document| data_encoding::HEXLOWER.encode(&document.sha256));
            json!({
                "TenGiayTo": cut(&result.name, RESULT_NAME_MAX),
                "MaThanhPhanHoSo": "",
                "GiayToId": digest.as_deref().unwrap_or_default(),
                "DuongDanTepTinKetQua": digest.as_deref().map_or_else(String::new, |digest| self.url(digest)),
                "MaGiayToKetQua": result.code,
            })
        };
        last.into_iter().flatten().map(result).collect()
    }

    /// Where the portal may fetch a document; nowhere, unless somebody serves them to it.
    fn url(&self, digest: &str) -> String {
        let at = |base: &str| format!("{}/{}/{digest}", base.trim_end_matches('/'), self.dossier.code);
        self.documents_url.map_or_else(String::new, at)
    }

    fn procedure(&self) -> (String, String) {
        let code = self.dossier.procedure_code.parse::<ProcedureCode>().ok();
        let on = self
            .dossier
            .received_at
            .and_then(|at| BusinessTime::from_unix_seconds(at.seconds).ok())
            .map(|at| at.date());
        let found = code.zip(on).zip(self.registry).and_then(|((code, on), registry)| {
            registry.procedure(&code, on).ok().map(|procedure| (procedure.name.clone(), procedure.field.clone()))
        });
        found.unwrap_or_default()
    }

    /// A party's name, or what it is known by.
    fn name_of(&self, party: &str) -> String {
        let known = party.parse::<PartyId>().ok().zip(self.registry);
        let named = known.and_then(|(party, registry)| registry.party(&party).map(|party| party.name.clone()));
        named.unwrap_or_else(|| party.to_owned())
    }
}

/// The codes by which two sides are compared; no personal data is among them.
pub(super) const COMPARED: [&str; 8] = [
    "MaTTHC",
    "KenhThucHien",
    "TrangThaiHoSo",
    "NgayTiepNhan",
    "NgayHenTra",
    "NgayKetThucXuLy",
    "NgayTra",
    "NgayTuChoi",
];

fn status(event: &v1::Event) -> Option<Status> {
    u32::try_from(event.status).ok().and_then(|number| Status::try_from(number).ok())
}

/// `yyyyMMddHHmmss` in Vietnam's legal time, or nothing.
pub(super) fn stamp(time: Option<&Timestamp>) -> String {
    let moment = time.and_then(|time| jiff::Timestamp::new(time.seconds, 0).ok());
    let local = moment.map(|moment| moment.to_zoned(TimeZone::fixed(Offset::constant(7))));
    local.map_or_else(String::new, |local| local.strftime("%Y%m%d%H%M%S").to_string())
}

fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: i64 = 1_752_458_400;

    /// A dossier of which each of these was said, an hour after the other.
    fn found(said: Vec<(v1::EventKind, Status, What)>) -> Whole {
        let at = |hours: usize| Some(Timestamp { seconds: RECEIVED + 3600 * hours as i64, nanos: 0 });
        let recorded = |number: usize, kind: v1::EventKind, status: Status, body: Vec<u8>| v1::RecordedEvent {
            event: Some(v1::Event {
                dossier_code: "H57.12-250714-0001".into(),
                sequence: number as u32 + 1,
                kind: kind.into(),
                status: status.number().into(),
                party: "H57.12".into(),
                actor: "c".repeat(60),
                occurred_at: at(number),
                due_at: at(100),
                ..v1::Event::default()
            }),
            body: body.into(),
            ..v1::RecordedEvent::default()
        };
        let submission = v1::Submission {
            applicant: Some(v1::Applicant { kind: 1, personal_number: "046085000001".into(), ..Default::default() }),
            summary: "đ".repeat(1001),
            components: vec![v1::Component {
                code: "to-khai".into(),
                document: Some(v1::DocumentRef { sha256: vec![0xab; 32].into(), ..Default::default() }),
                ..Default::default()
            }],
            ..v1::Submission::default()
        };
        let mut events = vec![recorded(0, v1::EventKind::Submitted, Status::Registered, submission.encode_to_vec())];
        for (kind, status, what) in said {
            let entry = v1::Entry { what: Some(what), ..v1::Entry::default() };
            events.push(recorded(events.len(), kind, status, entry.encode_to_vec()));
        }
        let dossier = v1::Dossier {
            code: "H57.12-250714-0001".into(),
            intake_desk: "H57.101".into(),
            competent_authority: "H57.12".into(),
            intake_channel: 2,
            return_channel: v1::ReturnChannel::Post.into(),
            received_at: at(0),
            ..v1::Dossier::default()
        };
        Whole { dossier, events }
    }

    /// As it was at an event.
    fn until(sequence: usize, found: &Whole) -> Whole {
        Whole { dossier: found.dossier.clone(), events: found.events[..sequence].to_vec() }
    }

    fn decided() -> Whole {
        let progressed = || What::Progressed(v1::Progressed { step: "thẩm định".into(), ..Default::default() });
        let mut said = vec![(v1::EventKind::Accepted, Status::Accepted, What::Accepted(v1::Accepted::default()))];
        said.extend((0..10).map(|_| (v1::EventKind::Progressed, Status::Accepted, progressed())));
        let results = vec![v1::Result { name: "Thông báo".into(), ..Default::default() }];
        let resolved = What::Resolved(v1::Resolved { results, note: String::new() });
        said.push((v1::EventKind::Resolved, Status::Resolved, resolved));
        said.push((v1::EventKind::ResultRecalled, Status::Processing, What::ResultRecalled(Default::default())));
        found(said)
    }

    #[test]
    fn a_dossier_is_told_as_it_was_at_an_event_whatever_came_after_it() {
        let found = decided();
        let record = |sequence| Story::of(&until(sequence, &found), "H57.CDV", None, None).unwrap().record();
        let first = record(1);
        assert_eq!((&first["TrangThaiHoSo"], &first["NgayTiepNhan"]), (&"1".into(), &"20250714090000".into()));
        assert_eq!(first["DinhDanhCHS"][0]["LoaiDinhDanh"], "1");
        assert_eq!(first["TrichYeuHoSo"].as_str().unwrap().chars().count(), 1000);
        assert_eq!(
            (&first["KenhThucHien"], &first["HinhThuc"], &first["NoiNopHoSo"]),
            (&"2".into(), &"1".into(), &"2".into())
        );
        assert_eq!(first["TaiLieuNop"][0]["DuongDanTaiTepTin"], "");
        let resolved = record(13);
        assert_eq!((&resolved["TrangThaiHoSo"], &resolved["NgayKetThucXuLy"]), (&"9".into(), &"20250714210000".into()));
        assert_eq!(resolved["DanhSachGiayToKetQua"][0]["TenGiayTo"], "Thông báo");
        // What was taken back is none, and was none before.
        let recalled = record(14);
        assert_eq!((&recalled["TrangThaiHoSo"], &recalled["NgayKetThucXuLy"]), (&"4".into(), &"".into()));
        assert_eq!(recalled["DanhSachGiayToKetQua"].as_array().unwrap().len(), 0);
        assert_eq!(record(13), resolved);
    }

    #[test]
    fn steps_go_ten_at_a_time_with_the_reception_before_each_and_none_before_it() {
        let found = decided();
        let steps = |sequence| Story::of(&until(sequence, &found), "H57.CDV", None, None).unwrap().steps();
        assert_eq!(steps(1).len(), 0);
        let calls = steps(14);
        let lengths: Vec<_> = calls.iter().map(|call| call.as_array().unwrap().len()).collect();
        assert_eq!(lengths, [10, 4]);
        assert!(calls.iter().all(|call| call[0]["TrangThai"] == "2" && call[0]["ThoiDiemXuLy"] == "20250714100000"));
        let content: Vec<_> = calls[1].as_array().unwrap().iter().map(|step| &step["NoiDungXuLy"]).collect();
        assert_eq!(content, ["Được tiếp nhận", "thẩm định", "Đã xử lý xong", "Đang xử lý"]);
        assert_eq!(calls[0][1]["NguoiXuLy"].as_str().unwrap().len(), 50);
    }

    #[test]
    fn every_field_that_the_portal_is_told_stands_in_the_table_of_field_names() {
        let table = include_str!("../../../docs/portal-fields.md");
        let found = decided();
        let found = until(13, &found);
        let story = Story::of(&found, "H57.CDV", None, None).unwrap();
        let is_named = |name: &String| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
            table.match_indices(name.as_str()).any(|(at, _)| ends(&table[at + name.len()..]))
        };
        let (record, calls) = (story.record(), story.steps());
        for object in [&record, &record["TaiLieuNop"][0], &record["DanhSachGiayToKetQua"][0], &calls[0][1]] {
            let missing: Vec<_> = object.as_object().unwrap().keys().filter(|name| !is_named(name)).collect();
            assert_eq!(missing, [""; 0]);
        }
    }

    #[test]
    fn documents_have_a_url_where_somebody_serves_them_and_what_was_erased_is_not_told() {
        let mut found = until(1, &decided());
        let story = Story::of(&found, "H57.CDV", None, Some("https://tai-lieu.test/portal/")).unwrap();
        let url = format!("https://tai-lieu.test/portal/H57.12-250714-0001/{}", "ab".repeat(32));
        assert_eq!(story.record()["TaiLieuNop"][0]["DuongDanTaiTepTin"], url);
        for recorded in &mut found.events {
            recorded.body = Default::default();
        }
        assert!(Story::of(&found, "H57.CDV", None, None).is_none());
    }
}
