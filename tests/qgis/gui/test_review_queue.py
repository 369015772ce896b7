"""Journal and queue of a review, without any layer."""

from __future__ import annotations

import json

from geoseg_qgis.gui.review.journal import MISSED, POLYGON, Change, Journal, Status
from geoseg_qgis.gui.review.queue import Item, ReviewQueue

KEYS = [(POLYGON, 4), (POLYGON, 7), (MISSED, 1)]


def queue() -> ReviewQueue:
    made = ReviewQueue()
    made.fill(
        [
            Item(KEYS[1], 2, 0.8, 50.0),
            Item(KEYS[2], 1, 0.6, 5.0),
            Item(KEYS[0], 1, 0.2, 20.0, "false"),
        ]
    )
    return made


def test_the_worst_come_first() -> None:
    assert [item.key for item in queue().items] == [KEYS[0], KEYS[2], KEYS[1]]


def test_next_and_previous_pass_over_what_was_decided() -> None:
    walk = queue()
    assert walk.current is None
    assert walk.step(1).key == KEYS[0]
    walk.set_status(KEYS[2], Status.ADDED)
    assert walk.step(1).key == KEYS[1]
    assert walk.step(1).key == KEYS[0]
    assert walk.step(-1).key == KEYS[1]
    assert walk.step(-1, only_open=False).key == KEYS[2]
    assert walk.open_count == 2
    for key in KEYS:
        walk.set_status(key, Status.KEPT)
    assert walk.open_count == 0
    walk.select(KEYS[0])
    assert walk.step(1).key == KEYS[2]


def test_the_first_step_back_is_the_last_item() -> None:
    assert queue().step(-1).key == KEYS[1]


def test_filters_act_on_what_is_shown() -> None:
    walk = queue()
    walk.select(KEYS[1])
    walk.set_filter(0.5, 0.0)
    assert [item.key for item in walk.items] == [KEYS[0], KEYS[2]]
    assert walk.current is None
    walk.set_filter(1.0, 10.0)
    assert [item.key for item in walk.items] == [KEYS[0], KEYS[1]]
    walk.set_filter(0.0, 100.0)
    assert walk.step(1) is None


def test_the_current_item_is_known_by_its_key() -> None:
    walk = queue()
    walk.select(KEYS[1])
    walk.fill([Item((POLYGON, 9), 1), Item(KEYS[1], 5, 0.8, 50.0)])
    assert walk.current.key == KEYS[1]
    walk.fill([Item((POLYGON, 9), 1)])
    assert walk.current is None


def test_undo_and_redo() -> None:
    journal = Journal()
    kept = Change(KEYS[0], Status.OPEN, Status.KEPT)
    added = Change(KEYS[2], Status.OPEN, Status.ADDED, added=12)
    assert not journal.record(Change(KEYS[0], Status.KEPT, Status.KEPT))
    assert journal.record(kept)
    assert journal.record(added)
    assert journal.undo() == Change(KEYS[2], Status.ADDED, Status.OPEN, added=12)
    assert journal.undo() == Change(KEYS[0], Status.KEPT, Status.OPEN)
    assert journal.undo() is None
    assert journal.redo() == kept
    journal.record(Change(KEYS[1], Status.OPEN, Status.DELETED))
    assert not journal.can_redo
    assert len(journal) == 2


def test_a_journal_survives_as_json() -> None:
    journal = Journal()
    journal.record(Change(KEYS[2], Status.OPEN, Status.ADDED, added=12))
    again = Journal.from_json(json.loads(json.dumps(journal.to_json())))
    assert again.undo() == journal.undo()
    assert not Journal.from_json([{"kind": "polygon"}]).can_undo
    assert not Journal.from_json(None).can_undo
