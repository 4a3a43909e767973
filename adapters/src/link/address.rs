//! Where a gateway is found, by which certificate one is known there, and how patient one is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use lgsp_certs::TlsFiles;

/// A gateway and the means to be let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The gateway.
    pub gateway: GatewayUrl,
    /// The name its certificate must carry, when that is not the URL's host.
    pub server_name: Option<String>,
    /// The own certificate and key, and whom to trust.
    pub tls: TlsFiles,
    /// How patient to be.
    pub timings: Timings,
}

/// Limits of time on the way to the gateway, all on the machine clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timings {
    /// To have a TCP connection and a TLS handshake.
    pub connect_timeout: Duration,
    /// For one unary call, from sending to answer.
    pub call_timeout: Duration,
    /// How often the peer is asked for a sign of life.
    pub keep_alive_interval: Duration,
    /// How long that sign may take before the connection is given up.
    pub keep_alive_timeout: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(10),
        }
    }
}

/// `https://host:port` of a gateway, nothing more. Without a port, 443. Two are the same that lead to one host and port, however
/// they are spelt.
#[derive(Clone)]
pub struct GatewayUrl {
    uri: Uri,
    host: String,
    port: u16,
}

/// What is wrong with a gateway's URL.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadGatewayUrl {
    /// Not a URL at all.
    #[error("is not a URL; expected https://host:port")]
    Form,
    /// Some other scheme; the bus is never spoken in the clear.
    #[error("does not begin with https://")]
    Scheme,
    /// User, path or query.
    #[error("has more than a host and a port; expected https://host:port")]
    TooMuch,
}

impl GatewayUrl {
    /// The host: a DNS name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl PartialEq for GatewayUrl {
    fn eq(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host) && self.port == other.port
    }
}

impl Eq for GatewayUrl {}

impl FromStr for GatewayUrl {
    type Err = BadGatewayUrl;

    fn from_str(text: &str) -> Result<Self, BadGatewayUrl> {
        let uri: Uri = text.parse().map_err(|_| BadGatewayUrl::Form)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some(_) => return Err(BadGatewayUrl::Scheme),
            None => return Err(BadGatewayUrl::Form),
        }
        let authority = uri.authority().ok_or(BadGatewayUrl::Form)?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(BadGatewayUrl::TooMuch);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(BadGatewayUrl::Form);
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 443,
            // Something stands where the port belongs that is not one.
            None => return Err(BadGatewayUrl::Form),
        };
        Ok(Self { host, port, uri })
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().trim_end_matches('/'))
    }
}

impl fmt::Debug for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_host_and_a_port() {
        let url: GatewayUrl = "https://gw.lgsp.hue.test:7443".parse().unwrap();
        assert_eq!(
            (url.host(), url.port(), url.to_string().as_str()),
            ("gw.lgsp.hue.test", 7443, "https://gw.lgsp.hue.test:7443")
        );
        let url: GatewayUrl = "https://[::1]:7443/".parse().unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 7443));
        assert_eq!("https://gw".parse::<GatewayUrl>().unwrap().port(), 443);
    }

    #[test]
    fn one_gateway_may_be_spelt_in_several_ways() {
        let url = |text: &str| text.parse::<GatewayUrl>().unwrap();
        assert_eq!(url("https://gw.lgsp.hue.test"), url("HTTPS://GW.lgsp.Hue.test:443/"));
        assert_ne!(url("https://gw.lgsp.hue.test"), url("https://gw.lgsp.hue.test:7443"));
        assert_ne!(url("https://gw.lgsp.hue.test"), url("https://gw2.lgsp.hue.test"));
    }

    #[test]
    fn what_is_more_or_less_than_that_is_refused() {
        for (text, problem) in [
            ("http://gw:7443", BadGatewayUrl::Scheme),
            ("gw:7443", BadGatewayUrl::Form),
            ("", BadGatewayUrl::Form),
            ("https://", BadGatewayUrl::Form),
            ("https://gw:99999", BadGatewayUrl::Form),
            ("https://gw:7443/v1", BadGatewayUrl::TooMuch),
            ("https://clerk@gw:7443", BadGatewayUrl::TooMuch),
            ("https://gw:7443/?a=b", BadGatewayUrl::TooMuch),
        ] {
            assert_eq!(text.parse::<GatewayUrl>(), Err(problem), "{text}");
        }
    }
}
