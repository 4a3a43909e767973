//! The national population database as its connectors meet it: services 037, 033 and 034 over SOAP (domain.md §5.1).
//!
//! It answers about [invented citizens](citizens), confirms and returns (number, name and date of birth must all agree), and looks at every request for what
//! a connector has to do right. Where the published shape is silent, it is the agreement of `docs/rehearsal.md`.

pub mod citizens;
mod names;
pub mod replica;
mod soap;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use data_encoding::{BASE64, HEXLOWER};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, StatusCode, Uri};
use zeroize::Zeroizing;

use crate::behaviour::Behaviour;
use crate::rehearsal::{AT_ONCE, CONNECTION_KEPT, Counterpart, MAINTENANCE_TRICKLE, Rehearsal};
use crate::report::Check;
use citizens::{Born, Citizen, Population, State};
use soap::{MINISTRY, Node, Xml};

/// The path behind the server's address.
pub const PATH: &str = "/dancu";
/// How far a connector's clock may be off.
const CLOCK_OFF_MAX_MS: u64 = 5 * 60 * 1000;
/// The longest request. Answers one made to fill the memory.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Ids that are remembered to see one come again. A rehearsal of more questions than that sees repeats among as many only.
const IDS_MAX: usize = 4_000_000;
/// A clerk who may not ask for any procedure: to rehearse `CAN_BO_KHONG_DUOC_PHEP`.
pub const CLERK_REFUSED: &str = "CB-KHONG-DUOC-PHEP";
/// A procedure that is no permitted purpose: to rehearse `DVC_KHONG_DUOC_PHEP`.
pub const PROCEDURE_REFUSED: &str = "9.999999";

/// The operations, with the service number that each goes by.
const OPERATIONS: [(&str, &str); 3] =
    [("TraCuuThongTinCongDan", "037"), ("XacNhanSoDinhDanhVaCMND", "033"), ("XacThucThongTinHoGiaDinh", "034")];

const CHECKS: &[Check] = &[
    Check {
        id: "operation-agreed",
        vi: "Chỉ gọi ba dịch vụ 037, 033, 034, đúng mã tích hợp, đúng kiểu nội dung",
        en: "Only services 037, 033 and 034 are called, with their numbers and the agreed content type",
    },
    Check {
        id: "element-order",
        vi: "Các phần tử của yêu cầu đúng tên và đúng thứ tự",
        en: "The elements of a request have their names and their order",
    },
    Check {
        id: "headers-present",
        vi: "Đủ X-Road-Client, ApiKey, Timestamp, Authorization và đúng giá trị đã cấp",
        en: "X-Road-Client, ApiKey, Timestamp and Authorization are there, as they were given",
    },
    Check { id: "signature-right", vi: "Chữ ký đúng", en: "The signature is right" },
    Check {
        id: "clock-within-bounds",
        vi: "Đồng hồ lệch không quá 5 phút",
        en: "The clock is off by no more than 5 minutes",
    },
    Check {
        id: "keys-complete",
        vi: "Đủ ba khoá: số, họ và tên, ngày (hoặc năm) sinh",
        en: "All three keys are given: number, name, and date or year of birth",
    },
    Check {
        id: "name-as-agreed",
        vi: "Họ và tên viết hoa, Unicode dựng sẵn (NFC)",
        en: "The name is in upper case and composed Unicode (NFC)",
    },
    Check {
        id: "clerk-mapped",
        vi: "Có thủ tục, cán bộ, đơn vị và tài khoản do Bộ cấp",
        en: "Procedure, clerk, unit and account at the ministry are named",
    },
    Check {
        id: "request-id-new",
        vi: "Mỗi MaYeuCau chỉ được gửi một lần: không hỏi lại một câu hỏi",
        en: "No MaYeuCau comes twice: a question is asked at most once",
    },
    AT_ONCE,
    CONNECTION_KEPT,
    MAINTENANCE_TRICKLE,
];

/// What a connector was given to call with.
#[derive(Clone)]
pub struct Given {
    /// X-Road-Client.
    pub client: String,
    /// ApiKey.
    pub api_key: Zeroizing<String>,
    /// The user of the signature.
    pub user: String,
    /// Its secret.
    pub secret: Zeroizing<String>,
}

/// The counterpart.
pub struct PopulationDatabase {
    population: Population,
    given: Given,
    /// Questions that are answered before the quota is exceeded.
    quota: Option<u64>,
    /// By a key of its own: ids lead to dossiers.
    hashed: RandomState,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    ids: HashSet<u64>,
    questions: u64,
    /// The latest answer, to say it again to somebody else.
    latest: Option<String>,
    /// Turns among the ways of being wrong, and of repeating.
    turns: u64,
}

/// Why there is no answer: MaLoi and MoTa.
type Refusal = (&'static str, &'static str);

impl PopulationDatabase {
    /// Answers about `population` to whoever calls with what was `given`, `quota` questions at most.
    pub fn new(population: Population, given: Given, quota: Option<u64>) -> Self {
        Self { population, given, quota, hashed: RandomState::new(), asked: Mutex::default() }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, run: &Rehearsal, behaviour: Behaviour, url: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let is_xml = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.replace(' ', "").eq_ignore_ascii_case("text/xml;charset=utf-8"))
        });
        let operation = match soap::operation(body) {
            Ok(operation) => operation,
            Err(why) => {
                run.check("operation-agreed", Err(why));
                return xml(StatusCode::INTERNAL_SERVER_ERROR, soap::fault(why));
            }
        };
        let service = OPERATIONS.iter().find(|(name, _)| *name == operation.name);
        let agreed = match service {
            None => Err("an operation that was not agreed"),
            Some((_, number)) if operation.text_of("MaTichHop") != *number => Err("MaTichHop is not the operation's"),
            Some(_) if !is_xml => Err("the content type is not text/xml; charset=utf-8"),
            Some(_) => Ok(()),
        };
        run.check("operation-agreed", agreed);
        let Some((name, _)) = service else {
            return xml(StatusCode::INTERNAL_SERVER_ERROR, soap::fault("no such operation"));
        };
        run.check("element-order", in_order(&operation));
        let id = operation.text_of("MaYeuCau").to_owned();
        let may = self.may_ask(run, behaviour, url, headers, &operation, &id);
        let maintained = match behaviour {
            // By turns with 503, where the server is not there at all.
            Behaviour::Maintenance if self.turn().is_multiple_of(2) => {
                let body = (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")], "maintenance\n");
                return body.into_response();
            }
            Behaviour::Maintenance => Err(("BAO_TRI", "Hệ thống đang bảo trì")),
            _ => Ok(()),
        };
        let content = may.and(maintained).and_then(|()| self.content(name, &operation));
        let content = content.unwrap_or_else(|(code, text)| {
            let mut xml = Xml::default();
            xml.within("Loi", |xml| {
                xml.text("MaLoi", code);
                xml.text("MoTa", text);
            });
            xml.0
        });
        let mut told = Xml::default();
        told.text("MaYeuCau", &id);
        told.0.push_str(&content);
        self.told(behaviour, name, told.0)
    }

    /// Whether whoever calls may ask at all. Every check is made, whichever fails first.
    fn may_ask(
        &self,
        run: &Rehearsal,
        behaviour: Behaviour,
        url: &str,
        headers: &HeaderMap,
        operation: &Node,
        id: &str,
    ) -> Result<(), Refusal> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Given { client, api_key, user, secret } = &self.given;
        let stamp = header("Timestamp");
        let present = if header("X-Road-Client") != client {
            Err("X-Road-Client is missing or another")
        } else if header("ApiKey") != api_key.as_str() {
            Err("ApiKey is missing or another")
        } else if stamp.is_empty() {
            Err("Timestamp is missing")
        } else if !headers.contains_key(AUTHORIZATION) {
            Err("Authorization is missing")
        } else {
            Ok(())
        };
        run.check("headers-present", present);
        let secret = Zeroizing::new([url, user, stamp, secret].concat());
        let signed = HEXLOWER.encode(digest(&SHA256, secret.as_bytes()).as_ref());
        let wanted = format!("Basic {}", BASE64.encode(format!("{user}:{signed}").as_bytes()));
        let signature =
            if header("Authorization") == wanted { Ok(()) } else { Err("Authorization is not as computed") };
        run.check("signature-right", signature);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let off_by = |ahead_ms: u64| stamp.parse::<u64>().map_or(u64::MAX, |stamp| (now + ahead_ms).abs_diff(stamp));
        let clock = if off_by(0) <= CLOCK_OFF_MAX_MS { Ok(()) } else { Err("Timestamp is more than 5 minutes off") };
        run.check("clock-within-bounds", clock);
        let ahead_ms = match behaviour {
            Behaviour::ClockSkew(minutes) => u64::from(minutes) * 60_000,
            _ => 0,
        };
        let missing =
            ["MaDVC", "MaCanBo", "MaDonVi", "TaiKhoan"].into_iter().find(|name| operation.text_of(name).is_empty());
        run.check("clerk-mapped", missing.map_or(Ok(()), |name| Err(format!("{name} is missing or empty"))));
        let is_new = !id.is_empty() && self.remember(id);
        run.check("request-id-new", if is_new { Ok(()) } else { Err("MaYeuCau is missing, or came before") });
        let keys = keys(operation);
        run.check("keys-complete", keys.as_ref().map(|_| ()).map_err(|why| *why));
        if let Ok(keys) = &keys {
            let as_sent = names::is_as_sent(keys.name);
            run.check(
                "name-as-agreed",
                if as_sent { Ok(()) } else { Err("HoVaTen is not in upper case, or not composed") },
            );
        }
        if present.is_err() || signature.is_err() {
            return Err(("SAI_CHU_KY", "Chữ ký hoặc thông tin truy cập không hợp lệ"));
        }
        if off_by(ahead_ms) > CLOCK_OFF_MAX_MS {
            return Err(("LECH_DONG_HO", "Đồng hồ lệch quá giới hạn"));
        }
        if missing.is_some() || operation.text_of("MaCanBo") == CLERK_REFUSED {
            return Err(("CAN_BO_KHONG_DUOC_PHEP", "Cán bộ chưa được cấp quyền"));
        }
        if operation.text_of("MaDVC") == PROCEDURE_REFUSED {
            return Err(("DVC_KHONG_DUOC_PHEP", "Thủ tục không thuộc danh mục được phép khai thác"));
        }
        let mut asked = self.asked();
        asked.questions += 1;
        match self.quota {
            Some(quota) if asked.questions > quota => Err(("VUOT_HAN_MUC", "Vượt hạn mức khai thác")),
            _ => Ok(()),
        }
    }

    /// Whether an id is new.
    fn remember(&self, id: &str) -> bool {
        let mut asked = self.asked();
        if asked.ids.len() == IDS_MAX {
            asked.ids.clear();
        }
        asked.ids.insert(self.hashed.hash_one(id))
    }

    fn turn(&self) -> u64 {
        let mut asked = self.asked();
        asked.turns += 1;
        asked.turns - 1
    }

    /// What stands in the response behind MaYeuCau.
    fn content(&self, operation: &str, request: &Node) -> Result<String, Refusal> {
        let keys = keys(request).map_err(|_| ("KHONG_KHOP", "Thiếu thông tin đối chiếu"))?;
        let citizen = self.confirmed(&keys);
        let mut xml = Xml::default();
        match operation {
            "TraCuuThongTinCongDan" => self.tell(&mut xml, &citizen?),
            "XacNhanSoDinhDanhVaCMND" => xml.text("KetQua", is_so(citizen)?),
            _ => {
                let home = self.population.household(&citizen?);
                let list = request.child("DanhSachThanhVien");
                let members = list.map_or(&[][..], |list| &list.children);
                let is_member = |member: &Node| {
                    let [number, name] = ["SoDinhDanh", "HoVaTen"].map(|part| member.text_of(part));
                    home.iter().any(|one| one.number == number && names::key(&one.full_name) == names::key(name))
                };
                let all = members.iter().all(is_member);
                xml.text("KetQua", if all { "true" } else { "false" });
                xml.within("DanhSachThanhVien", |xml| {
                    for member in members {
                        xml.within("ThanhVien", |xml| {
                            for part in ["SoDinhDanh", "HoVaTen"] {
                                xml.text(part, member.text_of(part));
                            }
                            xml.text("KetQua", if is_member(member) { "true" } else { "false" });
                        });
                    }
                });
            }
        }
        Ok(xml.0)
    }

    /// The citizen whom all three keys name.
    fn confirmed(&self, keys: &Keys<'_>) -> Result<Citizen, Refusal> {
        let found = match keys.number.len() {
            9 => self.population.by_old_number(keys.number),
            _ => self.population.by_number(keys.number),
        };
        let citizen = found.ok_or(("KHONG_TIM_THAY", "Không tìm thấy công dân"))?;
        let registered = match citizen.born {
            Born::Day(day) => day.strftime("%Y%m%d").to_string(),
            Born::Year(year) => year.to_string(),
        };
        if names::key(&citizen.full_name) != names::key(keys.name) || registered != keys.born {
            return Err(("KHONG_KHOP", "Thông tin không khớp"));
        }
        match citizen.state {
            State::Current => Ok(citizen),
            State::Doubled => Err(("NHIEU_KET_QUA", "Tìm thấy nhiều hơn một công dân")),
            State::Deceased | State::Locked => Err(("BI_KHOA", "Thông tin công dân đang bị khoá")),
        }
    }

    fn tell(&self, xml: &mut Xml, citizen: &Citizen) {
        let population = self.population;
        let person = |xml: &mut Xml, name: &str, of: Option<&Citizen>| {
            xml.within(name, |xml| {
                let Some(of) = of else { return };
                parts(xml, &of.full_name);
                xml.text("QuocTich", "VN");
                xml.text("SoDinhDanh", &of.number);
                xml.text("SoCMND", of.old_number.as_deref().unwrap_or_default());
            });
        };
        let place = |xml: &mut Xml, name: &str, detail: &str| {
            xml.within(name, |xml| {
                xml.text("MaTinhThanh", "46");
                // Nobody has had a district since 1 July 2025; the element stayed.
                xml.text("MaQuanHuyen", "");
                xml.text("MaPhuongXa", citizen.commune);
                xml.text("ChiTiet", detail);
                xml.text("QuocGia", "VN");
            });
        };
        let (parents, spouse) = (population.parents(citizen), population.spouse(citizen));
        let [father, mother] = parents.as_ref().map_or([None, None], |[father, mother]| [Some(father), Some(mother)]);
        let head = population.head(citizen);
        xml.within("CongDan", |xml| {
            xml.text("SoDinhDanh", &citizen.number);
            xml.text("SoCMND", citizen.old_number.as_deref().unwrap_or_default());
            parts(xml, &citizen.full_name);
            xml.text("GioiTinh", if citizen.is_female { "Nữ" } else { "Nam" });
            xml.text("DanToc", "01");
            xml.text("TonGiao", "00");
            xml.text("TinhTrangHonNhan", if spouse.is_some() { "2" } else { "1" });
            xml.text("NhomMau", "");
            xml.within("NgayThangNamSinh", |xml| match citizen.born {
                Born::Day(day) => xml.text("NgayThangNam", &day.strftime("%Y%m%d").to_string()),
                Born::Year(year) => xml.text("Nam", &year.to_string()),
            });
            place(xml, "NoiDangKyKhaiSinh", "");
            xml.text("QuocTich", "VN");
            place(xml, "QueQuan", "");
            place(xml, "ThuongTru", &citizen.street);
            place(xml, "NoiOHienTai", &citizen.street);
            person(xml, "Cha", father);
            person(xml, "Me", mother);
            person(xml, "VoChong", spouse.as_ref());
            person(xml, "NguoiDaiDien", None);
            xml.within("ChuHo", |xml| {
                let is_spouse = citizen.place == citizen.head + 1;
                xml.text(
                    "QuanHe",
                    if head.is_none() {
                        "Chủ hộ"
                    } else if is_spouse {
                        "Vợ chồng"
                    } else {
                        "Con"
                    },
                );
                let head = head.as_ref().unwrap_or(citizen);
                parts(xml, &head.full_name);
                xml.text("SoDinhDanh", &head.number);
            });
            xml.text("SoSoHoKhau", &citizen.household);
        });
    }

    /// The response as the script wants it.
    fn told(&self, behaviour: Behaviour, operation: &str, content: String) -> Response {
        let right = soap::response(operation, MINISTRY, &content);
        let document = match behaviour {
            Behaviour::WrongSchema => match self.turn() % 4 {
                // What is compulsory is missing.
                0 => soap::envelope(&soap::response(operation, MINISTRY, &without(&content))),
                // Something more than was agreed: to be passed over.
                1 => soap::envelope(&soap::response(operation, MINISTRY, &format!("<Moi><X>1</X></Moi>{content}"))),
                2 => soap::envelope(&soap::response(operation, "http://tempuri.org/", &content)),
                _ => {
                    let page = "<html><body>It works!<br></body></html>".to_owned();
                    return ([(CONTENT_TYPE, "text/html")], page).into_response();
                }
            },
            Behaviour::Duplicate => match (self.turn() % 2, self.asked().latest.clone()) {
                (0, Some(stale)) => stale,
                _ => soap::envelope(&format!("{right}{right}")),
            },
            _ => soap::envelope(&right),
        };
        if behaviour != Behaviour::WrongSchema {
            self.asked().latest = Some(soap::envelope(&right));
        }
        xml(StatusCode::OK, document)
    }
}

/// A name, in its three parts.
fn parts(xml: &mut Xml, name: &str) {
    let (family, rest) = name.split_once(' ').unwrap_or((name, ""));
    let (middle, given) = rest.rsplit_once(' ').unwrap_or(("", rest));
    xml.within("HoVaTen", |xml| {
        for (part, text) in [("Ho", family), ("ChuDem", middle), ("Ten", given)] {
            xml.text(part, text);
        }
    });
}

/// The content of a response without what it is about.
fn without(content: &str) -> String {
    content.split_once("</MaYeuCau>").map_or_else(String::new, |(id, _)| format!("{id}</MaYeuCau>"))
}

/// Whether a number, a name and a date of birth are one citizen's.
fn is_so(citizen: Result<Citizen, Refusal>) -> Result<&'static str, Refusal> {
    match citizen {
        Ok(_) => Ok("true"),
        Err(("KHONG_TIM_THAY" | "KHONG_KHOP", _)) => Ok("false"),
        Err(refusal) => Err(refusal),
    }
}

/// The three keys of a request. No `Debug`: they are a person's.
struct Keys<'a> {
    number: &'a str,
    name: &'a str,
    /// `yyyymmdd`, or `yyyy`.
    born: &'a str,
}

fn keys(request: &Node) -> Result<Keys<'_>, &'static str> {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = match (request.text_of("SoDinhDanh"), request.text_of("SoCMND")) {
        (number, "") if digits(number, 12) => number,
        ("", number) if digits(number, 9) => number,
        _ => return Err("not one number: SoDinhDanh of 12 digits or SoCMND of 9"),
    };
    let name = request.text_of("HoVaTen");
    if name.is_empty() {
        return Err("HoVaTen is missing");
    }
    let born = request.child("NgayThangNamSinh");
    let part = |part: &str| born.map_or("", |born| born.text_of(part));
    let born = match (part("Nam"), part("NgayThangNam")) {
        (year, "") if digits(year, 4) => year,
        ("", day) if digits(day, 8) => day,
        _ => return Err("not one of Nam (yyyy) and NgayThangNam (yyyyMMdd) in NgayThangNamSinh"),
    };
    Ok(Keys { number, name, born })
}

/// That the elements are those of domain.md §5.1, in their order.
fn in_order(operation: &Node) -> Result<(), String> {
    let order = [
        "MaYeuCau",
        "MaDVC",
        "MaTichHop",
        "MaCanBo",
        "MaDonVi",
        "TaiKhoan",
        "SoDienThoai",
        "SoDinhDanh",
        "SoCMND",
        "HoVaTen",
        "NgayThangNamSinh",
        "DanhSachThanhVien",
    ];
    let mut at = 0;
    for child in &operation.children {
        match order[at..].iter().position(|name| *name == child.name) {
            Some(further) => at += further + 1,
            None if order.contains(&child.name.as_str()) => {
                return Err(format!("{} stands in the wrong place", child.name));
            }
            // Not by its name: whoever mistakes a field for an element may have written a person's data there.
            None => return Err("an element that was not agreed".to_owned()),
        }
    }
    Ok(())
}

fn xml(status: StatusCode, document: String) -> Response {
    (status, [(CONTENT_TYPE, "text/xml; charset=utf-8")], document).into_response()
}

impl Counterpart for PopulationDatabase {
    fn name(&self) -> &'static str {
        "population"
    }

    fn checks(&self) -> &'static [Check] {
        CHECKS
    }

    fn routes(self: Arc<Self>, rehearsal: Arc<Rehearsal>) -> Router {
        let other = Arc::clone(&rehearsal);
        let answer =
            async move |Extension(behaviour): Extension<Behaviour>, uri: Uri, headers: HeaderMap, body: Bytes| {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                let url = format!("https://{host}{}", uri.path_and_query().map_or("", |path| path.as_str()));
                self.answer(&rehearsal, behaviour, &url, &headers, &body)
            };
        let not_agreed = async move || {
            other.check("operation-agreed", Err("another path or method than agreed"));
            StatusCode::NOT_FOUND
        };
        let route = post(answer).fallback(not_agreed.clone());
        Router::new().route(PATH, route).fallback(not_agreed).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
    }
}
