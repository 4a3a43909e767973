use super::*;
use crate::engine::testing::{House, OPERATOR, edited, registry};

#[tokio::test]
async fn who_loses_the_right_while_it_waits_to_apply_a_registry_is_refused() {
    let house = House::open().await;
    let (peer, party) = (house.peer("van-hanh"), OPERATOR.parse().unwrap());
    let actor = "van.hanh.1".parse().unwrap();
    let (mine, anothers) = ("party = \"H99.VH\"\nright = \"registry\"", "party = \"H99.01\"\nright = \"registry\"");
    let taken_away = Proposal::Files(edited("grants.toml", mine, anothers));
    let terms = |base_version| Terms { base_version, accept_lock_out: true };
    // Both are let in under the registry that allows them, and wait for each other in this order.
    let (first, second) = tokio::join!(
        house.engine.apply_registry(&peer, &party, &actor, taken_away, terms(1)),
        house.engine.apply_registry(&peer, &party, &actor, Proposal::Files(registry()), terms(2)),
    );
    assert_eq!(first.unwrap().0.number, 2);
    assert_eq!(second.unwrap_err().reason(), Reason::GrantMissing);
    assert_eq!(house.engine.registry().unwrap().version(), 2);
}
