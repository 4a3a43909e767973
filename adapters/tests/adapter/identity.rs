//! What an adapter is known by, from the token on: joining, renewing under load, other roots, expiry, revocation.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::{Timestamp, ToSpan as _};
use lgsp_adapters::Config;
use lgsp_adapters::config::{IDENTITY, Wishes, starter};
use lgsp_adapters::identity::{Folder, JoinError, Joined, join};
use lgsp_adapters::link::{Timings, TurnedAway};
use lgsp_certs::PrivateKey;
use lgsp_certs::tls::certificates_in;
use lgsp_proto::types::JoinToken;
use lgsp_proto::v1::AcknowledgeStage::TakenOver;
use lgsp_proto::{Reason, v1};

use crate::support::{Adapter, Authority, Certificates, DAY, Gateway, Line, OTHER_PARTY, PARTY, World};

/// A bus that can be joined.
pub struct Bus {
    certificates: Certificates,
    authority: Authority,
    gateway: Gateway,
    line: Line,
    enrolment: SocketAddr,
    folder: tempfile::TempDir,
}

impl Bus {
    pub async fn new() -> Self {
        Self::of(Certificates::new()).await
    }

    async fn of(certificates: Certificates) -> Self {
        let authority = Authority::new(&certificates);
        let gateway = Gateway::start_with(certificates.server("gateway"), Some(authority.clone())).await;
        let line = Line::to(gateway.address()).await;
        authority.bus_is_at(line.address());
        let enrolment = authority.serve(&certificates.files("gateway")).await;
        Self { certificates, authority, gateway, line, enrolment, folder: tempfile::tempdir().unwrap() }
    }

    fn token(&self, system: &str) -> JoinToken {
        self.authority.token(self.enrolment, system, Timestamp::now() + 1.hour())
    }

    fn identity(&self) -> Folder {
        Folder::at(self.folder.path().join(IDENTITY))
    }

    async fn join(&self, token: &JoinToken) -> Result<Joined, JoinError> {
        let joined = join(token, &self.identity(), None, Timings::default()).await?;
        self.identity().joined(token.id())?;
        Ok(joined)
    }

    /// As the command line writes it, and somewhat more hurried.
    fn config(&self, joined: &Joined) -> Config {
        let wishes = Wishes { listen: "127.0.0.1:0".parse().unwrap(), webhook: None, parties: Vec::new() };
        let hurried = [
            ("REST__TOKEN", "none"),
            ("TLS__POLL_MS", "20"),
            ("TLS__TRUST_EVERY_SECONDS", "1"),
            ("TIMINGS__CONNECT_TIMEOUT_MS", "2000"),
            ("EXCHANGE__BACKOFF_FIRST_MS", "5"),
            ("EXCHANGE__BACKOFF_LIMIT_MS", "50"),
        ];
        let environment = hurried.map(|(key, value)| (format!("LGSP_ADAPTER__{key}"), value.to_owned()));
        Config::parse(&starter(joined, &wishes), self.folder.path(), environment).unwrap()
    }

    /// An adapter that has joined.
    pub async fn adapter(&self) -> Adapter {
        let joined = self.join(&self.token("one-stop")).await.unwrap();
        Adapter::start(self.config(&joined)).await
    }

    fn key_in_force(&self) -> [u8; 32] {
        let set = self.identity().read().unwrap().unwrap();
        PrivateKey::from_pem(set.key.as_bytes()).unwrap().key_sha256()
    }

    fn roots_in_force(&self) -> Vec<Bytes> {
        let set = self.identity().read().unwrap().unwrap();
        set.roots.iter().map(|root| Bytes::copy_from_slice(root)).collect()
    }
}

#[tokio::test]
async fn one_token_makes_an_adapter_whose_dossiers_cross() {
    let bus = Bus::new().await;
    let joined = bus.join(&bus.token("one-stop")).await.unwrap();
    assert!(joined.is_first);
    assert_eq!(joined.parties.iter().map(ToString::to_string).collect::<Vec<_>>(), [PARTY, OTHER_PARTY]);
    let left_over = bus.identity().path().join("joining");
    assert!(!left_over.exists(), "the key has found its place");

    let adapter = Adapter::start(bus.config(&joined)).await;
    adapter.submit("k1").await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    let status = adapter.status().await;
    let certificate = &status["certificate"];
    assert_eq!((&certificate["system"], &certificate["renewals"]), (&"one-stop".into(), &0.into()), "{certificate}");
    assert!(certificate["renew_from"].is_string() && certificate.get("problem").is_none(), "{certificate}");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn the_same_token_again_gives_the_same_certificate_as_long_as_the_key_is_there() {
    let bus = Bus::new().await;
    let token = bus.token("one-stop");
    // The machine died after the gateway had answered: what is left is the key.
    let elsewhere = tempfile::tempdir().unwrap();
    let begun = Folder::at(elsewhere.path());
    join(&token, &begun, None, Timings::default()).await.unwrap();
    let set = begun.read().unwrap().unwrap();
    let joining = bus.identity().path().join("joining");
    std::fs::create_dir_all(&joining).unwrap();
    let id = data_encoding::HEXLOWER.encode(token.id());
    std::fs::write(joining.join(format!("{id}.pem")), set.key.as_bytes()).unwrap();

    bus.join(&token).await.unwrap();
    assert_eq!(bus.identity().read().unwrap().unwrap(), set);
    // And with another key it is spent.
    let JoinError::Call { source, .. } = bus.join(&token).await.unwrap_err() else { panic!() };
    assert!(source.to_string().contains(Reason::TokenSpent.as_str()), "{source}");
}

#[tokio::test]
async fn a_token_is_not_shown_to_a_server_of_another_root() {
    let bus = Bus::new().await;
    let token = Authority::new(&Certificates::new()).token(bus.enrolment, "one-stop", Timestamp::now() + 1.hour());
    let error = bus.join(&token).await.unwrap_err();
    assert!(matches!(error, JoinError::Stranger { why: TurnedAway::GatewayUnknown, .. }), "{error}");
    assert!(error.texts().iter().all(|text| !text.contains("lgsp-join")));
    assert_eq!(bus.identity().read().unwrap(), None);
}

#[tokio::test]
async fn a_token_that_has_expired_or_is_for_another_system_is_not_sent() {
    let bus = Bus::new().await;
    let late = bus.authority.token(bus.enrolment, "one-stop", Timestamp::now() - 1.hour());
    let error = bus.join(&late).await.unwrap_err();
    assert!(matches!(error, JoinError::Expired { .. }), "{error}");
    assert!(error.texts()[1].contains("clock"));

    bus.join(&bus.token("one-stop")).await.unwrap();
    let before = bus.identity().read().unwrap();
    let error = bus.join(&bus.token("police")).await.unwrap_err();
    assert!(matches!(&error, JoinError::OtherSystem { here, token } if here == "one-stop" && token == "police"));
    assert_eq!(bus.identity().read().unwrap(), before);
}

#[tokio::test]
async fn an_identity_of_another_bus_is_not_replaced() {
    let here = Bus::new().await;
    here.join(&here.token("one-stop")).await.unwrap();
    let before = here.identity().read().unwrap();
    // A system of the same name, on the bus for trying things out.
    let trial = Bus::of(Certificates::of("lgsp.trial.test")).await;
    let token = trial.token("one-stop");
    let error = join(&token, &here.identity(), None, Timings::default()).await.unwrap_err();
    assert!(matches!(&error, JoinError::OtherBus { here, token } if here != token), "{error}");
    assert!(error.texts()[1].contains("lgsp.trial.test"), "{:?}", error.texts());
    assert_eq!(here.identity().read().unwrap(), before);
}

#[tokio::test]
async fn another_address_of_the_gateway_keeps_nobody_out_whose_identity_is_of_the_bus() {
    let bus = Bus::new().await;
    let elsewhere = "https://gateway.inside.test:7443".parse().unwrap();
    // Only the address can tell whose spool this is; mended, the same token is still good.
    let token = bus.token("one-stop");
    let error = join(&token, &bus.identity(), Some(&elsewhere), Timings::default()).await.unwrap_err();
    assert!(matches!(error, JoinError::OtherBus { .. }), "{error}");
    assert_eq!(bus.identity().read().unwrap(), None);
    let joined = bus.join(&token).await.unwrap();
    assert_eq!(joined.looked_for_at, None);

    let again = bus.token("one-stop");
    let joined = join(&again, &bus.identity(), Some(&elsewhere), Timings::default()).await.unwrap();
    assert_eq!((joined.is_first, joined.looked_for_at), (false, Some(elsewhere)));
}

#[tokio::test]
async fn an_identity_that_cannot_be_read_is_not_taken_for_none() {
    let bus = Bus::new().await;
    bus.join(&bus.token("one-stop")).await.unwrap();
    std::fs::write(bus.identity().files().certificate, "damaged").unwrap();
    let current = bus.identity().current().unwrap();
    let error = bus.join(&bus.token("police")).await.unwrap_err();
    assert!(matches!(error, JoinError::Disk(_)), "{error}");
    assert!(error.texts()[1].contains("move the folder"), "{:?}", error.texts());
    assert_eq!(bus.identity().current().unwrap(), current);
}

#[tokio::test]
async fn an_answer_without_a_root_of_the_token_is_not_taken() {
    let bus = Bus::new().await;
    let other = lgsp_certs::CertificateAuthority::open(Certificates::new().folder()).unwrap();
    bus.authority.trust([Bytes::copy_from_slice(other.root())]);
    let error = bus.join(&bus.token("one-stop")).await.unwrap_err();
    assert!(matches!(error, JoinError::Answer(_)), "{error}");
    assert_eq!(bus.identity().read().unwrap(), None);
}

#[tokio::test]
async fn a_clock_that_is_behind_is_named_and_the_key_waits_for_the_next_attempt() {
    let bus = Bus::new().await;
    let token = bus.token("one-stop");
    bus.authority.set_clock_ahead(2 * DAY);
    // The certificate that was issued lies ahead of this machine's clock.
    let error = bus.join(&token).await.unwrap_err();
    assert!(matches!(error, JoinError::Clock { .. }), "{error}");
    assert!(error.texts()[0].contains("đồng hồ"), "{:?}", error.texts());
    assert_eq!(bus.identity().read().unwrap(), None);
    assert!(bus.identity().path().join("joining").exists());
}

#[tokio::test]
async fn a_certificate_of_seconds_is_renewed_under_load_and_no_call_fails() {
    let bus = Bus::new().await;
    bus.authority.certify_for(Duration::from_secs(4));
    let adapter = bus.adapter().await;
    let first = bus.key_in_force();
    let mut handed_in = 0;
    // Deliveries come on a stream that is open all the while, dossiers go out one after the other.
    while bus.authority.renewals() < 3 {
        handed_in += 1;
        bus.gateway.deliver("H57.101-250714-0001", handed_in);
        let key = format!("k{handed_in}");
        adapter.submit(&key).await;
        assert_eq!(adapter.outcome(&key).await["state"], "admitted");
    }
    let status = adapter.until(|status| status["certificate"]["renewals"] == 3).await;
    assert!(status["certificate"].get("problem").is_none(), "{status}");
    // No call had to be sent twice, and every delivery has come.
    assert_eq!(bus.gateway.attempts().len(), handed_in as usize);
    assert_eq!(bus.gateway.effects().len(), handed_in as usize);
    bus.gateway.hears(v1::AcknowledgeStage::TakenOver, handed_in as usize).await;
    let metrics = adapter.metrics().await;
    let renewals =
        |outcome| metrics.value(&format!("lgsp_adapter_certificate_renewals_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((renewals("renewed"), renewals("failed")), (3.0, 0.0));
    assert_ne!(bus.key_in_force(), first, "the key is another one as well");
    let sets = std::fs::read_dir(bus.identity().path()).unwrap();
    assert!(sets.count() <= 5, "two sets, the link, the lock and the name of the token");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn what_waits_in_the_spool_is_signed_by_the_key_of_the_day_on_which_it_goes_out() {
    let bus = Bus::new().await;
    let adapter = bus.adapter().await;
    bus.line.cut();
    for key in ["k1", "k2", "k3"] {
        adapter.submit(key).await;
    }
    // Renewed by somebody else meanwhile: joined again.
    let before = bus.key_in_force();
    let joined = bus.join(&bus.token("one-stop")).await.unwrap();
    assert!(!joined.is_first);
    assert_ne!(bus.key_in_force(), before);
    bus.authority.revoke(before);
    bus.line.mend();
    for key in ["k1", "k2", "k3"] {
        assert_eq!(adapter.outcome(key).await["state"], "admitted");
    }
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn an_adapter_that_slept_past_expiry_keeps_its_spool_and_joins_again() {
    let bus = Bus::new().await;
    bus.authority.certify_for(Duration::from_secs(2));
    bus.authority.refuse_next([Reason::CaNotConfigured; 100]);
    let joined = bus.join(&bus.token("one-stop")).await.unwrap();
    let adapter = Adapter::start(bus.config(&joined)).await;
    // The gateway has ended the connection as well, and lets in no other.
    let is_over = |status: &serde_json::Value| status["connections"].as_u64() > Some(1);
    adapter.until(|status| status["certificate"]["turned_away"] == "expired" && is_over(status)).await;
    adapter.submit("k1").await;
    adapter.stop().await.unwrap();

    // It starts all the same, and takes more in.
    let adapter = Adapter::start(bus.config(&joined)).await;
    adapter.submit("k2").await;
    let status = adapter.status().await;
    assert_eq!((&status["certificate"]["seconds_left"], &status["outgoing"]["waiting"]), (&0.into(), &2.into()));
    assert!(status["certificate"]["problem_vi"].as_str().unwrap().contains("adapter join"), "{status}");

    bus.authority.certify_for(DAY);
    bus.join(&bus.token("one-stop")).await.unwrap();
    for key in ["k1", "k2"] {
        assert_eq!(adapter.outcome(key).await["state"], "admitted");
    }
    let status = adapter.until(|status| status["certificate"].get("problem").is_none()).await;
    assert_eq!(status["outgoing"]["waiting"], 0);
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_revoked_adapter_says_so_keeps_what_it_has_and_comes_back_with_a_new_token() {
    let bus = Bus::new().await;
    let adapter = bus.adapter().await;
    adapter.submit("k1").await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    bus.authority.revoke(bus.key_in_force());
    bus.line.shake();
    let status = adapter.until(|status| status["certificate"]["turned_away"] == "revoked").await;
    assert_eq!(adapter.metrics().await.value("lgsp_adapter_turned_away{reason=\"revoked\"}"), 1.0);
    assert!(status["certificate"]["problem"].as_str().unwrap().contains("adapter join"), "{status}");
    adapter.submit("k2").await;
    assert_eq!(adapter.status().await["outgoing"]["waiting"], 1);

    bus.join(&bus.token("one-stop")).await.unwrap();
    assert_eq!(adapter.outcome("k2").await["state"], "admitted");
    adapter.until(|status| status["certificate"].get("turned_away").is_none()).await;
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn roots_are_exchanged_while_calls_go_on_and_never_for_ones_that_do_not_hold_the_gateway() {
    let mut bus = Bus::new().await;
    let adapter = bus.adapter().await;
    let old = bus.roots_in_force();
    let others = Certificates::new();
    let new = Bytes::copy_from_slice(lgsp_certs::CertificateAuthority::open(others.folder()).unwrap().root());
    let problem = |part: &'static str| {
        move |status: &serde_json::Value| {
            let problem = status["certificate"]["problem"].as_str();
            problem.is_some_and(|problem| problem.contains(part))
        }
    };

    // Not before the gateway holds by them.
    bus.authority.trust([new.clone()]);
    adapter.until(problem("the present one stays")).await;
    bus.authority.trust([]);
    adapter.until(problem("names no roots")).await;
    assert_eq!(bus.roots_in_force(), old);

    let both = vec![old[0].clone(), new.clone()];
    bus.authority.trust(both.clone());
    adapter.until(|status| status["certificate"].get("problem").is_none()).await;
    assert_eq!(bus.roots_in_force(), both);
    adapter.submit("k1").await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");

    // The gateway shows a certificate of the new root; then the old one goes.
    bus.gateway = Gateway::replica(&bus.gateway, others.server("gateway")).await;
    bus.line.lead_to(bus.gateway.address());
    bus.line.shake();
    bus.authority.trust([new.clone()]);
    crate::support::until(async || (bus.roots_in_force() == [new.clone()]).then_some(())).await;
    adapter.submit("k2").await;
    assert_eq!(adapter.outcome("k2").await["state"], "admitted");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn roots_that_do_not_hold_the_gateway_do_not_cost_the_renewal() {
    let bus = Bus::new().await;
    bus.authority.certify_for(Duration::from_secs(3));
    let adapter = bus.adapter().await;
    let old = bus.roots_in_force();
    let other = lgsp_certs::CertificateAuthority::open(Certificates::new().folder()).unwrap();
    bus.authority.trust([Bytes::copy_from_slice(other.root())]);
    // On a busy machine it may be looked at after the next one.
    adapter.until(|status| status["certificate"]["renewals"].as_u64() >= Some(2)).await;
    assert_eq!(bus.roots_in_force(), old);
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_cannot_tell_whom_to_trust_does_not_cost_the_renewal() {
    for reason in [Reason::Internal, Reason::QuotaExceeded] {
        let bus = Bus::new().await;
        bus.authority.certify_for(Duration::from_secs(3));
        let adapter = bus.adapter().await;
        bus.authority.tell_no_roots(Some(reason));
        let renewed = adapter.until(|status| status["certificate"]["renewals"] == 1).await;
        assert_eq!(renewed["certificate"]["turned_away"], serde_json::Value::Null, "{reason}");
        assert_eq!(bus.authority.renewals(), 1, "{reason}: none was thrown away");
        adapter.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_that_issues_none_is_named_and_files_exchanged_by_others_are_taken_up() {
    let bus = Bus::new().await;
    bus.authority.certify_for(Duration::from_secs(60));
    bus.authority.refuse_next([Reason::CaNotConfigured; 100]);
    let adapter = bus.adapter().await;
    let status = adapter.until(|status| status["certificate"].get("problem").is_some()).await;
    assert!(status["certificate"]["problem"].as_str().unwrap().contains("issues no certificates"), "{status}");
    bus.authority.certify_for(DAY);
    bus.join(&bus.token("one-stop")).await.unwrap();
    let status = adapter.until(|status| status["certificate"]["seconds_left"].as_u64() > Some(3600)).await;
    assert!(status["certificate"].get("problem").is_none(), "{status}");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_another_ca_renews_is_named_and_left_to_whoever_exchanges_its_files() {
    let bus = Bus::new().await;
    bus.authority.certify_for(Duration::from_secs(60));
    bus.authority.refuse_next([Reason::RenewedElsewhere; 100]);
    let adapter = bus.adapter().await;
    let status = adapter.until(|status| status["certificate"].get("problem").is_some()).await;
    let certificate = &status["certificate"];
    assert!(certificate["problem"].as_str().unwrap().contains("of another CA than the gateway's"), "{status}");
    assert!(certificate.get("renew_from").is_none(), "{status}");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_loaded_are_told_and_those_loaded_before_stay() {
    let bus = Bus::new().await;
    let adapter = bus.adapter().await;
    let chain = bus.identity().files().certificate;
    let good = std::fs::read(&chain).unwrap();
    std::fs::write(&chain, "half a fi").unwrap();
    let loaded = |status: &serde_json::Value| {
        status["certificate"]["problem"].as_str().is_some_and(|problem| problem.contains("stay in force"))
    };
    adapter.until(loaded).await;
    let metrics = adapter.metrics().await;
    assert_eq!(metrics.value("lgsp_certificates_up_to_date"), 0.0);
    assert!(metrics.value("lgsp_certificates_reloads_total{outcome=\"failed\"}") >= 1.0);
    adapter.submit("k1").await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    std::fs::write(&chain, good).unwrap();
    adapter.until(|status| status["certificate"].get("problem").is_none()).await;
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_taken_up_when_it_is_and_nobody_touches_it_again() {
    let bus = Bus::new().await;
    let adapter = bus.adapter().await;
    let ca = lgsp_certs::CertificateAuthority::open(bus.certificates.folder()).unwrap();
    // They are dated back by five minutes.
    let soon = SystemTime::now() + Duration::from_secs(5 * 60 + 3);
    let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, soon).unwrap();
    issued.write_to(bus.folder.path(), "next").unwrap();
    let files = bus.identity().files();
    for (from, to) in [("next.key", files.key), ("next.pem", files.certificate)] {
        std::fs::copy(bus.folder.path().join(from), to).unwrap();
    }
    let not_yet = |status: &serde_json::Value| {
        status["certificate"]["problem"].as_str().is_some_and(|problem| problem.contains("valid only from"))
    };
    adapter.until(not_yet).await;
    let digest = issued.digest.to_string();
    let status = adapter.until(|status| status["certificate"]["sha256"] == *digest).await;
    assert!(status["certificate"].get("problem").is_none(), "{status}");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn an_adapter_without_an_identity_says_how_to_come_by_one() {
    let bus = Bus::new().await;
    let joined = bus.join(&bus.token("one-stop")).await.unwrap();
    let config = bus.config(&joined);
    std::fs::remove_dir_all(bus.identity().path()).unwrap();
    let (ready, _) = tokio::sync::oneshot::channel();
    let error = lgsp_adapters::run(config, Default::default(), ready).await.unwrap_err();
    assert!(error.to_string().contains("lgsp adapter join"), "{error}");
}

#[tokio::test]
async fn a_gateway_that_is_revoked_while_its_stream_is_open_is_listened_to_no_longer() {
    let world = World::new().await;
    let ca = lgsp_certs::CertificateAuthority::open(world.certificates.folder()).unwrap();
    let (now, list) = (SystemTime::now(), world.folder.path().join("gateways.crl"));
    std::fs::write(&list, ca.revocation_list(&[], 1, now, now + DAY).unwrap()).unwrap();
    let mut config = world.config("");
    config.identity.revocation_lists.push(list.clone());
    config.identity.poll = Duration::from_millis(20);
    let adapter = Adapter::start(config).await;
    adapter.until(|status| status["epoch"] == 1).await;

    // Another certificate of its own is no cause to listen anew.
    let next = world.certificates.system("one-stop-2");
    std::fs::copy(next.key, &world.tls.key).unwrap();
    std::fs::copy(&next.certificate, &world.tls.certificate).unwrap();
    let digest = digest_in(&next.certificate);
    adapter.until(|status| status["certificate"]["sha256"] == *digest).await;
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    assert_eq!(world.gateway.opened().len(), 1);

    let gateway = &certificates_in(&world.certificates.files("gateway").certificate).unwrap()[0];
    std::fs::copy(ca.revoke(Some(gateway), now, now + DAY).unwrap(), &list).unwrap();
    adapter.until(|status| status["certificate"]["turned_away"] == "gateway_revoked").await;
    adapter.until(|status| status["connected"] == false).await;
    assert_eq!(world.gateway.opened().len(), 1);
    adapter.stop().await.unwrap();
}

/// The digest of a certificate's file, as a status shows it.
fn digest_in(file: &std::path::Path) -> String {
    lgsp_certs::CertificateDigest::of(&certificates_in(file).unwrap()[0]).to_string()
}
