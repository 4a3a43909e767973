//! What every engine behind the port has to hold, as one suite: [`holds`].
//!
//! It speaks to the port only. What an engine does beyond it (its files, its crashes) is tested where the engine is.

#![expect(clippy::unwrap_used, reason = "this is a suite of tests")]

mod archiving;
mod auditing;
mod certificates;
mod deliveries;
mod documents;
mod epochs;
mod listing;
mod numbers;
mod parking;
mod queries;
mod races;
mod reading;
pub mod sample;

use std::sync::Arc;

use super::Store;

/// Runs the whole suite.
///
/// `open` opens the database of a name: an empty one at first, and what was closed under that name afterwards. Databases
/// of different names have nothing to do with each other.
///
/// # Panics
/// The engine breaks a promise; the message says which.
pub async fn holds(open: impl AsyncFn(&str) -> Arc<dyn Store>) {
    reading::what_was_committed_is_read_back(&open).await;
    reading::events_come_in_order_and_in_pages(&open).await;
    reading::a_page_of_large_bodies_holds_fewer_events_and_one_at_least(&open).await;
    reading::bodies_are_opened_only_when_asked_for(&open).await;
    reading::nothing_is_known_of_what_was_never_committed(&open).await;
    reading::closing_and_opening_changes_nothing(&open).await;
    reading::a_closed_store_refuses(&open).await;
    races::an_event_that_is_not_the_next_one_conflicts(&open).await;
    races::a_key_is_used_once_by_a_party(&open).await;
    races::an_alias_names_one_dossier(&open).await;
    races::a_code_is_given_once(&open).await;
    races::no_code_is_the_alias_of_another_dossier(&open).await;
    races::of_many_at_once_exactly_one_wins(&open).await;
    races::what_follows_from_something_visible_is_no_conflict(&open).await;
    deliveries::a_delivery_waits_until_it_is_taken_over_and_then_handed_over(&open).await;
    deliveries::deliveries_come_in_the_order_of_admission_after_a_position(&open).await;
    deliveries::acknowledging_what_is_not_owed_changes_nothing(&open).await;
    deliveries::a_long_acknowledgement_counts_every_delivery_once(&open).await;
    deliveries::a_party_has_nothing_to_do_with_the_inbox_of_another(&open).await;
    parking::what_was_taken_over_has_a_holder_until_it_is_handed_over(&open).await;
    parking::what_is_given_back_waits_at_its_old_place(&open).await;
    parking::a_parked_dossier_waits_for_a_person_and_no_other_does(&open).await;
    parking::a_retried_dossier_waits_again_and_a_skipped_delivery_never(&open).await;
    parking::what_a_dossier_is_parked_for_can_still_be_given_back_or_handed_over(&open).await;
    listing::a_party_lists_what_concerns_it_newest_change_first(&open).await;
    listing::pages_neither_lose_nor_repeat(&open).await;
    listing::every_filter_filters(&open).await;
    numbers::no_number_is_taken_twice(&open).await;
    numbers::a_lease_is_its_desks_alone_and_survives(&open).await;
    numbers::a_block_is_good_in_its_epoch_only_and_says_whose_spool_it_is(&open).await;
    numbers::a_block_counts_what_came_in_and_goes_when_all_has(&open).await;
    numbers::a_number_of_the_authoritys_own_raises_no_counter_and_is_never_given(&open).await;
    numbers::a_number_that_was_recorded_is_not_taken_again(&open).await;
    numbers::the_day_ends_at_its_last_number(&open).await;
    epochs::a_new_epoch_goes_on_beyond_what_may_have_been_lost_and_voids_blocks(&open).await;
    epochs::an_authority_goes_on_numbering_itself_in_a_new_epoch(&open).await;
    epochs::an_epoch_is_later_than_the_one_before_it(&open).await;
    archiving::only_what_is_closed_and_owed_to_nobody_is_archived_and_its_names_stay(&open).await;
    auditing::every_administrative_act_is_one_entry_and_nothing_else_is(&open).await;
    auditing::entries_are_found_by_kind_time_account_and_what_they_are_about(&open).await;
    documents::a_document_is_found_by_its_party_and_digest(&open).await;
    documents::a_document_belongs_to_the_dossier_that_named_it(&open).await;
    documents::registry_versions_follow_one_another(&open).await;
    documents::a_certificate_is_recorded_once_however_often_it_is_seen(&open).await;
    certificates::a_token_is_spent_once_and_stays_spent(&open).await;
    certificates::of_many_who_spend_a_token_at_once_exactly_one_gets_a_certificate(&open).await;
    certificates::a_withdrawn_token_is_not_spent_and_a_spent_one_not_withdrawn(&open).await;
    certificates::a_token_is_good_in_its_epoch_only(&open).await;
    certificates::certificates_are_listed_in_the_order_in_which_they_expire(&open).await;
    certificates::a_revoked_key_stays_revoked(&open).await;
    queries::a_query_is_found_again_and_listed_by_whom_and_for_what_it_was_made(&open).await;
    queries::what_is_asked_before_a_dossier_is_sealed_with_the_key_that_it_will_have(&open).await;
    queries::of_a_dossier_and_a_query_for_it_at_once_both_have_one_key(&open).await;
    queries::what_no_dossier_came_for_lapses_and_what_one_came_for_does_not(&open).await;
    queries::questions_and_dossiers_are_added_up_by_whom_for_what_and_when(&open).await;
    documents::a_data_key_is_fresh_and_can_be_had_again(&open).await;
}
