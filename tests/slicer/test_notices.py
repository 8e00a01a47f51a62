"""The notices: one a topic, few at a time, and told when they change."""

from __future__ import annotations

import pytest
from LabelLoopLib.client import ServerUnreachable
from LabelLoopLib.workflow.notices import Action, Level, NoticeBoard


@pytest.fixture
def board() -> NoticeBoard:
    return NoticeBoard()


def topics(board: NoticeBoard) -> list[str]:
    return [notice.topic for notice in board.notices]


def test_a_notice_is_kept_as_posted(board: NoticeBoard) -> None:
    called: list[str] = []
    again = Action("Send again", lambda: called.append("again"))
    discard = Action("Discard", lambda: called.append("discard"))
    board.post(Level.WARNING, "Not sent yet.", "submission", again, discard)
    notice = board.find("submission")
    assert notice is not None
    assert (notice.level, notice.text, notice.actions) == (Level.WARNING, "Not sent yet.", (again, discard))
    for action in notice.actions:
        action.call()
    assert called == ["again", "discard"]


def test_the_newer_of_a_topic_takes_the_place_of_the_older_and_is_the_last(board: NoticeBoard) -> None:
    board.post(Level.INFO, "first", "a")
    board.post(Level.INFO, "other", "b")
    board.post(Level.GOOD, "second", "a")
    assert [(notice.topic, notice.text) for notice in board.notices] == [("b", "other"), ("a", "second")]


def test_only_the_newest_are_shown(board: NoticeBoard) -> None:
    for n in range(10):
        board.post(Level.INFO, "text", str(n))
    assert topics(board) == ["6", "7", "8", "9"] and len(board.notices) == NoticeBoard.SHOWN
    assert board.find("5") is None


def test_what_asks_for_something_stays_until_it_is_done(board: NoticeBoard) -> None:
    for n in range(3):
        board.post(Level.WARNING, "text", f"failed {n}", Action("Send again", lambda: None))
    for n in range(10):
        board.post(Level.INFO, "text", str(n))
    assert topics(board) == ["failed 0", "failed 1", "failed 2", "9"]
    for n in range(3, 6):
        board.post(Level.WARNING, "text", f"failed {n}", Action("Send again", lambda: None))
    assert topics(board) == [f"failed {n}" for n in range(6)]
    board.post(Level.INFO, "text", "the newest")
    assert topics(board)[-1] == "the newest" and len(topics(board)) == 7


def test_an_error_is_told_in_its_own_words(board: NoticeBoard) -> None:
    retry = Action("Retry", lambda: None)
    board.error(ServerUnreachable("Nobody answers at http://gpu:8000."), "case", retry)
    notice = board.find("case")
    assert notice is not None
    assert (notice.level, notice.text, notice.actions) == (
        Level.ERROR,
        "Nobody answers at http://gpu:8000.",
        (retry,),
    )


def test_an_error_without_words_is_told_by_its_name(board: NoticeBoard) -> None:
    board.error(MemoryError(), "case")
    notice = board.find("case")
    assert notice is not None and notice.text == "MemoryError"


def test_changes_are_told_and_only_changes(board: NoticeBoard) -> None:
    told: list[list[str]] = []
    board.changed.connect(lambda: told.append(topics(board)))
    board.post(Level.INFO, "text", "a")
    board.post(Level.INFO, "text", "b")
    board.withdraw("nobody has posted this")
    board.withdraw("a")
    board.withdraw("a")
    assert told == [["a"], ["a", "b"], ["b"]]


def test_a_listener_may_withdraw_what_it_is_told_of(board: NoticeBoard) -> None:
    board.changed.connect(lambda: board.withdraw("a"))
    board.post(Level.INFO, "text", "a")
    assert board.notices == []
