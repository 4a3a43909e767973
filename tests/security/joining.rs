//! Where systems join: open to anybody, and good for one thing only, with a token.

use bytes::Bytes;
use lgsp_certs::PrivateKey;
use lgsp_proto::types::JoinToken;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::enrolment_client::EnrolmentClient;
use lgsp_proto::{Reason, Refusal, v1};
use tonic::{Code, Status};

use crate::client::Caller;
use crate::rows::{Ask, OPERATOR, ROWS};
use crate::support::Bus;
use crate::things::{Things, token};

/// Spends a token as somebody who has nothing else.
async fn join(bus: &Bus, token: &JoinToken, key: &PrivateKey) -> Result<v1::JoinResponse, Status> {
    let request = v1::JoinRequest {
        token_id: Bytes::copy_from_slice(token.id()),
        token_secret: Bytes::copy_from_slice(token.secret()),
        signing_request: key.signing_request().unwrap().into(),
    };
    Ok(EnrolmentClient::new(Caller::joining(bus, None).channel).join(request).await?.into_inner())
}

fn reason(joined: Result<v1::JoinResponse, Status>) -> Reason {
    let status = joined.expect_err("it is refused");
    Refusal::from_status(&status).unwrap_or_else(|| panic!("not a refusal of the bus: {status}")).reason()
}

async fn token_for(bus: &Bus, system: &str) -> JoinToken {
    token(bus, system).await.token.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_one_key_in_once_and_whoever_finds_it_later_gets_nothing() {
    let bus = Bus::start().await;
    let (ours, thiefs) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let token = token_for(&bus, "mot-cua").await;
    let joined = join(&bus, &token, &ours).await.unwrap().certificate.unwrap();
    assert_eq!(joined.system, "mot-cua");
    // An answer that was lost is asked for again; another key is told to tell.
    assert_eq!(join(&bus, &token, &ours).await.unwrap().certificate.unwrap(), joined);
    assert_eq!(reason(join(&bus, &token, &thiefs).await), Reason::TokenSpent);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_no_good_is_told_so_in_one_word_whatever_is_wrong_with_it() {
    let bus = Bus::start().await;
    let key = PrivateKey::generate().unwrap();
    let good = token_for(&bus, "mot-cua").await;
    let parts = |id: [u8; 16], secret: [u8; 32]| {
        let roots = good.root_sha256().to_vec();
        JoinToken::new(good.enrolment_url(), None, roots, id, secret.into(), "mot-cua", good.expires_at()).unwrap()
    };
    assert_eq!(reason(join(&bus, &parts([3; 16], *good.secret()), &key).await), Reason::TokenInvalid);
    assert_eq!(reason(join(&bus, &parts(*good.id(), [3; 32]), &key).await), Reason::TokenInvalid);

    let request = v1::WithdrawTokenRequest {
        acting_party: OPERATOR.1.into(),
        actor: "operator-1".into(),
        token_id: Bytes::copy_from_slice(good.id()),
    };
    let operator = Caller::new(&bus, Some(&bus.issue(OPERATOR.0)));
    CertificatesClient::new(operator.channel).withdraw_token(request).await.unwrap();
    assert_eq!(reason(join(&bus, &good, &key).await), Reason::TokenInvalid);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_bus_is_served_where_systems_join_nor_joining_on_the_bus() {
    let bus = Bus::start().await;
    let things = Things::on(&bus).await;
    for row in ROWS {
        // Even for those who have all it takes.
        let caller = Caller::joining(&bus, Some(&bus.issue(row.with.0)));
        let ask = Ask { party: row.with.1, things: things.clone() };
        let status = (row.call)(caller, ask).await.expect_err(row.rpc);
        assert_eq!((status.code(), Refusal::from_status(&status)), (Code::Unimplemented, None), "{}", row.rpc);
    }
    let token = token_for(&bus, "mot-cua").await;
    let request = v1::JoinRequest {
        token_id: Bytes::copy_from_slice(token.id()),
        token_secret: Bytes::copy_from_slice(token.secret()),
        signing_request: PrivateKey::generate().unwrap().signing_request().unwrap().into(),
    };
    let channel = Caller::new(&bus, Some(&bus.issue("mot-cua"))).channel;
    let status = EnrolmentClient::new(channel).join(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    bus.stop().await;
}
