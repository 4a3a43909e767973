//! The four services, over HTTPS against a stand-in for the ministry, and over a real PostgreSQL. All people here are invented.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use lgsp_certs::{CertificateAuthority, server_name};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Ministry as MinistryConfig, Population, PopulationBackend, Replica as ReplicaConfig};
use postgres::Postgres;

mod lost;

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

const ID: [u8; 16] = [0xab; 16];

pub(super) fn question(fields: &[&str], payload: &Value) -> Question {
    Question {
        query_id: Bytes::copy_from_slice(&ID),
        procedure_code: "1.001193".to_owned(),
        acting_party: "H57.101".to_owned(),
        actor: "cb01".to_owned(),
        fields: fields.iter().map(ToString::to_string).collect(),
        payload: payload.to_string().into(),
        time_left_ms: 5000,
        ..Question::default()
    }
}

/// Everything that may be told of claims.
const VERDICTS: [&str; 8] = [
    "all_match",
    "personal_number",
    "full_name",
    "date_of_birth",
    "sex",
    "residence_commune_code",
    "household_number",
    "warnings",
];

pub(super) fn keys(number: &str, name: &str, born: &str) -> Value {
    json!({ "personal_number": number, "full_name": name, "date_of_birth": born })
}

async fn told(serving: &Serving, service: &str, question: &Question) -> Result<Value, ServiceRefusal> {
    let source = serving.sources[&(service.to_owned(), 1)].clone();
    let reply = tokio::time::timeout(Duration::from_secs(30), source.reply(question)).await.unwrap()?;
    Ok(serde_json::from_slice(&reply).unwrap())
}

fn population(backend: PopulationBackend) -> Population {
    Population { party: "G01".parse().unwrap(), at_once: 8.try_into().unwrap(), backend }
}

// --- The ministry ---------------------------------------------------------------------------------------------------------

/// What the stand-in does with a request.
#[derive(Clone)]
enum Does {
    Answer(u16, String),
    /// Reads it, and closes the connection.
    Hangs,
    /// Reads it, and says nothing until the other side goes.
    Waits,
}

/// What it was asked: the head's lines, and the body.
type Asked = Arc<Mutex<Vec<(Vec<String>, String)>>>;

struct StandIn {
    folder: tempfile::TempDir,
    url: String,
    asked: Asked,
    does: Arc<Mutex<Does>>,
}

impl StandIn {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (at, now, day) = (folder.path(), SystemTime::now(), Duration::from_secs(86_400));
        let ca = CertificateAuthority::create(at, &"dancu.test".parse().unwrap(), now).unwrap();
        ca.issue_server(&[server_name("127.0.0.1").unwrap()], day, now).unwrap().write_to(at, "server").unwrap();
        ca.issue_system(&"ket-noi".parse().unwrap(), day, now).unwrap().write_to(at, "client").unwrap();
        let file = |name: &str| at.join(name);
        let roots = file("root.pem");
        let tls = lgsp_certs::tls::https_server_config(&file("server.pem"), &file("server.key"), Some(&roots), now);
        let acceptor = TlsAcceptor::from(Arc::new(tls.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/ws/dancu?v=1", listener.local_addr().unwrap());
        let (asked, does) = (Asked::default(), Arc::new(Mutex::new(Does::Hangs)));
        let (seen, doing) = (asked.clone(), does.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen, doing) = (acceptor.clone(), seen.clone(), doing.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let shown = stream.get_ref().1.peer_certificates().is_some();
                    let _ = talk(BufReader::new(stream), shown, &seen, &doing).await;
                });
            }
        });
        Self { folder, url, asked, does }
    }

    fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    fn answers(&self, response: &str) {
        self.does(Does::Answer(200, response.to_owned()));
    }

    fn private(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    }

    fn config(&self) -> MinistryConfig {
        let file = |name: &str| self.folder.path().join(name);
        let clerk = "[[clerk]]\nparty = \"H57.101\"\nactor = \"cb01\"\nstaff = \"CB7\"\nunit = \"DV7\"\naccount = \"tk7\"\nphone = \"0\"\n";
        MinistryConfig {
            url: self.url.parse().unwrap(),
            bundle: file("root.pem"),
            identity: Some((file("client.pem"), file("client.key"))),
            client: "VN/GOV/H57".to_owned(),
            api_key_file: self.private("api.key", "khoa-api\n"),
            user: "hue".to_owned(),
            secret_file: self.private("secret", "bi-mat\n"),
            clerks_file: self.private("clerks.toml", clerk),
        }
    }

    fn serving(&self) -> Serving {
        serving(&population(PopulationBackend::Ministry(self.config()))).unwrap()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// One connection, for as many requests as come over it.
async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut stream: BufReader<S>,
    shown: bool,
    seen: &Asked,
    doing: &Mutex<Does>,
) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        head.push(format!("certificate: {shown}"));
        seen.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
        let does = doing.lock().unwrap().clone();
        match does {
            Does::Answer(status, body) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
                stream.flush().await?;
            }
            Does::Hangs => return Ok(()),
            Does::Waits => _ = stream.read_u8().await?,
        }
    }
}

fn envelope(operation: &str, content: &str) -> String {
    let id = data_encoding::HEXLOWER.encode(&ID);
    format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><d:{operation}Response \
         xmlns:d=\"http://dancuquocgia.bca\"><d:MaYeuCau>{id}</d:MaYeuCau>{content}</d:{operation}Response></e:Body></e:Envelope>"
    )
}

const CITIZEN: &str = "<d:CongDan><d:SoDinhDanh>046088654321</d:SoDinhDanh><d:HoVaTen><d:Ho>Trần</d:Ho><d:ChuDem>Văn</d:ChuDem><d:Ten>Thử</d:Ten>\
    </d:HoVaTen><d:GioiTinh>Nam</d:GioiTinh><d:TonGiao>01</d:TonGiao><d:NgayThangNamSinh><d:NgayThangNam>19880505</d:NgayThangNam>\
    </d:NgayThangNamSinh><d:ThuongTru><d:MaTinhThanh>46</d:MaTinhThanh><d:MaPhuongXa>19774</d:MaPhuongXa></d:ThuongTru></d:CongDan>";

fn of_a_man() -> Value {
    keys("046088654321", "Trần văn  Thử", "1988-05-05")
}

#[tokio::test]
async fn the_ministry_is_asked_once_signed_and_in_the_clerks_name_and_only_what_may_be_told_is() {
    let ministry = StandIn::start().await;
    ministry.answers(&envelope("TraCuuThongTinCongDan", CITIZEN));
    let serving = ministry.serving();
    let reply =
        told(&serving, "dan-cu-tra-cuu", &question(&["full_name", "residence.commune_code"], &of_a_man())).await;
    assert_eq!(reply, Ok(json!({ "full_name": "Trần Văn Thử", "residence": { "commune_code": "19774" } })));
    let asked = ministry.asked.lock().unwrap().clone();
    let [(head, body)] = &asked[..] else { panic!("it was asked {} times", asked.len()) };
    let header = |name: &str| {
        let value = head.iter().find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name));
        value.unwrap_or_else(|| panic!("{name} in {head:?}")).1.to_owned()
    };
    assert_eq!(head[0], "POST /ws/dancu?v=1 HTTP/1.1");
    assert_eq!(header("content-type"), "text/xml; charset=utf-8");
    assert_eq!((header("x-road-client"), header("apikey")), ("VN/GOV/H57".to_owned(), "khoa-api".to_owned()));
    assert_eq!(header("certificate"), "true");
    // As the other side would check it, from the words of the agreement.
    let timestamp = header("timestamp");
    let covered = format!("{}hue{timestamp}bi-mat", ministry.url);
    let digest = data_encoding::HEXLOWER.encode(&crate::digest::sha256(covered.as_bytes()));
    let credentials = data_encoding::BASE64.encode(format!("hue:{digest}").as_bytes());
    assert_eq!(header("authorization"), format!("Basic {credentials}"));
    let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!((now - timestamp.parse::<i64>().unwrap()).abs() < 60_000, "{timestamp}");
    for part in
        ["<MaYeuCau>abababab", "<MaDVC>1.001193</MaDVC>", "<MaCanBo>CB7</MaCanBo>", "<HoVaTen>TRẦN VĂN THỬ</HoVaTen>"]
    {
        assert!(body.contains(part), "{part} in {body}");
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_question_it_is_not_posted_again() {
    let ministry = StandIn::start().await;
    let serving = ministry.serving();
    let ask = || question(&["sex"], &of_a_man());
    ministry.answers(&envelope("TraCuuThongTinCongDan", CITIZEN));
    assert!(told(&serving, "dan-cu-tra-cuu", &ask()).await.is_ok());
    // Over the connection that is open now, and over a new one.
    for times in 2..5 {
        ministry.does(Does::Hangs);
        assert_eq!(told(&serving, "dan-cu-tra-cuu", &ask()).await, Err(ServiceRefusal::Failed));
        assert_eq!(ministry.count(), times);
    }
    ministry.does(Does::Waits);
    let source = serving.sources[&("dan-cu-tra-cuu".to_owned(), 1)].clone();
    let question = ask();
    assert!(tokio::time::timeout(Duration::from_millis(200), source.reply(&question)).await.is_err());
    ministry.answers(&envelope("TraCuuThongTinCongDan", CITIZEN));
    assert!(told(&serving, "dan-cu-tra-cuu", &ask()).await.is_ok());
    assert_eq!(ministry.count(), 6);
}

#[tokio::test]
async fn a_clerk_whom_the_ministry_does_not_know_asks_nothing() {
    let ministry = StandIn::start().await;
    let serving = ministry.serving();
    let stranger = Question { actor: "cb02".to_owned(), ..question(&["sex"], &of_a_man()) };
    let of_another = Question { acting_party: "H57.102".to_owned(), ..question(&["sex"], &of_a_man()) };
    for question in [stranger, of_another] {
        assert_eq!(told(&serving, "dan-cu-tra-cuu", &question).await, Err(ServiceRefusal::ClerkNotAuthorised));
    }
    assert_eq!(ministry.count(), 0);
}

#[tokio::test]
async fn what_the_ministry_refuses_has_its_word_and_what_it_breaks_is_a_failure() {
    let ministry = StandIn::start().await;
    let operation = "TraCuuThongTinCongDan";
    let error =
        |code: &str| envelope(operation, &format!("<d:Loi><d:MaLoi>{code}</d:MaLoi><d:MoTa>x</d:MoTa></d:Loi>"));
    let somebody_else = CITIZEN.replace("046088654321", "046088654322");
    for (status, body, expected) in [
        (200, error("KHONG_TIM_THAY"), ServiceRefusal::NotFound),
        (200, error("KHONG_KHOP"), ServiceRefusal::Mismatch),
        (200, error("BI_KHOA"), ServiceRefusal::Locked),
        (200, error("BAO_TRI"), ServiceRefusal::Maintenance),
        (503, "<html/>".to_owned(), ServiceRefusal::Maintenance),
        (500, envelope(operation, CITIZEN), ServiceRefusal::Failed),
        (200, error("SAI_CHU_KY"), ServiceRefusal::Failed),
        (200, "<html/>".to_owned(), ServiceRefusal::Failed),
        (200, envelope(operation, &somebody_else), ServiceRefusal::Failed),
        (200, envelope(operation, CITIZEN).replace("abab", "cdcd"), ServiceRefusal::Failed),
        (200, "x".repeat((1 << 20) + 1), ServiceRefusal::Failed),
    ] {
        ministry.does(Does::Answer(status, body.clone()));
        let serving = ministry.serving();
        let refused = told(&serving, "dan-cu-tra-cuu", &question(&["sex"], &of_a_man())).await;
        assert_eq!(refused, Err(expected), "{status} {}", body.get(..200).unwrap_or(&body));
    }
}

#[tokio::test]
async fn an_answer_without_the_number_that_was_asked_for_must_be_of_the_same_name_and_birth() {
    let ministry = StandIn::start().await;
    let serving = ministry.serving();
    let citizen = |old: &str| CITIZEN.replace("<d:HoVaTen>", &format!("{old}<d:HoVaTen>"));
    let look = async |asked: &Value, citizen: String| {
        ministry.answers(&envelope("TraCuuThongTinCongDan", &citizen));
        told(&serving, "dan-cu-tra-cuu", &question(&["sex"], asked)).await
    };
    let (old, other) = ("<d:SoCMND>191234567</d:SoCMND>", "<d:SoCMND>191234568</d:SoCMND>");
    let of = |name, born| keys("191234567", name, born);
    let man = Ok(json!({ "sex": "male" }));
    // By its number it is that citizen, by whatever rules the ministry compares the rest.
    assert_eq!(look(&of("Trần Văn Thử", "1988-05-05"), citizen(old)).await, man);
    assert_eq!(look(&of("Trần Văn Thử", "1988-05-05"), citizen("")).await, man);
    assert_eq!(look(&of("TRẦN VĂN THỬ", "1988"), citizen("")).await, man);
    for (asked, citizen) in [
        (of("Trần Văn Thử", "1988-05-05"), citizen(other)),
        (of("Trần Văn Khác", "1988-05-05"), citizen("")),
        (of("Trần Văn Thử", "1988-05-06"), citizen("")),
        (of("Trần Văn Thử", "1989"), citizen("")),
        (keys("046088654322", "Trần Văn Khác", "1988-05-05"), citizen(old).replace("SoDinhDanh", "So")),
    ] {
        assert_eq!(look(&asked, citizen).await, Err(ServiceRefusal::Failed), "{asked}");
    }
}

#[tokio::test]
async fn while_the_ministry_is_maintained_it_is_left_alone() {
    let ministry = StandIn::start().await;
    for (status, body) in
        [(503, String::new()), (200, envelope("TraCuuThongTinCongDan", "<d:Loi><d:MaLoi>BAO_TRI</d:MaLoi></d:Loi>"))]
    {
        let (serving, before) = (ministry.serving(), ministry.count());
        ministry.does(Does::Answer(status, body));
        let begun = std::time::Instant::now();
        for _ in 0..200 {
            let refused = told(&serving, "dan-cu-tra-cuu", &question(&["sex"], &of_a_man())).await;
            assert_eq!(refused, Err(ServiceRefusal::Maintenance));
        }
        // One, and one for every second that this took.
        let most = 1 + begun.elapsed().as_secs() as usize;
        assert!((1..=most).contains(&(ministry.count() - before)), "{} of {most}", ministry.count() - before);
    }
}

#[tokio::test]
async fn the_ministry_confirms_numbers_and_households_and_verdicts_hold_no_data() {
    let ministry = StandIn::start().await;
    let serving = ministry.serving();
    ministry.answers(&envelope("XacNhanSoDinhDanhVaCMND", "<d:KetQua>true</d:KetQua>"));
    let number = told(&serving, "dan-cu-xac-nhan-so", &question(&["confirmed"], &of_a_man())).await;
    assert_eq!(number, Ok(json!({ "confirmed": true })));
    let member = |number: &str| {
        format!("<d:ThanhVien><d:SoDinhDanh>{number}</d:SoDinhDanh><d:KetQua>true</d:KetQua></d:ThanhVien>")
    };
    let list =
        format!("<d:KetQua>true</d:KetQua><d:DanhSachThanhVien>{}</d:DanhSachThanhVien>", member("046301123456"));
    ministry.answers(&envelope("XacThucThongTinHoGiaDinh", &list));
    let mut asked = of_a_man();
    asked["members"] = json!([{ "personal_number": "046301123456", "full_name": "Lê Thị Hoà" }]);
    let household = told(&serving, "dan-cu-ho-gia-dinh", &question(&["confirmed"], &asked)).await;
    let one = json!({ "personal_number": "046301123456", "confirmed": true });
    assert_eq!(household, Ok(json!({ "confirmed": true, "members": [one] })));
    ministry.answers(&envelope("TraCuuThongTinCongDan", CITIZEN));
    let mut claimed = of_a_man();
    claimed["sex"] = "female".into();
    claimed["residence_commune_code"] = "19774".into();
    let verdicts = told(&serving, "dan-cu-doi-chieu", &question(&VERDICTS, &claimed)).await;
    let expected = json!({
        "all_match": false, "personal_number": "match", "full_name": "match", "date_of_birth": "match", "sex": "mismatch",
        "residence_commune_code": "match", "warnings": ["NUMBER_SEX_DIFFERS"],
    });
    assert_eq!(verdicts, Ok(expected));
    // The ministry does not say what does not match.
    ministry.answers(&envelope("TraCuuThongTinCongDan", "<d:Loi><d:MaLoi>KHONG_KHOP</d:MaLoi></d:Loi>"));
    let verdicts = told(&serving, "dan-cu-doi-chieu", &question(&VERDICTS, &of_a_man())).await.unwrap();
    assert_eq!((&verdicts["all_match"], &verdicts["full_name"]), (&json!(false), &json!("unknown")));
}

#[tokio::test]
async fn nobody_is_asked_over_a_line_to_somebody_else() {
    let (ministry, other) = (StandIn::start().await, StandIn::start().await);
    let config = MinistryConfig { bundle: other.folder.path().join("root.pem"), ..ministry.config() };
    let serving = serving(&population(PopulationBackend::Ministry(config))).unwrap();
    assert_eq!(told(&serving, "dan-cu-tra-cuu", &question(&["sex"], &of_a_man())).await, Err(ServiceRefusal::Failed));
    assert_eq!(ministry.count(), 0);
    let open = MinistryConfig { secret_file: ministry.folder.path().join("secret"), ..ministry.config() };
    fs::set_permissions(&open.secret_file, Permissions::from_mode(0o644)).unwrap();
    let refused = check(&population(PopulationBackend::Ministry(open))).unwrap_err();
    assert!(refused.to_string().contains("population.ministry.secret_file"), "{refused}");
}

// --- The replica ----------------------------------------------------------------------------------------------------------

pub(super) struct Province(pub(super) Postgres);

impl Province {
    /// A replica with a few people in it.
    pub(super) fn start() -> Self {
        let postgres = Postgres::start();
        postgres.sql("CREATE ROLE lgsp_adapter LOGIN");
        postgres.sql(&script(&"dan_cu".parse().unwrap(), "lgsp_adapter"));
        postgres.sql(
            "INSERT INTO dan_cu.citizen (number, old_number, full_name, date_of_birth, sex, religion, residence_commune, household, state) VALUES
             ('046088654321', '191234567', 'Trần Văn Thử', '1988-05-05', 'male', '01', '19774', 'HK1', 'current'),
             ('046301123456', NULL, 'Lê Thị Hòa', '2001-02-03', 'female', NULL, '19774', 'HK1', 'current'),
             ('046150000001', '191234567', 'Phan Thị Già', '1950', 'female', NULL, NULL, NULL, 'current'),
             ('046160000001', '190000001', 'Võ Văn Đôi', '1960-01-01', NULL, NULL, NULL, NULL, 'current'),
             ('046060000002', '190000001', 'Võ Văn Đôi', '1960-01-01', NULL, NULL, NULL, NULL, 'current'),
             ('046040000009', NULL, 'Hồ Văn Khuất', '1940-04-04', 'male', NULL, NULL, NULL, 'deceased')",
        );
        Self(postgres)
    }

    pub(super) fn config(&self) -> ReplicaConfig {
        ReplicaConfig {
            host: self.0.socket().display().to_string(),
            port: self.0.port(),
            database: "postgres".to_owned(),
            user: "lgsp_adapter".to_owned(),
            password_file: None,
            bundle: None,
            plain: false,
            schema: "dan_cu".parse().unwrap(),
            connections: 2.try_into().unwrap(),
            timeout: Duration::from_secs(20),
        }
    }

    fn serving(&self) -> Serving {
        serving(&population(PopulationBackend::Replica(self.config()))).unwrap()
    }
}

#[tokio::test]
async fn the_replica_confirms_whom_all_three_keys_name_and_nobody_else() {
    let province = Province::start();
    let serving = province.serving();
    let look = async |asked: Value| {
        told(&serving, "dan-cu-tra-cuu", &question(&["sex", "residence.commune_code"], &asked)).await
    };
    let man = json!({ "sex": "male", "residence": { "commune_code": "19774" } });
    assert_eq!(look(of_a_man()).await, Ok(man.clone()));
    assert_eq!(look(keys("191234567", "TRẦN VĂN THỬ", "1988-05-05")).await, Ok(man));
    // The other place of the tone; a year where a year is registered.
    assert!(look(keys("046301123456", "LÊ THỊ HOÀ", "2001-02-03")).await.is_ok());
    assert_eq!(look(keys("191234567", "phan thị già", "1950")).await, Ok(json!({ "sex": "female" })));
    for (asked, expected) in [
        (keys("046088654322", "Trần Văn Thử", "1988-05-05"), ServiceRefusal::NotFound),
        (keys("046088654321", "Tran Van Thu", "1988-05-05"), ServiceRefusal::Mismatch),
        (keys("046088654321", "Trần Văn Thử", "1988-05-06"), ServiceRefusal::Mismatch),
        (keys("046088654321", "Trần Văn Thử", "1988"), ServiceRefusal::Mismatch),
        (keys("191234567", "Trần Văn Thử", "1950"), ServiceRefusal::Mismatch),
        (keys("190000001", "Võ Văn Đôi", "1960-01-01"), ServiceRefusal::Ambiguous),
        (keys("046040000009", "Hồ Văn Khuất", "1940-04-04"), ServiceRefusal::Locked),
        // Whether somebody is deceased is not told to who does not know the person, and neither is which key to go on trying.
        (keys("046040000009", "Hồ Văn Khuất", "1940"), ServiceRefusal::NotFound),
        (keys("' OR 1=1 --", "x", "1940"), ServiceRefusal::NotFound),
    ] {
        assert_eq!(look(asked.clone()).await, Err(expected), "{asked}");
    }
}

#[tokio::test]
async fn the_replica_confirms_numbers_and_households_and_judges_claims() {
    let province = Province::start();
    let serving = province.serving();
    let number = async |born| {
        told(&serving, "dan-cu-xac-nhan-so", &question(&[], &keys("046088654321", "Trần Văn Thử", born))).await
    };
    assert_eq!(number("1988-05-05").await, Ok(json!({ "confirmed": true })));
    assert_eq!(number("1988-05-06").await, Ok(json!({ "confirmed": false })));
    let mut asked = of_a_man();
    asked["members"] = json!([
        { "personal_number": "046301123456", "full_name": "lê thị hoà" },
        { "personal_number": "046150000001", "full_name": "Phan Thị Già" },
    ]);
    let household = told(&serving, "dan-cu-ho-gia-dinh", &question(&[], &asked)).await.unwrap();
    assert_eq!(household["confirmed"], false);
    let each: Vec<_> = household["members"].as_array().unwrap().iter().map(|one| one["confirmed"].clone()).collect();
    assert_eq!(each, [true, false]);
    let judge = async |born, claims: Value| {
        let mut asked = keys("046088654321", "Trần Văn Thử", born);
        asked.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        told(&serving, "dan-cu-doi-chieu", &question(&VERDICTS, &asked)).await.unwrap()
    };
    let right = judge("1988-05-05", json!({ "sex": "male", "residence_commune_code": "19774" })).await;
    assert_eq!(right["all_match"], true, "{right}");
    let wrong = judge("1988-05-06", json!({ "sex": "male" })).await;
    assert_eq!(
        wrong,
        json!({ "all_match": false, "personal_number": "match", "full_name": "match", "date_of_birth": "mismatch", "sex": "unknown" })
    );
}

#[tokio::test]
async fn a_claim_is_judged_only_for_who_may_hear_the_verdict() {
    let (province, ministry) = (Province::start(), StandIn::start().await);
    ministry.answers(&envelope("TraCuuThongTinCongDan", CITIZEN));
    for serving in [province.serving(), ministry.serving()] {
        let judge = async |fields: &[&str], claims: Value| {
            let mut asked = of_a_man();
            asked.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            told(&serving, "dan-cu-doi-chieu", &question(fields, &asked)).await.unwrap()
        };
        // The verdict cannot be had by way of the sum either, and what was not judged is not told to be right.
        for fields in [&["all_match", "sex", "warnings"][..], &["all_match"], &["sex"]] {
            let of = async |sex, commune| judge(fields, json!({ "sex": sex, "residence_commune_code": commune })).await;
            for sex in ["male", "female"] {
                assert_eq!(of(sex, "19774").await, of(sex, "19775").await, "{fields:?}");
            }
            let right = of("male", "19774").await;
            let expected = if fields.contains(&"sex") { json!({ "sex": "match" }) } else { json!({}) };
            assert_eq!(right, expected, "{fields:?}");
        }
        let fields = ["all_match", "sex"];
        let both = async |sex| judge(&fields, json!({ "sex": sex })).await;
        assert_eq!(both("male").await, json!({ "all_match": true, "sex": "match" }));
        assert_eq!(both("female").await, json!({ "all_match": false, "sex": "mismatch" }));
        assert_eq!(judge(&["all_match"], json!({})).await, json!({ "all_match": true }));
    }
}

#[tokio::test]
async fn of_whom_is_not_current_nothing_is_told_to_who_does_not_know_all_three_keys() {
    let province = Province::start();
    let serving = province.serving();
    let stranger = keys("046040000008", "Hồ Văn Khuất", "1940-04-04");
    let known_in_part = keys("046040000009", "Hồ Văn Khuất", "1940");
    let known = keys("046040000009", "Hồ Văn Khuất", "1940-04-04");
    for service in ["dan-cu-tra-cuu", "dan-cu-doi-chieu", "dan-cu-xac-nhan-so"] {
        let ask = async |asked: &Value| told(&serving, service, &question(&VERDICTS, asked)).await;
        assert_eq!(ask(&known).await, Err(ServiceRefusal::Locked), "{service}");
        assert_eq!(ask(&known_in_part).await, ask(&stranger).await, "{service}");
        assert_eq!(ask(&stranger).await, Err(ServiceRefusal::NotFound), "{service}");
    }
}

#[tokio::test]
async fn only_who_is_current_is_of_a_household_and_it_may_be_as_large_as_a_dormitory() {
    let province = Province::start();
    province.0.sql(
        "UPDATE dan_cu.citizen SET household = 'HK1' WHERE number = '046040000009';
         INSERT INTO dan_cu.citizen (number, old_number, full_name, date_of_birth, household)
         SELECT lpad(n::text, 12, '0'), lpad(n::text, 9, '0'), 'Lê Thị Nội Trú', '2005', 'HK1' FROM generate_series(1, 200) AS n",
    );
    let serving = province.serving();
    let mut asked = of_a_man();
    asked["members"] = json!([
        { "personal_number": "046301123456", "full_name": "lê thị hoà" },
        { "personal_number": "046040000009", "full_name": "Hồ Văn Khuất" },
        { "personal_number": "000000000200", "full_name": "Lê Thị Nội Trú" },
        { "personal_number": "000000199", "full_name": "Lê Thị Nội Trú" },
        { "personal_number": "000000000198", "full_name": "Lê Thị Ngoại Trú" },
    ]);
    let told = told(&serving, "dan-cu-ho-gia-dinh", &question(&[], &asked)).await.unwrap();
    let each: Vec<_> = told["members"].as_array().unwrap().iter().map(|one| one["confirmed"].clone()).collect();
    assert_eq!(
        (&told["confirmed"], &each[..]),
        (&json!(false), &[true, false, true, true, false].map(Value::from)[..])
    );
}

#[tokio::test]
async fn many_questions_share_few_connections_and_a_new_database_is_found_again() {
    let mut province = Province::start();
    let serving = Arc::new(province.serving());
    let ask = |serving: Arc<Serving>, n: usize| async move {
        let fields: &[&str] = if n.is_multiple_of(2) { &["sex"] } else { &["sex", "religion"] };
        told(&serving, "dan-cu-tra-cuu", &question(fields, &of_a_man())).await
    };
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..200 {
        asked.spawn(ask(serving.clone(), n));
    }
    for told in asked.join_all().await {
        assert_eq!(told.unwrap()["sex"], "male");
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lgsp population connector'";
    assert_eq!(province.0.sql(open), "2");
    // The role reads, and no more.
    let changes = "UPDATE dan_cu.citizen SET sex = 'female'";
    assert!(province.0.try_sql("lgsp_adapter", changes).is_err());
    province.0.kill();
    let failed = ask(serving.clone(), 0).await;
    assert_eq!(failed, Err(ServiceRefusal::Failed));
    province.0.start_again();
    // A connection that died unseen costs one question each, at most.
    let mut answered = 0;
    for n in 0..4 {
        answered += usize::from(ask(serving.clone(), n).await.is_ok());
    }
    assert!(answered >= 2, "{answered}");
}

#[tokio::test]
async fn tables_of_another_form_are_not_read() {
    let province = Province::start();
    province.0.sql("UPDATE dan_cu.version SET version = 2");
    let refused = told(&province.serving(), "dan-cu-tra-cuu", &question(&["sex"], &of_a_man())).await;
    assert_eq!(refused, Err(ServiceRefusal::Failed));
}

#[test]
fn the_services_are_those_of_the_registry_and_their_fields_are_ours() {
    let registry = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/registry/hue");
    let schema = |name: &str| {
        let text = fs::read(registry.join(name)).unwrap();
        lgsp_domain::query::Schema::parse(&text).unwrap()
    };
    let declared = schema("dan-cu-tra-cuu.reply.schema.json");
    let ours: std::collections::BTreeSet<_> = fields::FIELDS.iter().map(|field| field.path.to_owned()).collect();
    assert_eq!(*declared.fields(), ours);
    let services = fs::read_to_string(registry.join("services.toml")).unwrap();
    for name in ["dan-cu-tra-cuu", "dan-cu-xac-nhan-so", "dan-cu-ho-gia-dinh", "dan-cu-doi-chieu"] {
        assert!(services.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
