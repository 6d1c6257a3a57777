"""The engine contract, on the engines that coeval brings, and the page that lists its behaviours."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import ClassVar

from coeval.testing import CHAPTERS, EngineContract, Gap


class TestLocal(EngineContract):
    engine = "local:2"


DONE_AT_ONCE = Gap("never", "a call is done before `submit` returns, so none ever waits or runs meanwhile")
NO_PROCESS = Gap("never", "calls run in the caller's own process: what ends or changes it ends or changes the caller")
NO_MEMORY_LIMIT = Gap("never", "a limit on the caller's own process would be the caller's")
NO_END = Gap("never", "nothing can end a call that runs in the caller's own thread")


class TestInline(EngineContract):
    engine = "inline:"
    workers = 1
    patience_s = 0.3
    gaps: ClassVar = {
        "test_running_future_says_so_and_cannot_be_cancelled": DONE_AT_ONCE,
        "test_result_waits_no_longer_than_its_timeout": DONE_AT_ONCE,
        "test_waiting_call_can_be_cancelled_and_never_runs": DONE_AT_ONCE,
        "test_wait_returns_when_the_first_is_done": DONE_AT_ONCE,
        "test_calls_run_at_the_same_time_on_all_workers": DONE_AT_ONCE,
        "test_shutdown_cancels_what_waits_when_asked": DONE_AT_ONCE,
        "test_shutdown_without_waiting_still_finishes_every_call": DONE_AT_ONCE,
        "test_interrupted_with_block_cancels_what_waits_and_ends_what_runs": DONE_AT_ONCE,
        "test_interrupt_while_the_with_block_waits_ends_what_runs": DONE_AT_ONCE,
        "test_map_raises_timeout_error_when_a_result_is_late": DONE_AT_ONCE,
        "test_closing_the_iterator_cancels_what_waits": DONE_AT_ONCE,
        "test_failing_item_cancels_what_waits": DONE_AT_ONCE,
        "test_stop_cancels_a_waiting_call": DONE_AT_ONCE,
        "test_program_that_is_ended_leaves_no_worker": NO_PROCESS,
        "test_call_that_raises_keyboard_interrupt_fails_alone": Gap(
            "never", "an interrupt in the caller's own thread is the caller's, so it goes on to the caller too"
        ),
        "test_call_that_begins_after_its_object_was_freed_fails_alone_and_says_so": DONE_AT_ONCE,
        "test_call_that_has_the_object_keeps_it_to_its_end": DONE_AT_ONCE,
        "test_worker_that_replaces_a_killed_one_has_the_object": NO_PROCESS,
        "test_call_that_ends_its_process_fails_alone": NO_PROCESS,
        "test_call_that_is_ended_by_a_signal_fails_alone": NO_PROCESS,
        "test_worker_killed_while_idle_fails_nothing": NO_PROCESS,
        "test_worker_killed_in_a_chunk_fails_one_item": NO_PROCESS,
        "test_all_workers_killed_at_once_fail_what_they_ran_and_nothing_else": NO_PROCESS,
        "test_many_calls_in_a_row_that_kill_their_workers_fail_alone": NO_PROCESS,
        "test_killed_call_leaves_no_process_of_its_own": NO_PROCESS,
        "test_closed_executor_leaves_no_process_that_a_call_started": NO_PROCESS,
        "test_killed_call_takes_the_workers_of_its_own_executor_along": NO_PROCESS,
        "test_forked_child_that_returns_from_its_call_harms_nobody": NO_PROCESS,
        "test_every_call_has_exactly_one_outcome_in_a_storm_of_faults": NO_PROCESS,
        "test_log_records_of_a_call_that_ends_its_process_reach_the_callers_handlers_once": NO_PROCESS,
        "test_call_that_breaks_the_standard_streams_harms_nobody": NO_PROCESS,
        "test_call_that_closes_every_descriptor_fails_alone": NO_PROCESS,
        "test_thread_that_a_call_left_behind_does_not_keep_the_executor_open": NO_PROCESS,
        "test_argument_that_kills_its_worker_when_rebuilt_fails_alone": NO_PROCESS,
        "test_function_that_kills_its_worker_when_rebuilt_fails_alone": NO_PROCESS,
        "test_function_of_a_module_that_workers_lack_fails_alone": Gap(
            "never", "a worker that is the caller lacks none"
        ),
        "test_call_that_closes_the_standard_streams_harms_nobody": NO_PROCESS,
        "test_call_that_changes_directory_and_environment_does_not_reach_the_caller": NO_PROCESS,
        "test_call_that_killed_its_worker_is_not_tried_again": NO_PROCESS,
        "test_call_that_killed_its_worker_is_tried_again_when_asked": NO_PROCESS,
        "test_mark_of_a_thread_that_a_call_started_belongs_to_the_call": Gap(
            "never",
            "calls of several threads may run at once in the caller's process, so none answers for a new thread",
        ),
        "test_timeline_tells_which_call_lost_its_worker": NO_PROCESS,
        "test_call_over_its_time_limit_is_ended_alone": NO_END,
        "test_time_limit_counts_from_the_start_of_the_call": NO_END,
        "test_time_limit_holds_for_each_item_of_a_chunk": NO_END,
        "test_call_over_its_time_limit_is_tried_again": NO_END,
        "test_call_over_its_time_limit_leaves_no_process_of_its_own": NO_END,
        "test_call_over_its_memory_limit_fails_alone": NO_MEMORY_LIMIT,
        "test_memory_limit_leaves_room_for_what_is_below_it": NO_MEMORY_LIMIT,
        "test_memory_limit_ends_with_its_call": NO_MEMORY_LIMIT,
        "test_memory_limit_counts_from_the_start_of_the_call": NO_MEMORY_LIMIT,
        "test_memory_limit_holds_for_each_item_of_a_chunk": NO_MEMORY_LIMIT,
        "test_call_over_its_memory_limit_is_tried_again_when_asked": NO_MEMORY_LIMIT,
        "test_stop_ends_a_running_call_alone": NO_END,
        "test_stop_ends_a_call_inside_c_code": NO_END,
        "test_stopped_call_is_not_tried_again": NO_END,
        "test_stop_from_a_callback_works": NO_END,
    }


ENGINES: dict[str, type[EngineContract]] = {"local": TestLocal, "inline:": TestInline}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "engine-contract.md"
BEGIN, END = "<!-- behaviours: begin -->\n", "<!-- behaviours: end -->\n"

# Set it to have the page written anew.
UPDATE = "COEVAL_UPDATE_DOCS"


def test_page_lists_every_behaviour_and_every_gap() -> None:
    text = PAGE.read_text()
    head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    true = head + behaviours_and_gaps() + tail
    if os.environ.get(UPDATE):
        PAGE.write_text(true)
    assert PAGE.read_text() == true, f"{PAGE.name} is out of date: run this test once with {UPDATE}=1"


def behaviours_and_gaps() -> str:
    reasons: list[str] = []
    lines: list[str] = []
    for chapter in CHAPTERS:
        lines += [
            "",
            f"### {(inspect.getdoc(chapter) or '').removesuffix('.')}",
            "",
            f"| behaviour | {' | '.join(ENGINES)} |",
        ]
        lines += [f"|---|{'---|' * len(ENGINES)}"]
        for name in vars(chapter):
            if name.startswith("test_"):
                cells = [cell(engine.gaps.get(name), reasons) for engine in ENGINES.values()]
                lines.append(f"| {name.removeprefix('test_').replace('_', ' ')} | {' | '.join(cells)} |")
    lines += ["", *(f"[^{number}]: {reason}" for number, reason in enumerate(reasons, 1)), ""]
    return "\n".join(lines) + "\n"


def cell(gap: Gap | None, reasons: list[str]) -> str:
    if gap is None:
        return "yes"
    if gap.reason not in reasons:
        reasons.append(gap.reason)
    return f"{gap.kind} [^{reasons.index(gap.reason) + 1}]"
