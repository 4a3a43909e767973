//! The sandbox's own small port, on the loopback interface only: which scenario, and for a developer who decides, one more
//! dossier. A browser's page of some other origin is turned away.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::ValueEnum as _;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::people::{People, Role};
use super::scenario::Scenario;

/// Serves until the sandbox ends.
pub(super) async fn serve(listener: TcpListener, people: Arc<People>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/scenario", get(show))
        .route("/scenario/{name}", post(change))
        .route("/dossiers", post(hand_in))
        .layer(from_fn(refuse_pages))
        .with_state(people);
    axum::serve(listener, routes).await
}

/// Turns a browser's page away, which says where it is from.
pub(super) async fn refuse_pages(request: Request, next: Next) -> Response {
    match request.headers().contains_key(header::ORIGIN) {
        true => answer(StatusCode::FORBIDDEN, &json!({"error": "not for pages of a browser"})),
        false => next.run(request).await,
    }
}

async fn show(State(people): State<Arc<People>>) -> Response {
    answer(StatusCode::OK, &standing(&people))
}

async fn change(State(people): State<Arc<People>>, Path(name): Path<String>) -> Response {
    let Ok(scenario) = Scenario::from_str(&name, false) else {
        let known: Vec<_> = Scenario::value_variants().iter().map(|scenario| scenario.word()).collect();
        return answer(StatusCode::NOT_FOUND, &json!({"error": "no such scenario", "scenarios": known}));
    };
    people.set(scenario);
    let text = scenario.text();
    people.live.note(
        "scenario",
        format!("từ đây theo kịch bản {}: {}", scenario.word(), text.vi),
        format!("from now on the scenario is {}: {}", scenario.word(), text.en),
    );
    answer(StatusCode::OK, &standing(&people))
}

async fn hand_in(State(people): State<Arc<People>>) -> Response {
    if people.role != Role::Authority {
        let error = "here you hand in dossiers; start with --role authority to have them handed in";
        return answer(StatusCode::CONFLICT, &json!({"error": error}));
    }
    match people.hand_in().await {
        Ok(key) => answer(StatusCode::OK, &json!({"request_key": key})),
        Err(error) => answer(StatusCode::BAD_GATEWAY, &json!({"error": format!("{error:#}")})),
    }
}

fn standing(people: &People) -> Value {
    let scenario = *people.scenario.borrow();
    json!({"scenario": scenario.word(), "means": people.live.lang().sentence(scenario.text())})
}

/// With a line feed at its end, because it is read in a terminal.
fn answer(status: StatusCode, body: &Value) -> Response {
    let mut answer = (status, Json(Value::Null)).into_response();
    *answer.body_mut() = format!("{body}\n").into();
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    answer
}
