//! What is said to the ministry and what it answers: SOAP 1.1 bodies of the services 037, 033 and 034.
//!
//! Owns the element names and their order; nothing of how they get there. Elements that are not known are passed over; that a compulsory one
//! is missing is a fault, and no fault is repeated in words: they may quote a person.

use lgsp_proto::types::PersonalNumber;
use lgsp_proto::v1::ServiceRefusal;

use super::super::asked::{Asked, Born, MemberJson};
use super::super::fields::{DATE_OF_BIRTH, FIELDS, FULL_NAME, SEX};
use super::clerks::Clerk;
use super::xml::{Element, Of, POPULATION, SOAP, write};

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    LookUp,
    ConfirmNumber,
    ConfirmHousehold,
}

impl Operation {
    /// Its name, and the number of the service (*MaTichHop*).
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::LookUp => ("TraCuuThongTinCongDan", "037"),
            Self::ConfirmNumber => ("XacNhanSoDinhDanhVaCMND", "033"),
            Self::ConfirmHousehold => ("XacThucThongTinHoGiaDinh", "034"),
        }
    }
}

/// A request.
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    /// Names the question; ours, and expected back.
    pub(super) id: &'a str,
    pub(super) procedure: &'a str,
    pub(super) clerk: &'a Clerk,
    pub(super) asked: &'a Asked,
    pub(super) members: &'a [MemberJson],
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoAnswer {
    /// The service says no.
    Refused(ServiceRefusal),
    /// It is not what it should be; a word for the log.
    Not(&'static str),
}

/// A citizen as the ministry tells it: a text for each field, empty where there is none. No `Debug`: all of it is personal.
pub(in super::super) struct Citizen(Vec<Box<str>>);

impl Citizen {
    pub(in super::super) fn value(&self, field: usize) -> Option<&str> {
        self.0.get(field).map(|text| &**text).filter(|text| !text.is_empty())
    }
}

impl Request<'_> {
    /// The envelope.
    pub(super) fn to_xml(&self) -> String {
        let (name, service) = self.operation.names();
        let mut xml = String::with_capacity(1024);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        xml.push_str(&format!(
            "<soapenv:Envelope xmlns:soapenv=\"{SOAP}\"><soapenv:Body><{name} xmlns=\"{POPULATION}\">"
        ));
        let Clerk { staff, unit, account, phone } = self.clerk;
        for (name, text) in [
            ("MaYeuCau", self.id),
            ("MaDVC", self.procedure),
            ("MaTichHop", service),
            ("MaCanBo", staff),
            ("MaDonVi", unit),
            ("TaiKhoan", account),
            ("SoDienThoai", phone),
        ] {
            write(&mut xml, name, text);
        }
        let number = match &self.asked.number {
            PersonalNumber::Citizen(_) => "SoDinhDanh",
            PersonalNumber::Card(_) => "SoCMND",
        };
        write(&mut xml, number, self.asked.number.as_str());
        write(&mut xml, "HoVaTen", &self.asked.name);
        xml.push_str("<NgayThangNamSinh>");
        match self.asked.born {
            Born::Day(_) => write(&mut xml, "NgayThangNam", &self.asked.born.to_string().replace('-', "")),
            Born::Year(_) => write(&mut xml, "Nam", &self.asked.born.to_string()),
        }
        xml.push_str("</NgayThangNamSinh>");
        if self.operation == Operation::ConfirmHousehold {
            xml.push_str("<DanhSachThanhVien>");
            for member in self.members {
                xml.push_str("<ThanhVien>");
                write(&mut xml, "SoDinhDanh", &member.personal_number);
                write(&mut xml, "HoVaTen", &lgsp_domain::person_name::as_asked(&member.full_name));
                xml.push_str("</ThanhVien>");
            }
            xml.push_str("</DanhSachThanhVien>");
        }
        xml.push_str(&format!("</{name}></soapenv:Body></soapenv:Envelope>"));
        xml
    }
}

/// The response of an operation to the request `id`, or why there is none.
pub(super) fn response(document: &[u8], operation: Operation, id: &str) -> Result<Element, NoAnswer> {
    let envelope = Element::read(document).map_err(|_| NoAnswer::Not("the answer is no XML that is taken"))?;
    let mut envelope = Some(envelope).filter(|envelope| envelope.is(Of::Soap, "Envelope"));
    let body = envelope.as_mut().and_then(|envelope| envelope.take(Of::Soap, "Body"));
    let mut body = body.ok_or(NoAnswer::Not("the answer is no SOAP envelope"))?;
    if body.child("Fault").is_some() {
        return Err(NoAnswer::Not("the answer is a SOAP fault"));
    }
    let name = format!("{}Response", operation.names().0);
    let response = body.take(Of::Population, &name).ok_or(NoAnswer::Not("the answer is to another operation"))?;
    if response.child("MaYeuCau").map(Element::text) != Some(id) {
        return Err(NoAnswer::Not("the answer is to another request"));
    }
    match response.child("Loi") {
        Some(error) => Err(refusal(error.child("MaLoi").map_or("", Element::text))),
        None => Ok(response),
    }
}

/// What an error of the service means to whoever asked.
fn refusal(code: &str) -> NoAnswer {
    NoAnswer::Refused(match code {
        "KHONG_TIM_THAY" => ServiceRefusal::NotFound,
        "NHIEU_KET_QUA" => ServiceRefusal::Ambiguous,
        "KHONG_KHOP" => ServiceRefusal::Mismatch,
        "BI_KHOA" => ServiceRefusal::Locked,
        "CAN_BO_KHONG_DUOC_PHEP" => ServiceRefusal::ClerkNotAuthorised,
        "DVC_KHONG_DUOC_PHEP" => ServiceRefusal::PurposeNotPermitted,
        "VUOT_HAN_MUC" => ServiceRefusal::Quota,
        "BAO_TRI" => ServiceRefusal::Maintenance,
        "SAI_CHU_KY" => return NoAnswer::Not("the service does not take our signature: user, secret or URL"),
        "LECH_DONG_HO" => return NoAnswer::Not("the service says that this machine's clock is wrong"),
        "LOI_HE_THONG" => return NoAnswer::Not("the service has an error of its own"),
        _ => return NoAnswer::Not("the service says an error that is not known"),
    })
}

/// The citizen in a response.
///
/// # Errors
/// There is none, or not with the three keys.
pub(super) fn citizen(response: &Element) -> Result<Citizen, NoAnswer> {
    let told = response.child("CongDan").ok_or(NoAnswer::Not("the answer holds no citizen"))?;
    let mut values = Vec::with_capacity(FIELDS.len());
    for (at, field) in FIELDS.iter().enumerate() {
        let element = field.element.iter().try_fold(told, |element, name| element.child(name));
        values.push(match at {
            FULL_NAME => told.child("HoVaTen").map(name).unwrap_or_default().into(),
            DATE_OF_BIRTH => born(told).map(|born| born.to_string()).unwrap_or_default().into(),
            SEX => told.child("GioiTinh").map_or("", |sex| sex_of(sex.text())).into(),
            _ if field.element.last() == Some(&"HoVaTen") => element.map(name).unwrap_or_default().into(),
            _ => element.map_or("", Element::text).into(),
        });
    }
    let citizen = Citizen(values);
    let has_number =
        ["SoDinhDanh", "SoCMND"].iter().any(|name| told.child(name).is_some_and(|it| !it.text().is_empty()));
    if has_number && citizen.value(FULL_NAME).is_some() && citizen.value(DATE_OF_BIRTH).is_some() {
        Ok(citizen)
    } else {
        Err(NoAnswer::Not("the answer's citizen lacks number, name or date of birth"))
    }
}

/// What a confirmation says.
///
/// # Errors
/// It does not.
pub(super) fn confirmed(answer: &Element) -> Result<bool, NoAnswer> {
    match answer.child("KetQua").map(Element::text) {
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        _ => Err(NoAnswer::Not("the answer says neither true nor false")),
    }
}

/// What it says about each member that was asked about, in their order.
///
/// # Errors
/// One of them is not there.
pub(super) fn members(response: &Element, asked: &[MemberJson]) -> Result<Vec<bool>, NoAnswer> {
    let list = response.child("DanhSachThanhVien");
    let of = |member: &MemberJson| {
        let is_it = |said: &&Element| said.child("SoDinhDanh").is_some_and(|it| it.text() == member.personal_number);
        let said = list.and_then(|list| list.children_named("ThanhVien").find(is_it));
        confirmed(said.ok_or(NoAnswer::Not("the answer lacks a member of the household"))?)
    };
    asked.iter().map(of).collect()
}

/// A name: in its parts, or as one text.
fn name(element: &Element) -> String {
    let parts = ["Ho", "ChuDem", "Ten"].map(|part| element.child(part).map_or("", Element::text));
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { element.text().to_owned() } else { parts.join(" ") }
}

fn born(citizen: &Element) -> Option<Born> {
    let element = citizen.child("NgayThangNamSinh")?;
    let part = |name| element.child(name).map(Element::text).filter(|text| !text.is_empty());
    Born::read_wire(part("NgayThangNam").or_else(|| part("Nam"))?)
}

/// In words or in the ministry's numbers.
fn sex_of(text: &str) -> &'static str {
    match text {
        "1" | "Nam" => "male",
        "2" | "Nữ" => "female",
        "" | "0" => "",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fields::{NUMBER, Wanted, reply};
    use super::*;

    fn envelope(body: &str) -> Vec<u8> {
        format!(r#"<s:Envelope xmlns:s="{SOAP}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>"#).into_bytes()
    }

    fn answer(content: &str) -> Vec<u8> {
        let name = "TraCuuThongTinCongDanResponse";
        envelope(&format!(r#"<d:{name} xmlns:d="{POPULATION}">{content}</d:{name}>"#))
    }

    fn looked_up(content: &str) -> Result<Citizen, NoAnswer> {
        citizen(&response(&answer(content), Operation::LookUp, "q1")?)
    }

    const KEYS: &str = "<d:SoDinhDanh>046088654321</d:SoDinhDanh><d:HoVaTen><d:Ho>Trần</d:Ho><d:ChuDem/><d:Ten>Thử</d:Ten></d:HoVaTen>\
                        <d:NgayThangNamSinh><d:NgayThangNam>19880505</d:NgayThangNam></d:NgayThangNamSinh>";

    #[test]
    fn a_request_has_its_elements_in_the_order_of_the_service() {
        let clerk = ["CB&1", "DV1", "tk1", "0234"].map(str::to_owned);
        let [staff, unit, account, phone] = clerk;
        let clerk = Clerk { staff, unit, account, phone };
        let born = Born::read("1988-05-05").unwrap();
        let asked = Asked { number: "046088654321".parse().unwrap(), name: "TRẦN THỬ".to_owned(), born };
        let members =
            [MemberJson { personal_number: "046301123456".to_owned(), full_name: "Trần thị Hoà".to_owned() }];
        let of = |operation| {
            let (id, procedure) = ("q1", "1.001193");
            Request { operation, id, procedure, clerk: &clerk, asked: &asked, members: &members }.to_xml()
        };
        let expected = "<TraCuuThongTinCongDan xmlns=\"http://dancuquocgia.bca\"><MaYeuCau>q1</MaYeuCau><MaDVC>1.001193</MaDVC>\
            <MaTichHop>037</MaTichHop><MaCanBo>CB&amp;1</MaCanBo><MaDonVi>DV1</MaDonVi><TaiKhoan>tk1</TaiKhoan>\
            <SoDienThoai>0234</SoDienThoai><SoDinhDanh>046088654321</SoDinhDanh><HoVaTen>TRẦN THỬ</HoVaTen>\
            <NgayThangNamSinh><NgayThangNam>19880505</NgayThangNam></NgayThangNamSinh></TraCuuThongTinCongDan>";
        assert!(of(Operation::LookUp).contains(expected), "{}", of(Operation::LookUp));
        assert!(of(Operation::ConfirmNumber).contains("<MaTichHop>033</MaTichHop>"));
        assert!(of(Operation::ConfirmHousehold).contains(
            "</NgayThangNamSinh><DanhSachThanhVien><ThanhVien><SoDinhDanh>046301123456</SoDinhDanh><HoVaTen>TRẦN THỊ HOÀ</HoVaTen>"
        ));
        let old = Asked { number: "191234567".parse().unwrap(), name: "A".to_owned(), born: Born::Year(1950) };
        let xml =
            Request { operation: Operation::LookUp, id: "q", procedure: "", clerk: &clerk, asked: &old, members: &[] };
        assert!(xml.to_xml().contains("<SoCMND>191234567</SoCMND>") && xml.to_xml().contains("<Nam>1950</Nam>"));
    }

    #[test]
    fn a_citizen_is_read_and_what_is_not_known_is_passed_over() {
        let told = format!(
            "<d:MaYeuCau>q1</d:MaYeuCau><d:CongDan>{KEYS}<d:Moi><d:GioiTinh>1</d:GioiTinh></d:Moi><d:GioiTinh>2</d:GioiTinh>\
             <d:ThuongTru><d:MaTinhThanh>46</d:MaTinhThanh><d:MaQuanHuyen/><d:MaPhuongXa>19774</d:MaPhuongXa></d:ThuongTru>\
             <d:Me><d:HoVaTen>Lê Thị Mẹ</d:HoVaTen></d:Me></d:CongDan>"
        );
        let citizen = looked_up(&told).ok().unwrap();
        let wanted = Wanted::of(["full_name", "date_of_birth", "sex", "residence.commune_code", "mother.full_name"]);
        let json = String::from_utf8(reply(wanted.with(NUMBER), |field| citizen.value(field))).unwrap();
        assert_eq!(
            json,
            r#"{"personal_number":"046088654321","full_name":"Trần Thử","date_of_birth":"1988-05-05","sex":"female","residence":{"commune_code":"19774"},"mother":{"full_name":"Lê Thị Mẹ"}}"#
        );
    }

    #[test]
    fn an_answer_without_what_is_compulsory_or_to_something_else_is_none() {
        let told = format!("<d:MaYeuCau>q1</d:MaYeuCau><d:CongDan>{KEYS}</d:CongDan>");
        assert!(looked_up(&told).is_ok());
        let breaks = [
            told.replace("q1", "q2"),
            told.replace("MaYeuCau", "MaYeuCau2"),
            told.replace("CongDan", "CongDan2"),
            told.replace("SoDinhDanh", "So"),
            told.replace("HoVaTen", "Ten"),
            told.replace("19880505", "19881305"),
            format!("{told}<d:Loi><d:MaLoi>mới</d:MaLoi></d:Loi>"),
        ];
        for broken in breaks {
            assert!(matches!(looked_up(&broken).err(), Some(NoAnswer::Not(_))), "{broken}");
        }
        let fault = envelope("<s:Fault><faultcode>s:Server</faultcode></s:Fault>");
        assert!(response(&fault, Operation::LookUp, "q1").is_err());
        assert!(response(&answer(&told), Operation::ConfirmNumber, "q1").is_err());
        let elsewhere = String::from_utf8(answer(&told)).unwrap().replace(POPULATION, "urn:dancu");
        assert!(response(elsewhere.as_bytes(), Operation::LookUp, "q1").is_err());
    }

    #[test]
    fn every_error_of_the_service_has_its_word() {
        let of = |code: &str| {
            looked_up(&format!("<d:MaYeuCau>q1</d:MaYeuCau><d:Loi><d:MaLoi>{code}</d:MaLoi></d:Loi>")).err()
        };
        for (code, expected) in [
            ("KHONG_TIM_THAY", ServiceRefusal::NotFound),
            ("NHIEU_KET_QUA", ServiceRefusal::Ambiguous),
            ("KHONG_KHOP", ServiceRefusal::Mismatch),
            ("BI_KHOA", ServiceRefusal::Locked),
            ("CAN_BO_KHONG_DUOC_PHEP", ServiceRefusal::ClerkNotAuthorised),
            ("DVC_KHONG_DUOC_PHEP", ServiceRefusal::PurposeNotPermitted),
            ("VUOT_HAN_MUC", ServiceRefusal::Quota),
            ("BAO_TRI", ServiceRefusal::Maintenance),
        ] {
            assert_eq!(of(code), Some(NoAnswer::Refused(expected)), "{code}");
        }
        for code in ["SAI_CHU_KY", "LECH_DONG_HO", "LOI_HE_THONG", "", "khác"] {
            assert!(matches!(of(code), Some(NoAnswer::Not(_))), "{code}");
        }
    }

    #[test]
    fn a_household_is_answered_for_each_member_that_was_asked_about() {
        let name = "XacThucThongTinHoGiaDinhResponse";
        let said = |number: &str, word: &str| {
            format!("<ThanhVien><SoDinhDanh>{number}</SoDinhDanh><KetQua>{word}</KetQua></ThanhVien>")
        };
        let document = envelope(&format!(
            "<{name} xmlns=\"{POPULATION}\"><MaYeuCau>q1</MaYeuCau><KetQua>false</KetQua><DanhSachThanhVien>{}{}</DanhSachThanhVien></{name}>",
            said("046301123456", "false"),
            said("046088654321", "true"),
        ));
        let response = response(&document, Operation::ConfirmHousehold, "q1").ok().unwrap();
        let asked = |number: &str| MemberJson { personal_number: number.to_owned(), full_name: String::new() };
        assert_eq!(confirmed(&response), Ok(false));
        assert_eq!(members(&response, &[asked("046088654321"), asked("046301123456")]), Ok(vec![true, false]));
        assert!(members(&response, &[asked("046000000000")]).is_err());
    }
}
