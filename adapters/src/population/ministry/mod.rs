//! The ministry's own endpoint: a question is one POST of SOAP over HTTPS, signed and in the clerk's own name there.
//!
//! It is sent once. No answer, half an answer, or a connection that was closed when it was used again is an outcome like any other, and
//! nothing is sent again: the ministry counts what it is asked. Of what comes back nothing is logged but that it was not usable, and why.

mod clerks;
mod maintenance;
pub(super) mod soap;
mod watched;
mod xml;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lgsp_certs::tls::TlsFileError;
use lgsp_proto::v1::{Question, ServiceRefusal};
use zeroize::Zeroizing;

use super::asked::{Asked, Born, MemberJson};
use super::fields::{DATE_OF_BIRTH, FULL_NAME, NUMBER, OLD_NUMBER};
use crate::config;
use crate::connector::source::{REPLY_BYTES_MAX, failed};
use crate::spool::now_ms;
use crate::webhook::Connector;
use clerks::Clerks;
use maintenance::Maintenance;
use soap::{Citizen, NoAnswer, Operation};
use watched::Watched;
use xml::Element;

/// See the module.
pub(super) struct Ministry {
    /// As it is configured: the signature covers it letter for letter.
    url: String,
    uri: Uri,
    client: Client<Connector, Full<Bytes>>,
    client_name: HeaderValue,
    user: String,
    api_key: Watched<Zeroizing<String>>,
    secret: Watched<Zeroizing<String>>,
    clerks: Watched<Clerks>,
    maintenance: Maintenance,
}

/// Why the ministry's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// Certificates or the key.
    #[error("population.ministry: the TLS files")]
    Tls(#[from] TlsFileError),
    /// Another file.
    #[error("population.ministry.{key} {}", file.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
}

impl Ministry {
    /// # Errors
    /// A file cannot be used.
    pub(super) fn open(config: &config::Ministry, at_once: usize) -> Result<Self, NotUsable> {
        let config::Ministry { url, bundle, identity, client, api_key_file, user, secret_file, clerks_file } = config;
        let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        let tls = lgsp_certs::tls::https_client_config_as(bundle, identity)?;
        let at = |key, file: &PathBuf| {
            let file = file.clone();
            move |source| NotUsable::File { key, file, source }
        };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_max_idle_per_host(at_once)
            // Otherwise a request on a connection that the other side has closed would be sent again.
            .retry_canceled_requests(false)
            .build(Connector::tls(Arc::new(tls)));
        Ok(Self {
            url: url.to_string(),
            uri: url.uri(),
            client: http,
            client_name: HeaderValue::from_str(client).expect("the configuration has seen to it"),
            user: user.clone(),
            api_key: Watched::open(api_key_file, watched::secret).map_err(at("api_key_file", api_key_file))?,
            secret: Watched::open(secret_file, watched::secret).map_err(at("secret_file", secret_file))?,
            clerks: Watched::open(clerks_file, Clerks::read).map_err(at("clerks_file", clerks_file))?,
            maintenance: Maintenance::default(),
        })
    }

    /// 037: the citizen whom all three keys name.
    pub(super) async fn look_up(&self, question: &Question, asked: &Asked) -> Result<Citizen, ServiceRefusal> {
        let response = self.answer(question, Operation::LookUp, asked, &[]).await?;
        let citizen = soap::citizen(&response).map_err(|no| told(question, no))?;
        let number = asked.number.as_str();
        let known_by = if number.len() == 12 { NUMBER } else { OLD_NUMBER };
        let is_asked_about = match citizen.value(known_by) {
            Some(known) => known == number,
            // A citizen's old number is not always told.
            None => {
                let born = citizen.value(DATE_OF_BIRTH).and_then(Born::read);
                asked.is_of(citizen.value(FULL_NAME).unwrap_or_default(), born)
            }
        };
        if !is_asked_about {
            return Err(failed(question, "the answer is about somebody else"));
        }
        Ok(citizen)
    }

    /// 033: whether number, name and date of birth are one person's.
    pub(super) async fn confirms(&self, question: &Question, asked: &Asked) -> Result<bool, ServiceRefusal> {
        let response = self.answer(question, Operation::ConfirmNumber, asked, &[]).await?;
        soap::confirmed(&response).map_err(|no| told(question, no))
    }

    /// 034: whether they are of one household, all together and each.
    pub(super) async fn household(
        &self,
        question: &Question,
        asked: &Asked,
        members: &[MemberJson],
    ) -> Result<(bool, Vec<bool>), ServiceRefusal> {
        let response = self.answer(question, Operation::ConfirmHousehold, asked, members).await?;
        let confirmed = soap::confirmed(&response).and_then(|all| Ok((all, soap::members(&response, members)?)));
        confirmed.map_err(|no| told(question, no))
    }

    async fn answer(
        &self,
        question: &Question,
        operation: Operation,
        asked: &Asked,
        members: &[MemberJson],
    ) -> Result<Element, ServiceRefusal> {
        let id = HEXLOWER.encode(&question.query_id);
        let clerks = self.clerks.current();
        let Some(clerk) = clerks.of(&question.acting_party, &question.actor) else {
            // Not asked: nobody there would answer for it.
            tracing::info!(query_id = id, "the clerk is not in the file of clerks");
            return Err(ServiceRefusal::ClerkNotAuthorised);
        };
        let procedure = &question.procedure_code;
        let envelope = soap::Request { operation, id: &id, procedure, clerk, asked, members }.to_xml();
        let request = self.request(envelope).ok_or_else(|| failed(question, "it cannot be put into headers"))?;
        if !self.maintenance.may_ask(Instant::now()) {
            return Err(ServiceRefusal::Maintenance);
        }
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| failed(question, "the ministry's endpoint does not answer"))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::SERVICE_UNAVAILABLE => {
                self.maintenance.heard(true, Instant::now());
                return Err(ServiceRefusal::Maintenance);
            }
            _ => return Err(failed(question, "the ministry's endpoint answers with an error")),
        }
        let document = Limited::new(answer.into_body(), REPLY_BYTES_MAX).collect().await;
        let document = document.map_err(|_| failed(question, "the answer is too long or broke off"))?.to_bytes();
        let response = soap::response(&document, operation, &id);
        let is_maintained = matches!(response, Err(NoAnswer::Refused(ServiceRefusal::Maintenance)));
        self.maintenance.heard(is_maintained, Instant::now());
        response.map_err(|no| told(question, no))
    }

    fn request(&self, envelope: String) -> Option<Request<Full<Bytes>>> {
        let timestamp = now_ms().to_string();
        let secret = self.secret.current();
        let mut api_key = HeaderValue::from_str(&self.api_key.current()).ok()?;
        let signature = signature(&self.url, &self.user, &timestamp, &secret);
        let mut authorization =
            HeaderValue::from_str(&format!("Basic {}", credentials(&self.user, &signature))).ok()?;
        api_key.set_sensitive(true);
        authorization.set_sensitive(true);
        Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "text/xml; charset=utf-8")
            .header("soapaction", "\"\"")
            .header("x-road-client", self.client_name.clone())
            .header("apikey", api_key)
            .header("timestamp", timestamp)
            .header(header::AUTHORIZATION, authorization)
            .body(Full::from(envelope))
            .ok()
    }
}

/// Reads an answer of the ministry in every way there is. What is read of a citizen can be told as JSON.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(document: &[u8]) {
    for operation in [Operation::LookUp, Operation::ConfirmNumber, Operation::ConfirmHousehold] {
        let Ok(response) = soap::response(document, operation, "q1") else { continue };
        let _ = soap::confirmed(&response);
        let _ = soap::members(&response, &[]);
        if let Ok(citizen) = soap::citizen(&response) {
            let all = super::fields::FIELDS.iter().map(|field| field.path);
            let json = super::fields::reply(super::fields::Wanted::of(all), |field| citizen.value(field));
            serde_json::from_slice::<serde_json::Value>(&json).expect("a reply is JSON");
        }
    }
}

/// What of an answer that is none goes to whoever asked, and to the log.
fn told(question: &Question, no: NoAnswer) -> ServiceRefusal {
    match no {
        NoAnswer::Refused(refusal) => refusal,
        NoAnswer::Not(why) => failed(question, why),
    }
}

/// `sha256(url + user + timestamp + secret)`, hexadecimal.
fn signature(url: &str, user: &str, timestamp: &str, secret: &str) -> String {
    let mut context = Context::new(&SHA256);
    for part in [url, user, timestamp, secret] {
        context.update(part.as_bytes());
    }
    HEXLOWER.encode(context.finish().as_ref())
}

fn credentials(user: &str, signature: &str) -> String {
    let mut text = String::with_capacity(user.len() + 1 + signature.len());
    write!(text, "{user}:{signature}").expect("a text takes it");
    BASE64.encode(text.as_bytes())
}
