//! How the national portal is kept in step, and what differs there. Dossiers appear by their codes; no content.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use lgsp_proto::Reason;
use lgsp_proto::types::BusinessTime;
use serde::Deserialize;
use utoipa::ToSchema;

use super::describe::OfPortal;
use super::{Api, json, read_json};
use crate::json::Fields;
use crate::portal::{AnotherRuns, ComparisonJson, Portal, PortalJson};
use crate::problem::{LocalReason, Problem};

/// What to compare.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = PortalPeriod)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PeriodJson {
    /// The first moment of reception. Compulsory.
    #[schema(required, nullable = false)]
    received_from: Option<String>,
    /// The moment after the last one. Compulsory.
    #[schema(required, nullable = false)]
    received_to: Option<String>,
    /// Whether what is missing or different is sent again.
    repair: bool,
}

/// `GET /v1/portal`: how far it is behind.
#[utoipa::path(
    get, path = "/v1/portal", tag = "portal", operation_id = "show_portal",
    summary = "How far the national portal is behind",
    description = "Since when it lacks what, what failed and why, and the dossiers with trouble of their own.",
    responses((status = 200, description = "How it is", body = PortalJson), OfPortal),
)]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &portal(&api)?.to_json()))
}

/// `POST /v1/portal/reconcile`: what the portal has beside what it should have.
#[utoipa::path(
    post, path = "/v1/portal/reconcile", tag = "portal", operation_id = "reconcile_portal",
    summary = "Begins to compare what the national portal has with what it should have",
    description = "The dossiers received in a period, by codes and times only; with `repair` what is missing or different is sent again. \
        It goes on when the caller goes: ask with GET until it is not running any more. Whoever asks for what is under way joins it.",
    request_body = PeriodJson,
    responses((status = 200, description = "How far it is, and what differs once it is over", body = ComparisonJson), OfPortal),
)]
pub(super) async fn reconcile(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Problem> {
    let PeriodJson { received_from, received_to, repair } = read_json(body).await?;
    let mut fields = Fields::default();
    let from = fields.required::<BusinessTime>("received_from", received_from.as_deref());
    let to = fields.required::<BusinessTime>("received_to", received_to.as_deref());
    let period = fields.finish(from.zip(to))?;
    let period = period.ok_or_else(|| Problem::malformed("the period cannot be read"))?;
    let begun = portal(&api)?.compare(period.into(), repair).await;
    let standing = begun.map_err(|AnotherRuns| {
        Problem::from(Reason::Overloaded).with_detail("another comparison with the portal is under way")
    })?;
    Ok(json(StatusCode::OK, &standing))
}

/// `GET /v1/portal/reconcile`: how the comparison stands.
#[utoipa::path(
    get, path = "/v1/portal/reconcile", tag = "portal", operation_id = "show_portal_reconciliation",
    summary = "How the comparison with the national portal stands",
    description = "The one under way, or the last one since the adapter's start. Answers at once when it is over, else after two seconds.",
    responses((status = 200, description = "How far it is, and what differs once it is over", body = ComparisonJson), OfPortal),
)]
pub(super) async fn reconciliation(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let none = || Problem::from(LocalReason::ResourceNotFound).with_detail("nothing was compared since the start");
    let standing = portal(&api)?.comparison().await.ok_or_else(none)?;
    Ok(json(StatusCode::OK, &standing))
}

fn portal(api: &Api) -> Result<&Portal, Problem> {
    let none = || Problem::from(LocalReason::ResourceNotFound).with_detail("the configuration has no [portal]");
    api.portal.as_deref().ok_or_else(none)
}
