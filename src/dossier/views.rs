//! What the bus answers, as JSON for programs: the very words of the adapters' REST interface.

use lgsp_adapters::json::{DossierJson, EventJson, ReceiptJson, RouteJson, WarningJson};
use lgsp_adapters::link::{Admitted, Proof};
use lgsp_proto::v1;
use serde::Serialize;
use serde_json::{Value, json};

/// How a dossier stands.
pub(crate) fn dossier(dossier: &v1::Dossier) -> Value {
    value(DossierJson::new(dossier.clone()))
}

/// One admitted fact about a dossier.
pub(crate) fn event(event: &v1::Event) -> Value {
    value(EventJson::new(event.clone()))
}

/// Which authority is competent, and why.
pub(super) fn route(route: &v1::ExplainRouteResponse) -> Value {
    value(RouteJson::new(route.clone()))
}

/// A receipt, and what is known about it here.
pub(super) fn admitted(admitted: &Admitted) -> Value {
    let mut told = value(ReceiptJson::new(&admitted.signed));
    if let Some(told) = told.as_object_mut() {
        let warnings = admitted.warnings.iter().cloned().map(WarningJson::new).map(value);
        told.insert("signature_checked".into(), json!(admitted.proof == Proof::Verified));
        told.insert("repeated".into(), json!(admitted.repeated));
        told.insert("warnings".into(), warnings.collect());
    }
    told
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).expect("texts, numbers and lists of them")
}
