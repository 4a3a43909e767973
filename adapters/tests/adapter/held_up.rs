//! What is wrong with one party, one document, one call or one delivery costs the others nothing.

use lgsp_proto::v1::AcknowledgeStage::TakenOver;
use lgsp_proto::v1::DeclineKind;

use crate::support::gateway::Declined;
use crate::support::{Adapter, PARTY, World};

fn id(dossier: &str, sequence: u32) -> String {
    format!("{PARTY}/{dossier}/{sequence}")
}

fn declined(name: &str, reason: &str, kind: DeclineKind) -> Declined {
    Declined { name: name.into(), reason: reason.into(), kind }
}

#[tokio::test]
async fn a_delivery_that_hangs_the_agencys_system_goes_back_while_others_are_taken() {
    let world = World::new().await;
    let config = format!(
        "webhook.url = \"http://{}/lgsp\"\nwebhook.attempts = 3\nwebhook.timeout_ms = 30",
        world.agency.address()
    );
    let adapter = Adapter::start(world.config(&config)).await;
    world.agency.hold(&id("A-1", 1));
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    // Others are taken all the while.
    let mut others = 0;
    while world.gateway.declined().is_empty() {
        others += 1;
        assert!(others < 500, "it is never given back");
        world.gateway.deliver("B-1", others);
        world.agency.takes(others as usize).await;
    }
    assert_eq!(world.gateway.declined(), [declined("A-1/1", "AGENCY_FAILING", DeclineKind::Transient)]);
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0).await;
}
