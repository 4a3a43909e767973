//! The way to the portal: one login, one session for whoever calls, and what its answers mean.
//!
//! Owns the session. However many calls find it expired, one of them logs in anew, and the others go on with what that gave. Nothing of
//! what was sent or answered is logged, and neither session nor password appears in any error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::trouble::Trouble;
use crate::config;
use crate::private_file;
use crate::webhook::{Connector, Outcome};

/// The longest answer that is read: a page of dossiers has a few hundred bytes each. A portal gone wild takes no more memory.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The longest password.
const MAX_PASSWORD_BYTES: u64 = 1024;

/// See the module.
pub(super) struct Line {
    client: Client<Connector, Full<Bytes>>,
    login: Uri,
    service: Uri,
    username: String,
    password_file: PathBuf,
    destination: HeaderValue,
    unit: String,
    timeout: Duration,
    /// Held while somebody logs in, so that whoever comes meanwhile waits for that session.
    session: Mutex<Option<Session>>,
}

/// What the portal knows us by until it says that it does not.
type Session = Arc<Zeroizing<String>>;

/// Why the portal did not do what it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// It was asked to insert what it has.
    Exists,
    /// It was asked to update what it does not have.
    Missing,
    /// It does not take this as it is, and never will.
    Refused,
    /// The way, the login or the portal as a whole; it may have done it all the same.
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

#[derive(Serialize)]
struct Login<'a> {
    username: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    session: &'a str,
    madonvi: &'a str,
    service: &'a str,
    #[serde(rename = "isUpdating", skip_serializing_if = "Option::is_none")]
    is_updating: Option<&'static str>,
    data: &'a Value,
}

/// What comes back, whatever was asked. Codes come as text or as numbers.
#[derive(Deserialize)]
pub(super) struct Answer {
    error_code: Code,
    #[serde(default)]
    message: String,
    #[serde(default)]
    session: Option<String>,
    /// What was looked for.
    #[serde(default)]
    pub(super) data: Value,
    /// How much there is of it, over all pages.
    #[serde(default, rename = "TongSo")]
    pub(super) total: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Text(String),
    Number(i64),
}

/// What an answer says, by its code and its words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    Done,
    Exists,
    Missing,
    SessionOver,
    Refused,
    Failing,
}

impl Line {
    /// Nothing is said to the portal before there is something to say.
    ///
    /// # Errors
    /// The CA certificates cannot be used.
    pub(super) fn open(config: &config::Portal) -> Result<Self, lgsp_certs::tls::TlsFileError> {
        let tls = config.bundle.as_deref().map(lgsp_certs::tls::https_client_config).transpose()?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(config.at_once.get())
            .build(tls.map_or_else(Connector::plain, |tls| Connector::tls(Arc::new(tls))));
        Ok(Self {
            client,
            login: config.login_url.uri(),
            service: config.service_url.uri(),
            username: config.username.clone(),
            password_file: config.password_file.clone(),
            destination: config.destination.clone(),
            unit: config.unit.clone(),
            timeout: config.timeout,
            session: Mutex::default(),
        })
    }

    /// Asks a service of the portal, logging in before that if need be, and again if the session has expired.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn call(&self, service: &str, is_updating: Option<bool>, data: &Value) -> Result<Answer, Failure> {
        for _ in 0..2 {
            let session = self.session().await?;
            let call = Call {
                session: &session,
                madonvi: &self.unit,
                service,
                is_updating: is_updating.map(|is_updating| if is_updating { "True" } else { "False" }),
                data,
            };
            let answer = self.post(&self.service, &call).await?;
            return match answer.said() {
                Said::Done => Ok(answer),
                Said::Exists => Err(Failure::Exists),
                Said::Missing => Err(Failure::Missing),
                Said::Refused => Err(Failure::Refused),
                Said::Failing => Err(Trouble::Failing.into()),
                Said::SessionOver => {
                    self.is_over(&session).await;
                    continue;
                }
            };
        }
        Err(Trouble::SessionRefused.into())
    }

    /// The session there is, or a new one.
    async fn session(&self) -> Result<Session, Trouble> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref() {
            return Ok(session.clone());
        }
        let password = password(&self.password_file)?;
        let login = Login { username: &self.username, password: &password };
        let answer = self.post(&self.login, &login).await?;
        match (answer.said(), answer.session) {
            (Said::Done, Some(session)) if !session.is_empty() => {
                Ok(held.insert(Arc::new(Zeroizing::new(session))).clone())
            }
            (Said::Done, _) => Err(Trouble::Unreadable),
            // It has no other word for it; what is wrong with the portal as a whole, HTTP says.
            _ => Err(Trouble::LoginRefused),
        }
    }

    /// Forgets a session, unless somebody has got another one since.
    async fn is_over(&self, session: &Session) {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
            *held = None;
        }
    }

    async fn post(&self, to: &Uri, body: &impl Serialize) -> Result<Answer, Trouble> {
        let body = serde_json::to_vec(body).expect("our own types have text keys and finite numbers only");
        let request = Request::post(to.clone())
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header("dstcode", self.destination.clone())
            .body(Full::from(body))
            .map_err(|_| Trouble::Unreachable)?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| of_exchange(&error))?;
            let (head, body) = answer.into_parts();
            match head.status {
                status if status.is_success() => {}
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => return Err(Trouble::Maintenance),
                _ => return Err(Trouble::Failing),
            }
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|_| Trouble::BrokenOff)?;
            // What it says may hold a citizen's data; that it cannot be read is all that is told.
            serde_json::from_slice(&body.to_bytes()).map_err(|_| Trouble::Unreadable)
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Trouble::TimedOut))
    }
}

impl Answer {
    /// The codes 0, -1, 3 and -3 are in use; only that 0 is success is known for certain, and that "đã tồn tại" asks for an update.
    /// So words go before codes, and what neither explains may pass.
    fn said(&self) -> Said {
        let code = match &self.error_code {
            Code::Text(code) => code.trim().parse().unwrap_or(i64::MIN),
            Code::Number(code) => *code,
        };
        let said = self.message.to_lowercase();
        match code {
            0 => Said::Done,
            _ if said.contains("đã tồn tại") => Said::Exists,
            _ if said.contains("không tồn tại") || said.contains("chưa tồn tại") => Said::Missing,
            // "phiên" alone is also a version's ("phiên bản").
            _ if ["phiên làm việc", "phiên đăng nhập", "session"].iter().any(|word| said.contains(word)) => {
                Said::SessionOver
            }
            -3 => Said::SessionOver,
            3 => Said::Refused,
            _ => Said::Failing,
        }
    }
}

/// The password, read each time: it may have been changed.
fn password(file: &Path) -> Result<Zeroizing<String>, Trouble> {
    let text = private_file::read(file, MAX_PASSWORD_BYTES).map_err(|_| Trouble::NoPassword)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(Trouble::NoPassword) } else { Ok(Zeroizing::new(password.to_owned())) }
}

fn of_exchange(error: &hyper_util::client::legacy::Error) -> Trouble {
    match Outcome::of_exchange(error) {
        Outcome::BrokenOff => Trouble::BrokenOff,
        Outcome::TlsUntrusted | Outcome::TlsName | Outcome::TlsTime | Outcome::TlsFailed => Trouble::TlsFailed,
        Outcome::TlsClientCertificate => Trouble::TlsFailed,
        _ => Trouble::Unreachable,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::State;
    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::json;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    #[test]
    fn words_go_before_codes_and_what_neither_explains_may_pass() {
        let of = |code: Value, message: &str| {
            serde_json::from_value::<Answer>(json!({ "error_code": code, "message": message })).unwrap().said()
        };
        assert_eq!(of(json!("0"), "Thành công"), Said::Done);
        assert_eq!(of(json!(0), ""), Said::Done);
        assert_eq!(of(json!("-1"), "Hồ sơ ĐÃ TỒN TẠI trên hệ thống"), Said::Exists);
        assert_eq!(of(json!("-1"), "Hồ sơ không tồn tại"), Said::Missing);
        assert_eq!(of(json!("-1"), "Phiên làm việc hết hạn"), Said::SessionOver);
        assert_eq!(of(json!("-3"), ""), Said::SessionOver);
        assert_eq!(of(json!("3"), "Phiên bản không được hỗ trợ"), Said::Refused);
        assert_eq!(of(json!("3"), "Sai định dạng"), Said::Refused);
        for code in [json!("-1"), json!(7), json!("x")] {
            assert_eq!(of(code, ""), Said::Failing);
        }
    }

    /// A portal whose sessions are numbers, of which the last one counts.
    #[derive(Default)]
    struct Logins(AtomicUsize);

    async fn portal(logins: Arc<Logins>) -> config::Portal {
        async fn login(State(logins): State<Arc<Logins>>, Json(body): Json<Value>) -> Json<Value> {
            let is_right = body == json!({ "username": "hue", "password": "mật khẩu" });
            let number = logins.0.fetch_add(1, Ordering::Relaxed) + 1;
            Json(if is_right {
                json!({ "error_code": "0", "session": number.to_string() })
            } else {
                json!({ "error_code": "-1" })
            })
        }
        async fn service(State(logins): State<Arc<Logins>>, Json(body): Json<Value>) -> Json<Value> {
            let in_force = logins.0.load(Ordering::Relaxed).max(2).to_string();
            let is_over = body["session"] != in_force.as_str();
            Json(if is_over {
                json!({ "error_code": "-3" })
            } else {
                json!({ "error_code": "0", "data": body["data"] })
            })
        }
        at(Router::new().route("/login", post(login)).route("/service", post(service)).with_state(logins)).await
    }

    /// How to reach a portal that answers so, but for the password.
    pub(in super::super) async fn at(router: Router) -> config::Portal {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        config::Portal {
            service_url: format!("http://{address}/service").parse().unwrap(),
            login_url: format!("http://{address}/login").parse().unwrap(),
            username: "hue".to_owned(),
            password_file: "nowhere".into(),
            bundle: None,
            destination: HeaderValue::from_static("G22"),
            unit: "H57".to_owned(),
            parties: Vec::new(),
            at_once: 4.try_into().unwrap(),
            timeout: Duration::from_secs(30),
            documents_url: None,
        }
    }

    #[tokio::test]
    async fn one_call_renews_the_session_for_all_that_find_it_expired() {
        let (logins, folder) = (Arc::new(Logins::default()), tempfile::tempdir().unwrap());
        let mut config = portal(logins.clone()).await;
        let line = |config: &config::Portal| Line::open(config).unwrap();
        let without = line(&config).call("DongBoHoSoMC", Some(false), &json!([])).await;
        assert_eq!(without.err(), Some(Failure::Trouble(Trouble::NoPassword)));

        config.password_file = folder.path().join("password");
        std::fs::write(&config.password_file, "mật khẩu\n").unwrap();
        let line = Arc::new(line(&config));
        let mut calls = JoinSet::new();
        for number in 0..20 {
            let line = line.clone();
            calls.spawn(async move { line.call("TraCuuHoSo", None, &json!([number])).await.map(|answer| answer.data) });
        }
        let mut answered: Vec<_> =
            calls.join_all().await.into_iter().map(|answer| answer.unwrap()[0].as_u64()).collect();
        answered.sort_unstable();
        assert_eq!(answered, (0..20).map(Some).collect::<Vec<_>>());
        // The first session counts as expired at once.
        assert_eq!(logins.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_session_that_is_refused_for_one_dossier_keeps_no_other_from_being_told() {
        let login = || async { Json(json!({ "error_code": "0", "session": "1" })) };
        let service = |Json(body): Json<Value>| async move {
            Json(json!({ "error_code": if body["data"][0] == "bad" { "-3" } else { "0" } }))
        };
        let folder = tempfile::tempdir().unwrap();
        let mut config = at(Router::new().route("/login", post(login)).route("/service", post(service))).await;
        config.password_file = folder.path().join("password");
        std::fs::write(&config.password_file, "x").unwrap();
        let line = Line::open(&config).unwrap();
        for (dossier, failure) in [("good", None), ("bad", Some(Trouble::SessionRefused)), ("good", None)] {
            let answer = line.call("DongBoHoSoMC", Some(false), &json!([dossier])).await;
            assert_eq!(answer.err(), failure.map(Failure::Trouble), "{dossier}");
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_said_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = portal(Arc::default()).await;
        config.password_file = folder.path().join("password");
        std::fs::write(&config.password_file, "another").unwrap();
        let answer = Line::open(&config).unwrap().call("TraCuuHoSo", None, &json!([])).await;
        assert_eq!(answer.err(), Some(Failure::Trouble(Trouble::LoginRefused)));
    }
}
