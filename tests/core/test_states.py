"""The table of moves."""

from app.core.states import MOVES, TASKS, TERMINAL, Status, diagram


def test_nothing_leaves_a_terminal_state():
    assert not [move for move in MOVES if move[0] in TERMINAL]


def test_every_state_can_be_reached_from_the_first():
    reached = {Status.VALIDATING_FILES}
    for _ in Status:
        reached |= {b for a, b in MOVES if a in reached}
    assert reached == set(Status)


def test_every_state_that_is_no_end_can_be_cancelled():
    assert {a for a, b in MOVES if b is Status.CANCELLED} == set(Status) - TERMINAL


def test_success_comes_only_from_finalizing():
    assert [a for a, b in MOVES if b is Status.SUCCEEDED] == [Status.FINALIZING]


def test_a_task_serves_only_states_that_wait_for_a_worker():
    assert not set(TASKS) & (TERMINAL | {Status.PAUSED, Status.RUNNING})


def test_the_diagram_shows_every_move():
    drawn = diagram()
    assert all(f"{a} --> {b}" in drawn for a, b in MOVES)
