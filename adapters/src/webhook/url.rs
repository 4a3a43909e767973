//! Where an agency's own system takes webhooks. What is parsed here can be connected to; whether anybody listens is another matter.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// `https://host[:port]/path` of the agency's own system, or `http://` on its own machine.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WebhookUrl(String);

/// What is wrong with a webhook's URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadWebhookUrl {
    /// Not a URL.
    #[error("is not a URL of the form https://host:port/path or http://host:port/path")]
    Form,
    /// Neither `http` nor `https`.
    #[error("is neither https:// nor http://")]
    Scheme,
    /// A name and a password in it, which would be shown wherever the URL is.
    #[error("holds a name or a password before the host; every webhook is signed, so it needs none")]
    Credentials,
}

impl WebhookUrl {
    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.uri().scheme_str() == Some("https")
    }

    /// Whether citizens' data leave this machine readable for whoever is on the way.
    pub fn is_exposed(&self) -> bool {
        !self.is_https() && !self.is_on_this_machine()
    }

    /// As it may be shown, in the log and to who asks: without a query, which may hold what only the receiver should know.
    pub(crate) fn shown(&self) -> &str {
        self.0.split(['?', '#']).next().unwrap_or_default()
    }

    pub(crate) fn uri(&self) -> Uri {
        self.0.parse().expect("it was parsed before")
    }

    /// Whether it is reached over the loopback interface.
    pub fn is_on_this_machine(&self) -> bool {
        let uri = self.uri();
        let host = host(&uri);
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

/// The host without the brackets around an IPv6 address.
pub(super) fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

impl FromStr for WebhookUrl {
    type Err = BadWebhookUrl;

    fn from_str(text: &str) -> Result<Self, BadWebhookUrl> {
        let uri: Uri = text.parse().map_err(|_| BadWebhookUrl::Form)?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                Err(BadWebhookUrl::Credentials)
            }
            (Some("http" | "https"), Some(_)) if !host(&uri).is_empty() => Ok(Self(text.to_owned())),
            (Some("http" | "https") | None, _) => Err(BadWebhookUrl::Form),
            (Some(_), _) => Err(BadWebhookUrl::Scheme),
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WebhookUrl, BadWebhookUrl> {
        text.parse()
    }

    #[test]
    fn a_webhook_is_http_or_https_to_some_host_and_holds_no_password() {
        for text in ["http://127.0.0.1:9000/lgsp?x=1", "https://agency/lgsp", "https://[::1]:9443/"] {
            assert!(read(text).is_ok(), "{text}");
        }
        assert_eq!(read("ftp://agency/lgsp"), Err(BadWebhookUrl::Scheme));
        assert_eq!(read("https://clerk:secret@agency/lgsp"), Err(BadWebhookUrl::Credentials));
        for text in ["", "/lgsp", "127.0.0.1:9000/lgsp", "http://", "https://"] {
            assert_eq!(read(text), Err(BadWebhookUrl::Form), "{text}");
        }
    }

    #[test]
    fn only_plain_http_that_leaves_the_machine_is_exposed() {
        for text in ["http://127.0.0.1:9/", "http://[::1]:9/", "http://localhost:9/", "https://10.0.0.7/"] {
            assert!(!read(text).unwrap().is_exposed(), "{text}");
        }
        for text in ["http://10.0.0.7/", "http://agency.local/", "http://localhost.evil.test/"] {
            assert!(read(text).unwrap().is_exposed(), "{text}");
        }
    }
}
