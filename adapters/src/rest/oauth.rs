//! Access tokens for clients: the token endpoint of OAuth 2.0 client credentials (RFC 6749 §4.4), and where it is (RFC 8414).
//!
//! Errors are OAuth's, so that stock clients know them, with the interface's own reason beside.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::Authority};
use lgsp_proto::Reason;
use percent_encoding::percent_decode;
use serde::Serialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::describe::Open;
use super::{Api, body, json};
use crate::access::{Denied, LIFE_SECONDS, Origin};
use crate::problem::Problem;

/// The longest form. A name, a secret and some scope fit well.
const MAX_FORM_BYTES: usize = 8 << 10;

/// For a form to come. It follows its head at once, in the same packet mostly.
const FORM: Duration = Duration::from_secs(5);

const PATH: &str = "/v1/oauth/token";

/// What a client sends. Its name and secret may stand in the header `Authorization: Basic` instead. What else there is counts for nothing.
#[derive(ToSchema)]
#[schema(as = TokenForm)]
#[expect(dead_code, reason = "a form is read field by field; this describes it")]
struct TokenForm {
    /// The only grant there is.
    grant_type: Grant,
    /// The client's name.
    client_id: Option<String>,
    /// Its secret.
    client_secret: Option<String>,
    /// Counts for nothing: a token is for all parties of its client.
    scope: Option<String>,
}

/// How a token is come by.
#[derive(ToSchema)]
#[schema(as = TokenGrant, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the form")]
enum Grant {
    ClientCredentials,
}

/// A token.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessToken)]
struct TokenJson<'a> {
    /// To be shown with every call: `Authorization: Bearer`.
    access_token: &'a str,
    /// `Bearer`.
    token_type: &'static str,
    /// For how many seconds it is good.
    expires_in: i64,
    /// The parties it is good for, separated by spaces.
    scope: String,
}

/// Why there is no token (RFC 6749 §5.2).
#[derive(Serialize, ToSchema)]
#[schema(as = TokenError)]
struct ErrorJson {
    /// `invalid_client`, `invalid_request`, `unsupported_grant_type`, or `temporarily_unavailable`.
    error: &'static str,
    /// What happened, in English.
    error_description: String,
    #[serde(flatten)]
    problem: Problem,
}

/// Where tokens are to be had.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthorizationServer)]
struct MetadataJson {
    /// Who issues them: this adapter, as the caller has reached it.
    issuer: String,
    /// Where.
    token_endpoint: String,
    /// For what.
    grant_types_supported: [&'static str; 1],
    /// None: nobody is sent here by a browser.
    response_types_supported: [&'static str; 0],
    /// How a client says its name and secret.
    token_endpoint_auth_methods_supported: [&'static str; 2],
}

/// `POST /v1/oauth/token`.
#[utoipa::path(
    post, path = "/v1/oauth/token", tag = "access", operation_id = "issue_access_token",
    summary = "An access token for a client's name and secret",
    description = "OAuth 2.0 client credentials (RFC 6749 §4.4). The token is good for ten minutes; get another then. A client with a \
        certificate needs none.",
    security(()),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = TokenJson, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 400, description = "The form is not what it should be", body = ErrorJson),
        (status = 401, description = "`CLIENT_INVALID`: no such client, or not its secret", body = ErrorJson),
        (status = 413, description = "The form is too long", body = ErrorJson),
        (status = 429, description = "`TOO_MANY_FAILURES`: wrong too often; wait", body = ErrorJson),
        (status = 503, description = "`OVERLOADED`: too many calls at one time", body = ErrorJson),
    ),
)]
pub(super) async fn token(State(api): State<Arc<Api>>, origin: Origin, headers: HeaderMap, body: Body) -> Response {
    let issued = issue(&api, &origin, &headers, body).await;
    let mut response = issued.unwrap_or_else(|(error, problem)| refused(error, problem));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn issue(
    api: &Api,
    origin: &Origin,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, (&'static str, Problem)> {
    let malformed = |what: &'static str| ("invalid_request", Problem::malformed(what));
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(malformed("the body is not application/x-www-form-urlencoded"));
    }
    // Whoever sends it has shown nothing yet: it has a room of its own, and not for long.
    let Ok(_room) = api.rooms.of(origin).forms.try_acquire() else {
        return Err(("temporarily_unavailable", Reason::Overloaded.into()));
    };
    let read = tokio::time::timeout(FORM, body::whole(body, MAX_FORM_BYTES)).await;
    let read = read.map_err(|_| malformed("the form did not come in time"))?;
    let body = read.map_err(|problem| ("invalid_request", problem))?;
    let form = Form::read(&body).ok_or(malformed("the body is no form, or has a parameter twice"))?;
    match form.grant_type.as_ref().map(|grant| grant.as_str()) {
        Some("client_credentials") => {}
        Some(_) => return Err(("unsupported_grant_type", Problem::malformed("grant_type is not client_credentials"))),
        None => return Err(malformed("grant_type is missing")),
    }
    let (name, secret) = match basic(headers) {
        None => (form.client_id.unwrap_or_default(), form.client_secret.unwrap_or_default()),
        Some((name, secret)) => {
            // One way only; a name said twice is the same name.
            if form.client_secret.is_some() || form.client_id.is_some_and(|again| *again != *name) {
                return Err(malformed("name and secret stand in the header and in the body"));
            }
            (name, secret)
        }
    };
    let exchanged = api.access.exchange(origin, &name, secret.as_bytes());
    let (client, token) = exchanged.map_err(|denied| {
        let error = if matches!(denied, Denied::TooOften(_)) { "temporarily_unavailable" } else { "invalid_client" };
        (error, denied.into())
    })?;
    let scope = client.parties.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let answer = TokenJson { access_token: &token, token_type: "Bearer", expires_in: LIFE_SECONDS, scope };
    Ok(json(StatusCode::OK, &answer))
}

fn refused(error: &'static str, problem: Problem) -> Response {
    let (status, _, title) = problem.as_described();
    let (status, error_description) =
        (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), title.to_owned());
    let wait = problem.retry_after_seconds();
    let mut response = json(status, &ErrorJson { error, error_description, problem });
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"lgsp\""));
    }
    response
}

/// `GET /.well-known/oauth-authorization-server`.
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "access", operation_id = "describe_token_endpoint",
    summary = "Where access tokens are to be had",
    description = "Authorization server metadata (RFC 8414). No token is asked for.",
    security(()),
    responses((status = 200, description = "Where and how", body = MetadataJson), Open),
)]
pub(super) async fn metadata(origin: Origin, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = uri.authority().cloned().or(host).filter(|host| !host.as_str().contains('@'));
    let host = host.ok_or_else(|| Problem::malformed("the header Host is missing, or no host"))?;
    let scheme = if matches!(origin, Origin::Here) { "http" } else { "https" };
    let issuer = format!("{scheme}://{host}");
    let metadata = MetadataJson {
        token_endpoint: format!("{issuer}{PATH}"),
        issuer,
        grant_types_supported: ["client_credentials"],
        response_types_supported: [],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], json(StatusCode::OK, &metadata)).into_response())
}

/// The parameters that count.
#[derive(Default)]
struct Form {
    grant_type: Option<Zeroizing<String>>,
    client_id: Option<Zeroizing<String>>,
    client_secret: Option<Zeroizing<String>>,
}

impl Form {
    /// Nothing if it is no form, or says something twice (RFC 6749 §3.2).
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            let place = match &**decoded(name)? {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_secret" => &mut form.client_secret,
                _ => continue,
            };
            // An empty one is left out (§3.2).
            if !value.is_empty() && place.replace(decoded(value)?).is_some() {
                return None;
            }
        }
        Some(form)
    }
}

/// Name and secret of `Authorization: Basic`, each encoded as in a form (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = value.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let both = Zeroizing::new(BASE64.decode(encoded).ok()?);
    let at = both.iter().position(|byte| *byte == b':')?;
    Some((decoded(&both[..at])?, decoded(&both[at + 1..])?))
}

fn decoded(text: &[u8]) -> Option<Zeroizing<String>> {
    let spaced = Zeroizing::new(text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<_>>());
    let text: Cow<'_, [u8]> = percent_decode(&spaced).into();
    let text = Zeroizing::new(text.into_owned());
    str::from_utf8(&text).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Reads a form; what comes of it does not matter.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(body: &[u8]) {
    drop(Form::read(body));
    if let Ok(value) = HeaderValue::from_bytes(body) {
        drop(basic(&HeaderMap::from_iter([(header::AUTHORIZATION, value)])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::LocalReason;

    #[test]
    fn a_form_is_read_as_browsers_write_it_and_nothing_is_said_twice() {
        let form =
            Form::read(b"grant_type=client_credentials&client_id=mot%2Dcua&client_secret=a+b%25&scope=x&x").unwrap();
        let said = |text: Option<Zeroizing<String>>| text.map(|text| text.to_string());
        assert_eq!(said(form.grant_type).as_deref(), Some("client_credentials"));
        assert_eq!(
            (said(form.client_id).as_deref(), said(form.client_secret).as_deref()),
            (Some("mot-cua"), Some("a b%"))
        );
        assert!(Form::read(b"client_id=a&client%5fid=b").is_none());
        assert!(Form::read(b"client_id=%ff").is_none());
        assert!(Form::read(b"client_id=&client_id=a").unwrap().client_id.is_some());
    }

    #[test]
    fn name_and_secret_stand_in_the_header_as_in_a_form() {
        let headers = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        let encoded = BASE64.encode(b"mot%2Dcua:a%3Ab");
        let (name, secret) = basic(&headers(&format!("basic {encoded}"))).unwrap();
        assert_eq!((name.as_str(), secret.as_str()), ("mot-cua", "a:b"));
        for other in ["Bearer x", "Basic", "Basic !!!", "Basic bW90Y3Vh"] {
            assert!(basic(&headers(other)).is_none(), "{other}");
        }
        assert_eq!(Problem::from(LocalReason::ClientInvalid).as_described().0, 401);
    }
}
