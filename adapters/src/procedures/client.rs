//! The national side's wire: HTTPS, JSON, a log-in that gives a session, and `{session, madonvi, service, data}` for every question.
//!
//! Known from practice (2020–2025): the shapes, `error_code` "0" for done, and "-1", "3", "-3" as seen. What the last three mean is nowhere
//! published; read here as fault, maintenance and session over.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lgsp_certs::tls::{TlsFileError, https_client_config};
use lgsp_domain::registry::national::{Detail, Listed};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::config;
use crate::private_file;
use crate::webhook::Connector;

/// The longest list: some 5,700 procedures are 2 MiB.
const LIST_BYTES_MAX: usize = 32 << 20;

/// The longest of all other answers.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// The longest password file.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Why the connector cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The CA certificates.
    #[error("procedures.bundle cannot be used")]
    Bundle(#[from] TlsFileError),
    /// The password.
    #[error("procedures.password_file: {} cannot be used", file.display())]
    Password {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
}

/// Why the national side gave no answer; nothing of what it said is repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Absent {
    /// It says that there is no such procedure.
    NotFound,
    /// It is closed for maintenance.
    Maintenance,
    /// It counts, and it was too much.
    Quota,
    /// Everything else; why, in constant words.
    Failed(&'static str),
}

/// The national procedure database, as it is reached from here.
pub(super) struct National {
    base: Uri,
    user: String,
    password: Zeroizing<String>,
    unit: String,
    destination: Option<String>,
    timeout: Duration,
    client: Client<Connector, Full<Bytes>>,
    /// The session, once there is one. Held while logging in, so that many questions make one log-in.
    session: Mutex<Option<Arc<str>>>,
}

#[derive(Deserialize)]
struct Answer<T> {
    error_code: Code,
    #[serde(default)]
    message: String,
    session: Option<String>,
    result: Option<T>,
}

/// Written as a text or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Text(String),
    Number(i64),
}

/// What became of one exchange with the other side.
enum Said<T> {
    Result(T),
    SessionOver,
}

impl National {
    pub(super) fn open(config: config::Procedures) -> Result<Self, OpenError> {
        let file = config.password_file;
        let password = private_file::read(&file, PASSWORD_BYTES_MAX);
        let password = password.map_err(|source| OpenError::Password { file, source })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(config.at_once.get())
            .build(Connector::tls(Arc::new(https_client_config(&config.bundle)?)));
        Ok(Self {
            base: config.url.uri(),
            user: config.user,
            password: Zeroizing::new(password.trim_end_matches(['\r', '\n']).to_owned()),
            unit: config.unit,
            destination: config.destination,
            timeout: config.timeout,
            client,
            session: Mutex::default(),
        })
    }

    /// Every procedure there is, as the list has it: slips and doubles too.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, Absent> {
        self.ask("LayDanhSachTTHC", json!([]), LIST_BYTES_MAX).await
    }

    /// One procedure.
    pub(super) async fn one(&self, code: &str) -> Result<Detail, Absent> {
        // Known to come as the thing itself, and as a list with the thing in it.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Found {
            Listed(Vec<Detail>),
            Bare(Box<Detail>),
        }
        let found = self.ask("LayThuTuc", json!([{ "MATTHC": code }]), ANSWER_BYTES_MAX).await?;
        let one = match found {
            Found::Listed(list) => list.into_iter().next().ok_or(Absent::NotFound)?,
            Found::Bare(one) => *one,
        };
        if one.code == code { Ok(one) } else { Err(Absent::Failed("the answer is about another procedure")) }
    }

    /// A question within a session; with another session, once, if the first was over.
    async fn ask<T: DeserializeOwned>(&self, service: &'static str, data: Value, most: usize) -> Result<T, Absent> {
        let mut over = None;
        for _ in 0..2 {
            let session = self.session(over.as_ref()).await?;
            let body = json!({ "session": &*session, "madonvi": self.unit, "service": service, "data": data });
            match self.exchange(service, &body, most).await? {
                Said::Result(answer) => return answer.result.ok_or(Absent::Failed("the answer holds no result")),
                Said::SessionOver => over = Some(session),
            }
        }
        Err(Absent::Failed("the session is over as soon as it begins"))
    }

    /// The session in use; a new one if there is none, or if it is still the one that was found to be over.
    async fn session(&self, over: Option<&Arc<str>>) -> Result<Arc<str>, Absent> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| Some(*session) != over) {
            return Ok(Arc::clone(session));
        }
        *held = None;
        let body = json!({ "username": self.user, "password": &*self.password });
        match self.exchange::<Value>("login", &body, ANSWER_BYTES_MAX).await? {
            Said::Result(Answer { session: Some(session), .. }) if !session.is_empty() => {
                tracing::info!(renewed = over.is_some(), "logged in to the national procedure database");
                let session: Arc<str> = session.into();
                *held = Some(Arc::clone(&session));
                Ok(session)
            }
            _ => Err(Absent::Failed("the log-in was refused")),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: &Value,
        most: usize,
    ) -> Result<Said<Answer<T>>, Absent> {
        let told = tokio::time::timeout(self.timeout, self.posted(endpoint, body, most)).await;
        let (status, bytes) = told.map_err(|_| Absent::Failed("no answer in time"))??;
        match status {
            StatusCode::SERVICE_UNAVAILABLE => return Err(Absent::Maintenance),
            StatusCode::TOO_MANY_REQUESTS => return Err(Absent::Quota),
            StatusCode::UNAUTHORIZED if endpoint != "login" => return Ok(Said::SessionOver),
            status if !status.is_success() => return Err(Absent::Failed("the answer's status is no success")),
            _ => {}
        }
        let answer: Answer<T> =
            serde_json::from_slice(&bytes).map_err(|_| Absent::Failed("the answer is not of the known shape"))?;
        let code = match &answer.error_code {
            Code::Text(code) => code.clone(),
            Code::Number(code) => code.to_string(),
        };
        match code.as_str() {
            "0" => Ok(Said::Result(answer)),
            "-3" if endpoint != "login" => Ok(Said::SessionOver),
            "3" => Err(Absent::Maintenance),
            "-1" if answer.message.to_lowercase().contains("không tìm thấy") => Err(Absent::NotFound),
            _ => Err(Absent::Failed("it answered with an error code")),
        }
    }

    async fn posted(&self, endpoint: &str, body: &Value, most: usize) -> Result<(StatusCode, Bytes), Absent> {
        let url = format!("{}/{endpoint}", self.base.to_string().trim_end_matches('/'));
        let mut request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(destination) = &self.destination {
            request = request.header("dstcode", destination);
        }
        let request = request.body(Full::from(body.to_string()));
        let request = request.map_err(|_| Absent::Failed("it cannot be put into a request"))?;
        let answer = self.client.request(request).await;
        let (head, body) = answer.map_err(|_| Absent::Failed("it cannot be reached"))?.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|_| Absent::Failed("the answer is too long or broke off"))?.to_bytes();
        Ok((head.status, body))
    }
}
