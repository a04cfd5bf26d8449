//! What every store must do, whatever its database. A store's own tests call [`conformance_suite!`] with a function
//! that opens an empty store; each case below then becomes one test of that store.

pub(crate) mod alarms;
pub(crate) mod archive;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod documents;
pub(crate) mod fixtures;
pub(crate) mod functions;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod large;
pub(crate) mod nodes;
pub(crate) mod order;
pub(crate) mod paging;
pub(crate) mod queue;
pub(crate) mod recovery;
pub(crate) mod replay;
pub(crate) mod retention;

/// Makes a test of every case. `$open` is an async function that gives an empty store and what must live as long.
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::conformance::conformance_suite! { @cases $open,
            commit: [
                a_batch_is_read_back_as_it_was_written,
                a_failing_row_undoes_the_whole_batch,
                a_later_outcome_replaces_an_earlier_one,
                batches_of_every_size_are_written_whole,
                pending_work_is_replaced_and_removed,
                an_attempt_reported_twice_is_kept_once,
                a_first_attempt_that_delivered_is_kept_like_any_other,
                an_outcome_that_differs_from_its_first_attempt_is_kept,
                records_of_attempts_come_back_as_they_were,
                an_idempotency_key_in_use_refuses_the_whole_batch,
                the_first_event_with_a_strict_key_keeps_it,
                an_empty_batch_is_nothing,
                a_log_entry_is_written_once,
            ],
            recovery: [
                unfinished_deliveries_become_pending_exactly_once,
                nothing_below_the_watermark_or_of_another_node_is_touched,
                a_watermark_never_goes_back,
                claims_of_the_earlier_run_are_given_back,
                a_failed_delivery_without_work_keeps_its_attempts,
                an_empty_store_recovers_to_nothing,
            ],
            nodes: [
                a_number_is_held_until_it_is_given_back,
                a_lease_that_has_run_out_is_renewed_unless_somebody_took_over,
                of_several_that_take_a_node_over_one_does,
                a_node_that_was_taken_over_writes_nothing,
                who_leaves_gives_back_what_is_unfinished,
                a_new_holder_of_a_number_continues_after_the_newest_event,
                a_node_gets_its_own_number_again,
                what_is_said_about_receivers_is_replaced_and_taken_back,
            ],
            queue: [
                work_is_claimed_in_order_and_only_when_due,
                what_an_attempt_left_behind_is_there_for_the_next,
                a_claim_is_bounded_in_items_and_bytes,
                a_claim_runs_out_at_the_end_of_its_lease,
                a_claim_before_its_time_leaves_what_another_node_has,
                finished_work_does_not_come_back,
                the_next_due_time_and_the_backlog_are_told_by_target,
                work_of_a_removed_event_is_forgotten,
                a_redrive_takes_what_has_ended_and_nothing_else,
                a_redrive_takes_only_the_states_asked_for,
                a_redrive_is_written_down_with_its_effect_or_not_at_all,
            ],
            order: [
                a_claim_takes_the_first_of_a_key_with_those_behind_it,
                a_run_is_bounded_and_leaves_room_for_other_keys,
                a_failed_delivery_keeps_its_key_waiting_and_no_other,
                a_delivery_given_up_lets_its_key_go_on,
                a_claim_given_back_late_is_no_concern_of_the_new_holder,
                a_run_of_a_lost_holder_comes_back_in_order,
                a_removed_event_lets_its_key_go_on,
                what_waits_behind_nothing_is_found_and_set_free,
                what_is_blocked_is_told,
            ],
            replay: [
                a_replay_moves_in_the_commit_of_its_events,
                one_node_at_a_time_works_on_a_replay,
                a_replay_changes_its_state_only_from_those_named,
                a_replay_reads_its_bus_in_pages_without_repeats,
                a_replay_reads_the_events_it_names,
                replays_that_ended_are_forgotten_in_time,
            ],
            alarms: [
                the_life_of_an_alarm_goes_with_the_commits_of_its_events,
                a_commit_that_fails_leaves_no_sign_of_an_alarm,
                what_was_told_of_an_alarm_is_replaced,
                alarms_are_listed_by_their_newest_event_and_old_ones_go,
            ],
            functions: [
                a_run_is_on_record_in_the_commit_of_its_attempt_or_not_at_all,
                an_invocation_that_has_ended_does_not_run_again,
                invocations_are_listed_newest_first_by_every_filter,
                a_small_scan_limit_still_gets_to_every_invocation,
                old_invocations_go_in_bounded_steps,
                code_is_kept_once_and_goes_only_when_it_is_old,
                a_call_is_taken_by_one_and_comes_back_until_it_is_finished,
                what_an_earlier_run_left_behind_is_put_right,
            ],
            archive: [
                archives_are_made_changed_and_deleted_with_their_bus,
                a_copy_is_made_in_the_commit_of_its_event_or_not_at_all,
                a_copy_outlives_its_event,
                an_archive_is_read_in_pages_without_gaps,
                an_archive_loses_its_oldest_by_age_and_by_size,
                a_deleted_archive_is_emptied_and_forgotten,
            ],
            documents: [
                documents_are_made_changed_and_deleted_with_their_bus,
                a_name_is_taken_once_in_each_kind_and_bus,
                what_a_source_could_not_read_is_kept_while_it_is_new_and_the_source_is_there,
            ],
            retention: [
                old_events_go_with_everything_about_them,
                a_purge_is_bounded_and_names_what_had_not_ended,
                many_unfinished_are_counted_and_some_are_named,
                log_entries_go_by_the_retention_of_their_log,
                old_idempotency_records_go,
                events_and_bytes_are_counted_by_bus_and_taken_down,
                events_of_some_buses_go_in_bounded_steps,
                a_bus_loses_its_oldest_by_size,
            ],
            history: [
                an_event_and_its_deliveries_are_found,
                a_delivery_still_in_memory_is_queued,
                texts_are_found_as_they_are,
                log_entries_are_listed_newest_first,
                event_ids_are_read_in_order,
                keys_of_the_last_minutes_are_told_and_forgotten,
            ],
            paging: [
                pages_of_events_have_no_gaps_and_no_repeats,
                pages_of_deliveries_have_no_gaps_and_no_repeats,
                a_small_scan_limit_still_gets_to_the_end,
                many_targets_are_listed_like_few,
            ],
            config: [
                buses_rules_and_targets_are_made_and_changed,
                an_expectation_that_is_not_met_changes_nothing,
                a_missing_parent_is_named,
                deleting_takes_the_children_along,
                ids_are_never_given_out_again,
                a_list_of_changes_can_build_on_itself,
                history_can_name_what_was_deleted,
                belfry_disables_a_target_and_a_change_enables_it,
                the_version_counts_changes,
                what_has_changed_since_a_version_is_told,
                the_differences_add_up_to_the_whole,
                a_version_that_the_database_has_not_reached_gets_everything,
            ],
            keys: [
                a_key_is_written_and_changed,
                audit_is_listed_by_prefix_newest_first,
                logs_are_made_and_changed,
                small_values_are_kept_as_they_were_set_first,
                an_idempotent_change_is_refused_the_second_time,
                sizes_and_counts_are_told,
            ],
        }
    };
    (@cases $open:path, $($area:ident: [$($case:ident,)*],)*) => {
        $(mod $area {
            $(#[tokio::test]
            async fn $case() {
                let (store, _keep) = $open().await;
                crate::conformance::$area::$case(&store).await;
            })*
        })*
    };
}
pub(crate) use conformance_suite;
