//! Who gets in: on this machine with the token, from elsewhere with a name of one's own.

use http::{Method, StatusCode};
use lgsp_adapters::access::{begin_token_change, current_token, finish_token_change};

use crate::support::{Adapter, PARTY, World, until};

/// The status of a question, asked with this token.
async fn asked(adapter: &mut Adapter, token: &str) -> StatusCode {
    adapter.token = Some(token.to_owned());
    adapter.get("/v1/requests").await.status
}

#[tokio::test]
async fn without_a_word_in_the_configuration_there_is_a_token_and_it_is_asked_for() {
    let world = World::new().await;
    let config = world.config("rest.token = \"file\"");
    let file = config.rest.token_file.clone().unwrap();
    assert_eq!(file, world.spool_folder().join("rest.token"));
    let mut adapter = Adapter::start(config).await;
    let refused = adapter.get("/v1/requests").await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::UNAUTHORIZED, &"TOKEN_INVALID".into()));
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert_eq!(asked(&mut adapter, "").await, StatusCode::UNAUTHORIZED);
    let token = current_token(&file).unwrap().to_string();
    assert_eq!(asked(&mut adapter, &token).await, StatusCode::OK);
    // Not as anything else.
    adapter.token = None;
    let basic =
        adapter.call(Method::GET, "/v1/requests", &[("lgsp-party", PARTY), ("authorization", &token)], "").await;
    assert_eq!(basic.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_token_may_be_there_before_the_adapter_and_is_changed_while_it_runs() {
    let world = World::new().await;
    let config = world.config("rest.token = \"file\"");
    let file = config.rest.token_file.clone().unwrap();
    std::fs::create_dir(world.spool_folder()).unwrap();
    let old = current_token(&file).unwrap().to_string();
    let mut adapter = Adapter::start(config).await;
    assert_eq!(asked(&mut adapter, &old).await, StatusCode::OK);
    begin_token_change(&file).unwrap();
    let new = current_token(&file).unwrap().to_string();
    until(async || (asked(&mut adapter, &new).await == StatusCode::OK).then_some(())).await;
    assert_eq!(asked(&mut adapter, &old).await, StatusCode::OK, "both are good during a change");
    finish_token_change(&file).unwrap();
    until(async || (asked(&mut adapter, &old).await == StatusCode::UNAUTHORIZED).then_some(())).await;
    assert_eq!(asked(&mut adapter, &new).await, StatusCode::OK);
}
