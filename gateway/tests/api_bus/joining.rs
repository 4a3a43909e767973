//! From a token to a certificate, and out of force again.

use std::time::{Duration, SystemTime};

use lgsp_certs::{CertificateFacts, Credentials, PrivateKey, joining_config};
use lgsp_domain::numbering::NumberZone;
use lgsp_gateway::engine::certificates::JoinAttempt;
use lgsp_gateway::store::{Commit, EpochStarted, TokenIssued};
use lgsp_proto::types::{JoinToken, Sha256Digest};
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::enrolment_client::EnrolmentClient;
use lgsp_proto::v1::revoke_request::What;
use lgsp_proto::{Reason, Refusal, v1};
use tonic::Status;
use tonic::transport::Channel;

use super::wire::send;
use super::world::*;
use crate::output;

/// Who runs the bus.
const OPERATOR: &str = "H99.VH";

pub(super) fn certificates(system: &System) -> CertificatesClient<Channel> {
    CertificatesClient::new(system.channel.clone())
}

pub(super) fn token_for(system: &str) -> v1::IssueTokenRequest {
    v1::IssueTokenRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        system: system.into(),
        ..v1::IssueTokenRequest::default()
    }
}

pub(super) async fn issue(operator: &System, request: v1::IssueTokenRequest) -> JoinToken {
    let token = within(certificates(operator).issue_token(request)).await.unwrap().into_inner().token;
    output::tokens_in("api_bus", &token);
    token.parse().unwrap()
}

/// The door for strangers, known by the roots in the token.
async fn door(world: &World, token: &JoinToken) -> Channel {
    connect(world.enrolment(), joining_config(token.root_sha256())).await.unwrap()
}

fn request(token: &JoinToken, key: &PrivateKey) -> v1::JoinRequest {
    v1::JoinRequest {
        token_id: token.id().to_vec().into(),
        token_secret: token.secret().to_vec().into(),
        signing_request: key.signing_request().unwrap().into(),
    }
}

async fn ask(world: &World, token: &JoinToken, request: v1::JoinRequest) -> Result<v1::JoinResponse, Status> {
    Ok(within(EnrolmentClient::new(door(world, token).await).join(request)).await?.into_inner())
}

pub(super) async fn join(world: &World, token: &JoinToken, key: &PrivateKey) -> Result<v1::JoinResponse, Status> {
    ask(world, token, request(token, key)).await
}

/// The system that holds `key`, by its certificate.
pub(super) fn credentials(world: &World, stem: &str, key: &PrivateKey, issued: &v1::IssuedCertificate) -> Credentials {
    let pem = |der: &bytes::Bytes| {
        let text = data_encoding::BASE64_MIME.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", text.trim_end())
    };
    std::fs::write(world.folder().join(format!("{stem}.pem")), issued.chain.iter().map(pem).collect::<String>())
        .unwrap();
    key.write_to(&world.folder().join(format!("{stem}.key"))).unwrap();
    world.load(stem)
}

pub(super) async fn system(world: &World, credentials: Credentials) -> System {
    let channel = connect(world.bus(), credentials.client_config()).await.unwrap();
    System { credentials, channel }
}

/// Whether the bus talks to whoever comes with these.
async fn lets_in(world: &World, credentials: &Credentials) -> bool {
    match connect(world.bus(), credentials.client_config()).await {
        Ok(channel) => within(CertificatesClient::new(channel).trust(v1::TrustRequest::default())).await.is_ok(),
        Err(_) => false,
    }
}

/// Whether the bus talks to it.
pub(super) async fn speaks(system: &System) -> bool {
    within(certificates(system).trust(v1::TrustRequest::default())).await.is_ok()
}

pub(super) fn revoke(what: What) -> v1::RevokeRequest {
    v1::RevokeRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        what: Some(what),
        ground: "KEY_STOLEN".into(),
        despite_lockout: false,
    }
}

pub(super) fn list(party: &str) -> v1::ListCertificatesRequest {
    v1::ListCertificatesRequest {
        acting_party: party.into(),
        actor: "van.hanh.1".into(),
        ..v1::ListCertificatesRequest::default()
    }
}

pub(super) async fn asked_of(operator: &System, request: v1::ListCertificatesRequest) -> v1::ListCertificatesResponse {
    within(certificates(operator).list(request)).await.unwrap().into_inner()
}

fn key_of(issued: &v1::IssuedCertificate) -> bytes::Bytes {
    CertificateFacts::read(&issued.chain[0]).unwrap().key_sha256.to_vec().into()
}

#[tokio::test]
async fn a_system_joins_speaks_renews_and_is_cut_off() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    assert_eq!(token.enrolment_url(), format!("https://127.0.0.1:{}", world.enrolment().port()));
    let key = PrivateKey::generate().unwrap();
    let joined = join(&world, &token, &key).await.unwrap();
    assert_eq!(joined.bus_url, format!("https://{}", world.bus()));
    assert_eq!(joined.acts_for, ["H99.TT", "H99.101", "H99.104"]);
    let issued = joined.certificate.unwrap();
    assert_eq!((issued.system.as_str(), issued.chain.len()), ("mot-cua", 2));
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
    let life = seconds(&issued.not_after) - seconds(&issued.not_before);
    assert!(life >= 30 * 24 * 3600, "{life}");
    let renewed_after = seconds(&issued.renew_from) - seconds(&issued.not_before);
    assert!((renewed_after * 3 - life * 2).abs() <= 3, "{renewed_after} of {life}");

    let desk = system(&world, credentials(&world, "joined", &key, &issued)).await;
    assert_eq!(desk.admitted(&aid("k-1")).await, "H99.101-250714-0001");
    let trust = within(certificates(&desk).trust(v1::TrustRequest::default())).await.unwrap().into_inner();
    assert_eq!(trust.roots.len(), 1);
    assert_eq!(joined.trust.unwrap(), trust);
    let known = v1::TrustRequest { known_sha256: trust.sha256.clone() };
    let again = within(certificates(&desk).trust(known)).await.unwrap().into_inner();
    assert_eq!(again, v1::TrustResponse { sha256: trust.sha256, ..v1::TrustResponse::default() });

    let next = PrivateKey::generate().unwrap();
    let renew = v1::RenewRequest { signing_request: next.signing_request().unwrap().into() };
    let renewed = within(certificates(&desk).renew(renew)).await.unwrap().into_inner().certificate.unwrap();
    assert_eq!(renewed.system, "mot-cua");
    let after = system(&world, credentials(&world, "renewed", &next, &renewed)).await;
    assert!(speaks(&after).await && speaks(&desk).await, "the present one stays good");

    let revoked = within(certificates(&operator).revoke(revoke(What::System("mot-cua".into())))).await;
    let revoked = revoked.unwrap().into_inner();
    assert_eq!((revoked.connections_cut, revoked.repeated), (2, false));
    let of = |issued: &v1::IssuedCertificate| lgsp_certs::CertificateDigest::of(&issued.chain[0]).as_bytes().to_vec();
    for issued in [&issued, &renewed] {
        assert!(revoked.certificate_sha256.iter().any(|digest| digest[..] == of(issued)[..]));
    }
    // The very connections that were open, and new ones.
    assert!(!speaks(&desk).await && !speaks(&after).await);
    let again = within(certificates(&operator).revoke(revoke(What::System("mot-cua".into())))).await;
    let again = again.unwrap().into_inner();
    assert!(again.repeated && again.revoked_at == revoked.revoked_at, "{again:?}");

    // The key cannot come back, and the system can.
    let token = issue(&operator, token_for("mot-cua")).await;
    assert_eq!(reason(join(&world, &token, &key).await), Reason::CertificateRevoked);
    let fresh = PrivateKey::generate().unwrap();
    let issued = join(&world, &token, &fresh).await.unwrap().certificate.unwrap();
    let back = system(&world, credentials(&world, "back", &fresh, &issued)).await;
    assert!(speaks(&back).await);
    let renew = v1::RenewRequest { signing_request: next.signing_request().unwrap().into() };
    assert_eq!(reason(within(certificates(&back).renew(renew)).await), Reason::CertificateRevoked);
    let (_, status) = world.local("GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let told = &status["certifying"];
    assert_eq!((&told["issued"], &told["renewed"], &told["tokens_open"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(told["joins_refused"]["CERTIFICATE_REVOKED"], 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_told_to_nobody() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let (key, good) = (PrivateKey::generate().unwrap(), issue(&operator, token_for("mot-cua")).await);
    let withdrawn = issue(&operator, token_for("mot-cua")).await;
    let withdraw = v1::WithdrawTokenRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        token_id: withdrawn.id().to_vec().into(),
    };
    let first = within(certificates(&operator).withdraw_token(withdraw.clone())).await.unwrap().into_inner();
    let again = within(certificates(&operator).withdraw_token(withdraw)).await.unwrap().into_inner();
    assert!(!first.repeated && again.repeated && first.withdrawn_at == again.withdrawn_at);
    let expired = TokenIssued {
        id: [3; 16],
        secret_sha256: sha256(good.secret()),
        for_system: "mot-cua".into(),
        expires_at: SystemTime::now() - Duration::from_secs(1),
        party: OPERATOR.parse().unwrap(),
        actor: "van.hanh.1".parse().unwrap(),
        system: "van-hanh".into(),
        at: SystemTime::now() - Duration::from_secs(60),
    };
    world.engine().store().commit(Commit::TokenIssued(expired)).await.unwrap();
    let right = request(&good, &key);
    let bad = [
        ("unknown", v1::JoinRequest { token_id: vec![9; 16].into(), ..right.clone() }),
        ("wrong secret", v1::JoinRequest { token_secret: vec![0; 32].into(), ..right.clone() }),
        ("withdrawn", request(&withdrawn, &key)),
        ("expired", v1::JoinRequest { token_id: vec![3; 16].into(), ..right.clone() }),
    ];
    for (what, request) in bad {
        let refused = refusal(ask(&world, &good, request).await);
        assert_eq!(refused, Refusal::new(Reason::TokenInvalid), "{what}");
    }
    // After a restore nobody knows what became of the tokens that were open.
    let day = jiff::civil::date(2025, 7, 14);
    let restored = EpochStarted {
        number: 2,
        backup: [1; 16],
        backup_taken_at: SystemTime::now(),
        actor: "van.hanh.1".parse().unwrap(),
        at: SystemTime::now(),
        lost: NumberZone { days: day..=day, from: 10_001 },
    };
    world.engine().store().commit(Commit::Epoch(restored)).await.unwrap();
    let refused = refusal(ask(&world, &good, right).await);
    assert_eq!(refused, Refusal::new(Reason::TokenInvalid), "of an earlier epoch");
    let new = issue(&operator, token_for("mot-cua")).await;
    join(&world, &new, &key).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_for_one_key_and_its_certificate_is_told_again() {
    let mut world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let [key, other] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let first = join(&world, &token, &key).await.unwrap();
    assert_eq!(join(&world, &token, &key).await.unwrap(), first);
    assert_eq!(reason(join(&world, &token, &other).await), Reason::TokenSpent);
    let wrong = v1::JoinRequest { token_secret: vec![0; 32].into(), ..request(&token, &other) };
    assert_eq!(
        reason(ask(&world, &token, wrong).await),
        Reason::TokenInvalid,
        "only its holder is told that it is spent"
    );
    let withdraw = v1::WithdrawTokenRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        token_id: token.id().to_vec().into(),
    };
    let mut late = withdraw.clone();
    assert_eq!(reason(within(certificates(&operator).withdraw_token(withdraw)).await), Reason::TokenSpent);
    late.token_id = vec![9; 16].into();
    assert_eq!(reason(within(certificates(&operator).withdraw_token(late)).await), Reason::TokenNotFound);
    // A gateway that dies before it answers has spent it all the same.
    world.restart().await;
    assert_eq!(join(&world, &token, &key).await.unwrap().certificate, first.certificate);
    assert_eq!(reason(join(&world, &token, &other).await), Reason::TokenSpent);
}

#[tokio::test]
async fn revoking_a_system_takes_back_its_open_tokens_and_no_others() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let [theirs, more] = [issue(&operator, token_for("mot-cua")).await, issue(&operator, token_for("mot-cua")).await];
    let others = issue(&operator, token_for("mot-cua-binh")).await;
    // It never came onto the bus: there is nothing but its tokens.
    let everything = || revoke(What::System("mot-cua".into()));
    let revoked = within(certificates(&operator).revoke(everything())).await.unwrap().into_inner();
    assert_eq!((revoked.tokens_withdrawn, revoked.repeated, revoked.certificate_sha256.len()), (2, false, 0));
    let key = PrivateKey::generate().unwrap();
    for token in [&theirs, &more] {
        assert_eq!(reason(join(&world, token, &key).await), Reason::TokenInvalid);
    }
    let _ = join(&world, &others, &key).await.unwrap();
    let again = within(certificates(&operator).revoke(everything())).await;
    assert_eq!(reason(again), Reason::CertificateNotFound);

    let token = issue(&operator, token_for("mot-cua")).await;
    let key = PrivateKey::generate().unwrap();
    let _ = join(&world, &token, &key).await.unwrap();
    let open = issue(&operator, token_for("mot-cua")).await;
    let revoked = within(certificates(&operator).revoke(everything())).await.unwrap().into_inner();
    assert_eq!((revoked.tokens_withdrawn, revoked.certificate_sha256.len()), (1, 1));
    assert_eq!(reason(join(&world, &open, &PrivateKey::generate().unwrap()).await), Reason::TokenInvalid);
    // Keys alone say nothing of tokens.
    let last = issue(&operator, token_for("mot-cua")).await;
    let one = within(certificates(&operator).revoke(revoke(What::KeySha256(vec![8; 32].into())))).await;
    assert_eq!(one.unwrap().into_inner().tokens_withdrawn, 0);
    let _ = join(&world, &last, &PrivateKey::generate().unwrap()).await.unwrap();
}

#[tokio::test]
async fn joins_that_are_refused_at_the_door_are_counted() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let channel = door(&world, &token).await;
    // Of ten at once, and one a second, all come from one address.
    let mut refused = std::collections::BTreeMap::<Reason, u64>::new();
    for number in 0..15 {
        let guess = v1::JoinRequest { token_id: vec![number; 16].into(), ..v1::JoinRequest::default() };
        let answer = within(EnrolmentClient::new(channel.clone()).join(guess)).await;
        *refused.entry(reason(answer)).or_default() += 1;
    }
    assert!(refused[&Reason::QuotaExceeded] > 0, "{refused:?}");
    let (_, status) = world.local("GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    for (reason, count) in refused {
        assert_eq!(status["certifying"]["joins_refused"][reason.as_str()], count, "{}", reason.as_str());
    }
}

#[tokio::test]
async fn of_many_who_join_with_one_token_at_once_one_does() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let channel = door(&world, &token).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let request = request(&token, &PrivateKey::generate().unwrap());
        let mut client = EnrolmentClient::new(channel.clone());
        tasks.spawn(async move { within(client.join(request)).await.map_err(|status| reason::<()>(Err(status))) });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, [Reason::TokenSpent; 3]);
}

#[tokio::test]
async fn a_token_for_an_unknown_system_enters_it_into_the_registry() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let new = v1::IssueTokenRequest {
        acts_for: vec!["H99.105".into(), "H99.BD.*".into()],
        description: "Một cửa xã \"Mới\"".into(),
        ..token_for("xa-moi")
    };
    let unknown_party = within(certificates(&operator).issue_token(new.clone())).await;
    let unknown_party = refusal(unknown_party);
    assert_eq!((unknown_party.reason(), fields(&unknown_party)), (Reason::PartyUnknown, vec!["acts_for[0]"]));
    let new = v1::IssueTokenRequest { acts_for: vec!["H99.104".into(), "H99.BD.*".into()], ..new };
    let without = v1::IssueTokenRequest { acts_for: Vec::new(), ..new.clone() };
    let refused = refusal(within(certificates(&operator).issue_token(without)).await);
    assert_eq!((refused.reason(), refused.violations()[0].field.as_str()), (Reason::FieldInvalid, "acts_for"));
    let answer = within(certificates(&operator).issue_token(new.clone())).await.unwrap().into_inner();
    assert_eq!(answer.registry_version, 2);
    let token: JoinToken = answer.token.parse().unwrap();
    let joined = join(&world, &token, &PrivateKey::generate().unwrap()).await.unwrap();
    assert_eq!((joined.certificate.unwrap().system, joined.acts_for), ("xa-moi".into(), new.acts_for.clone()));
    // Known now, it is named as it stands or without its parties.
    for acts_for in [Vec::new(), new.acts_for.clone()] {
        let again = v1::IssueTokenRequest { acts_for, ..new.clone() };
        assert_eq!(within(certificates(&operator).issue_token(again)).await.unwrap().into_inner().registry_version, 0);
    }
    let other = v1::IssueTokenRequest { acts_for: vec!["H99.101".into()], ..new };
    assert_eq!(reason(within(certificates(&operator).issue_token(other)).await), Reason::FieldInvalid);
    let read = v1::ReadRegistryRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        ..v1::ReadRegistryRequest::default()
    };
    let files = within(operator.registry().read(read)).await.unwrap().into_inner().files;
    let systems = files.into_iter().find(|file| file.name == "systems.toml").unwrap().content;
    let systems = String::from_utf8(systems.to_vec()).unwrap();
    assert!(
        systems.starts_with("# Hệ thống của Tỉnh Mẫu.") && systems.contains("{ name = \"mot-cua-binh\","),
        "{systems}"
    );
}

#[tokio::test]
async fn only_who_may_certify_hands_out_tokens_and_takes_certificates_away() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let (party, actor) = (AN.to_owned(), "can.bo.1".to_owned());
    let token = v1::IssueTokenRequest { acting_party: party.clone(), ..token_for("mot-cua") };
    assert_eq!(reason(within(certificates(&desk).issue_token(token)).await), Reason::GrantMissing);
    let withdraw = v1::WithdrawTokenRequest { acting_party: party.clone(), actor, token_id: vec![1; 16].into() };
    assert_eq!(reason(within(certificates(&desk).withdraw_token(withdraw)).await), Reason::GrantMissing);
    let revoke = v1::RevokeRequest { acting_party: party.clone(), ..revoke(What::System("van-hanh".into())) };
    assert_eq!(reason(within(certificates(&desk).revoke(revoke)).await), Reason::GrantMissing);
    let refused = refusal(within(certificates(&desk).list(list(&party))).await);
    assert_eq!((refused.reason(), refused.details()["right"].as_str()), (Reason::GrantMissing, "certify"));
    let of_another = v1::ListCertificatesRequest { system: "van-hanh".into(), ..list(&party) };
    assert_eq!(reason(within(certificates(&desk).list(of_another)).await), Reason::GrantMissing);
    // Its own are its own business.
    let own = v1::ListCertificatesRequest { system: "mot-cua".into(), ..list(&party) };
    within(certificates(&desk).list(own)).await.unwrap();
    // Whom to trust everybody may know that is in the registry.
    let unknown = world.system("khong-co").await;
    assert_eq!(reason(within(certificates(&unknown).trust(v1::TrustRequest::default())).await), Reason::SystemUnknown);
    let renew = v1::RenewRequest { signing_request: PrivateKey::generate().unwrap().signing_request().unwrap().into() };
    assert_eq!(reason(within(certificates(&unknown).renew(renew)).await), Reason::SystemUnknown);
}

#[tokio::test]
async fn who_may_only_certify_gets_no_token_for_a_system_that_may_more() {
    let world = World::start().await;
    let grant = |id: &str, party: &str| format!("id = \"{id}\"\nparty = \"{party}\"");
    let (theirs, ours) = (grant("chung-thu", OPERATOR), grant("chung-thu-an", AN));
    let both = format!("{ours}\nright = \"certify\"\nowner = \"H99.VH\"\n\n[[grant]]\n{theirs}");
    world.change("grants.toml", &theirs, &both).await;
    let desk = world.system("mot-cua").await;
    let token = |system: &str| v1::IssueTokenRequest { acting_party: AN.into(), ..token_for(system) };
    issue(&desk, token("so-nganh")).await;
    let refused = refusal(within(certificates(&desk).issue_token(token("van-hanh"))).await);
    assert_eq!((refused.reason(), refused.details()["right"].as_str()), (Reason::GrantMissing, "registry"));
    issue(&world.system("van-hanh").await, token_for("van-hanh")).await;

    // Nor by way of a new system: who keeps the registry and hands out certificates does not operate.
    let registry = format!("{}\nright = \"registry\"\nowner = \"H99.VH\"\n\n[[grant]]\n{theirs}", grant("so", AN));
    world.change("grants.toml", &theirs, &registry).await;
    let new = v1::IssueTokenRequest { acts_for: vec![OPERATOR.into()], ..token("he-thong-moi") };
    let refused = refusal(within(certificates(&desk).issue_token(new)).await);
    assert_eq!((refused.reason(), refused.details()["right"].as_str()), (Reason::GrantMissing, "operate"));
    let unknown = refusal(within(certificates(&desk).issue_token(token("he-thong-moi"))).await);
    assert_eq!(fields(&unknown), ["acts_for"], "it was not entered");
    issue(&desk, v1::IssueTokenRequest { acts_for: vec![BINH.into()], ..token("he-thong-moi") }).await;
}

#[tokio::test]
async fn certificates_are_listed_by_when_they_expire() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let open = issue(&operator, token_for("so-nganh")).await;
    let mut digests = Vec::new();
    for name in ["mot-cua", "mot-cua-binh", "cong-an"] {
        let token = issue(&operator, token_for(name)).await;
        let issued = join(&world, &token, &PrivateKey::generate().unwrap()).await.unwrap().certificate.unwrap();
        digests.push(sha256(&issued.chain[0]).as_bytes().to_vec());
    }
    // Seen, and not issued here: they live for a day. The operator has signed nothing.
    let desk = world.system("mot-cua").await;
    desk.admitted(&aid("k-1")).await;
    world.eventually(async || asked_of(&operator, list(OPERATOR)).await.certificates.len() == 6).await;
    let asked = async |request: v1::ListCertificatesRequest| asked_of(&operator, request).await;
    let all = asked(list(OPERATOR)).await;
    assert_eq!(all.tokens.len(), 1);
    assert_eq!((&all.tokens[0].token_id[..], all.tokens[0].system.as_str()), (&open.id()[..], "so-nganh"));
    let told: Vec<_> = all.certificates.iter().map(|one| (one.system.as_str(), one.issued_here)).collect();
    let foreign = [("", false), ("mot-cua", false), ("van-hanh", false)];
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(foreign.iter().all(|one| told[..3].contains(one)), "{told:?}");
    assert!(all.certificates[2].first_seen_at.is_some() && all.certificates[5].first_seen_at.is_none());
    let mine: std::collections::BTreeSet<_> = all.certificates[3..].iter().map(|one| one.sha256.to_vec()).collect();
    assert_eq!(mine, digests.iter().cloned().collect());

    let soon = SystemTime::now() + Duration::from_secs(10 * 24 * 3600);
    let expiring = v1::ListCertificatesRequest { expiring_before: Some(soon.into()), ..list(OPERATOR) };
    assert_eq!(asked(expiring).await.certificates.len(), 3);
    let of_one = v1::ListCertificatesRequest { system: "cong-an".into(), ..list(OPERATOR) };
    let of_one = asked(of_one).await;
    assert_eq!((of_one.certificates.len(), of_one.tokens.len()), (1, 0));
    let revoke = revoke(What::CertificateSha256(digests[0].clone().into()));
    within(certificates(&operator).revoke(revoke)).await.unwrap();
    assert_eq!(asked(list(OPERATOR)).await.certificates.len(), 5);
    let with_past = v1::ListCertificatesRequest { with_past: true, ..list(OPERATOR) };
    let revoked: Vec<_> = asked(with_past.clone()).await.certificates;
    let revoked: Vec<_> = revoked.iter().filter(|one| one.revoked_at.is_some()).collect();
    assert_eq!((revoked.len(), revoked[0].revoked_ground.as_str()), (1, "KEY_STOLEN"));
    // In pages they are the same ones, and a token belongs to its question.
    let (mut pages, mut next) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCertificatesRequest { page_size: 2, page_token: next, ..with_past.clone() };
        let page = asked(request).await;
        pages.extend(page.certificates);
        next = page.next_page_token;
        if next.is_empty() {
            break;
        }
        let other = v1::ListCertificatesRequest { page_token: next.clone(), ..list(OPERATOR) };
        assert_eq!(reason(within(certificates(&operator).list(other)).await), Reason::PageTokenInvalid);
    }
    assert_eq!(pages, asked(with_past).await.certificates);
}

#[tokio::test]
async fn what_is_revoked_stays_so_when_the_gateway_comes_back() {
    let mut world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let key = PrivateKey::generate().unwrap();
    let issued = join(&world, &token, &key).await.unwrap().certificate.unwrap();
    let joined = credentials(&world, "joined", &key, &issued);
    assert!(speaks(&system(&world, world.load("joined")).await).await);
    let unknown = within(certificates(&operator).revoke(revoke(What::CertificateSha256(vec![1; 32].into())))).await;
    assert_eq!(reason(unknown), Reason::CertificateNotFound);
    let unknown = within(certificates(&operator).revoke(revoke(What::System("so-nganh".into())))).await;
    assert_eq!(reason(unknown), Reason::CertificateNotFound);
    within(certificates(&operator).revoke(revoke(What::KeySha256(key_of(&issued))))).await.unwrap();
    world.restart().await;
    assert!(!lets_in(&world, &joined).await);
    assert!(speaks(&world.system("van-hanh").await).await);
}

#[tokio::test]
async fn whoever_is_revoked_is_cut_though_the_disk_takes_nothing() {
    let mut world = World::start().await;
    // What has to be taken back cannot be written either.
    issue(&world.system("van-hanh").await, token_for("mot-cua-binh")).await;
    issue(&world.system("van-hanh").await, token_for("so-nganh")).await;
    let room = rustix::fs::statvfs(world.folder()).unwrap();
    world.min_free_bytes = room.f_bavail * room.f_frsize * 8;
    world.restart().await;
    let (operator, thief) = (world.system("van-hanh").await, world.system("mot-cua-binh").await);
    assert!(speaks(&thief).await);
    let refused = within(certificates(&operator).revoke(revoke(What::System("mot-cua-binh".into())))).await;
    let refused = refusal(refused);
    let told = |key: &str| refused.details()[key].as_str();
    assert_eq!(refused.reason(), Reason::ReadOnly);
    assert_eq!((told("connections_cut"), told("out_of_force")), ("1", "until_restart"));
    assert!(!speaks(&thief).await);
    assert!(!lets_in(&world, &thief.credentials).await);
    assert!(speaks(&world.system("mot-cua").await).await);
    // Of one that never came, the token is still good: it is not said that there was nothing.
    let never_came = within(certificates(&operator).revoke(revoke(What::System("so-nganh".into())))).await;
    assert_eq!(reason(never_came), Reason::ReadOnly);
    // Said again when there is room, it is on record.
    world.min_free_bytes = 0;
    world.restart().await;
    let operator = world.system("van-hanh").await;
    let again = System { channel: connect(world.bus(), thief.credentials.client_config()).await.unwrap(), ..thief };
    assert!(speaks(&again).await, "it was said that it lasts until the restart");
    let revoked = within(certificates(&operator).revoke(revoke(What::System("mot-cua-binh".into())))).await.unwrap();
    let revoked = revoked.into_inner();
    assert_eq!((revoked.connections_cut, revoked.tokens_withdrawn, revoked.repeated), (1, 1, false));
    world.restart().await;
    assert!(!lets_in(&world, &again.credentials).await);
}

#[tokio::test]
async fn whoever_is_revoked_is_cut_though_somebody_is_writing() {
    let world = World::start().await;
    let (operator, thief) = (world.system("van-hanh").await, world.system("mot-cua-binh").await);
    let key = CertificateFacts::read(thief.credentials.certificate()).unwrap().key_sha256;
    let writing = world.engine().as_if_revoking().await;
    for what in [What::KeySha256(key.to_vec().into()), What::System("mot-cua".into())] {
        let desk = world.system("mot-cua").await;
        let mut client = certificates(&operator);
        let revoking = tokio::spawn(async move { client.revoke(revoke(what.clone())).await });
        world.eventually(async || !speaks(&thief).await || !speaks(&desk).await).await;
        revoking.abort();
    }
    assert!(!speaks(&thief).await);
    assert!(!lets_in(&world, &thief.credentials).await);
    drop(writing);
}

#[tokio::test]
async fn a_certificate_that_came_before_its_system_was_in_the_registry_is_found_when_it_is_revoked() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let early = world.system("xa-som").await;
    assert!(!speaks(&early).await);
    let token = v1::IssueTokenRequest { acts_for: vec![BINH.into()], ..token_for("xa-som") };
    issue(&operator, token).await;
    assert!(speaks(&early).await);
    let of_it = || v1::ListCertificatesRequest { system: "xa-som".into(), ..list(OPERATOR) };
    world.eventually(async || asked_of(&operator, of_it()).await.certificates.len() == 1).await;
    let credentials = early.credentials;
    drop(early.channel);
    within(certificates(&operator).revoke(revoke(What::System("xa-som".into())))).await.unwrap();
    assert!(!lets_in(&world, &credentials).await);
}

#[tokio::test]
async fn a_certificate_that_is_renewed_while_its_key_is_revoked_comes_to_nothing() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let key = PrivateKey::generate().unwrap();
    let issued = join(&world, &token, &key).await.unwrap().certificate.unwrap();
    let desk = system(&world, credentials(&world, "joined", &key, &issued)).await;
    let own = v1::ListCertificatesRequest { system: "mot-cua".into(), with_past: true, ..list(OPERATOR) };
    let revoking = world.engine().as_if_revoking().await;
    let mut renewal = tokio::spawn({
        let next = PrivateKey::generate().unwrap();
        let renew = v1::RenewRequest { signing_request: next.signing_request().unwrap().into() };
        let mut client = certificates(&desk);
        async move { client.renew(renew).await }
    });
    // It waits for the revocation, however long that takes.
    tokio::time::timeout(Duration::from_secs(1), &mut renewal).await.unwrap_err();
    world.engine().connections().revoke([key_of(&issued)[..].try_into().unwrap()]);
    drop(revoking);
    assert!(within(renewal).await.unwrap().is_err());
    // The call was cut with its connection; what it had begun has ended once the next revocation is through.
    drop(world.engine().as_if_revoking().await);
    let known = asked_of(&operator, own).await.certificates;
    assert_eq!(known.iter().filter(|one| one.issued_here).count(), 1, "{known:?}");
}

#[tokio::test]
async fn who_guesses_is_slowed_down() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let key = PrivateKey::generate().unwrap();
    let mut client = EnrolmentClient::new(door(&world, &token).await);
    let right = request(&token, &key);
    let mut slowed = None;
    for guess in 0..64u8 {
        let wrong = v1::JoinRequest { token_secret: vec![guess; 32].into(), ..right.clone() };
        let refused = refusal(within(client.join(wrong)).await);
        if refused.reason() == Reason::QuotaExceeded {
            slowed = Some((guess, refused));
            break;
        }
        assert_eq!(refused.reason(), Reason::TokenInvalid);
    }
    let (guesses, refused) = slowed.expect("a guesser is slowed down");
    assert!(guesses <= 10 && refused.retry_after().is_some(), "{guesses} {refused}");
}

#[tokio::test]
async fn strangers_without_a_token_take_nothing_from_who_has_one() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    // As many as come from many addresses: each with a name of its own, none with that of the token.
    for stranger in (0..=255).filter(|last| *last != token.id()[15]) {
        let attempt = JoinAttempt {
            id: [stranger; 16],
            secret: zeroize::Zeroizing::new(vec![stranger; 32]),
            signing_request: bytes::Bytes::new(),
        };
        assert_eq!(world.engine().join(attempt).await.unwrap_err().reason(), Reason::TokenInvalid);
    }
    join(&world, &token, &PrivateKey::generate().unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_door_for_strangers_leads_nowhere_else() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    let channel = door(&world, &token).await;
    for rpc in super::wire::every_rpc() {
        let refused = send(&channel, &rpc, bytes::Bytes::new()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented, "{rpc}");
    }
    const JOIN: &str = "/lgsp.v1.Enrolment/Join";
    let refused = refusal(send(&channel, JOIN, bytes::Bytes::from_static(b"\xff\xff\xff\xff")).await);
    assert_eq!(refused, Refusal::new(Reason::Malformed));
    let refused = refusal(send(&channel, JOIN, vec![0; (64 << 10) + 100].into()).await);
    assert_eq!(refused, Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", 64 << 10));
    let refused = refusal(send(&channel, JOIN, bytes::Bytes::new()).await);
    let fields: Vec<_> = refused.violations().iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["token_id", "token_secret"]);
    let key = PrivateKey::generate().unwrap();
    let no_request = v1::JoinRequest { signing_request: b"none".to_vec().into(), ..request(&token, &key) };
    assert_eq!(reason(ask(&world, &token, no_request).await), Reason::SigningRequestInvalid);
    // And nobody joins at the bus: it asks for a certificate first.
    let desk = world.system("mot-cua").await;
    assert_eq!(send(&desk.channel, JOIN, bytes::Bytes::new()).await.unwrap_err().code(), tonic::Code::Unimplemented);
    // A door with another root behind it is not ours.
    assert!(connect(world.enrolment(), joining_config(&[[7; 32]])).await.is_err());
}

fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from(*lgsp_certs::CertificateDigest::of(bytes).as_bytes())
}
