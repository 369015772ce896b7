"""Questions: every one has an answer, and it is the ground or the objects that fit."""

from __future__ import annotations

import numpy as np
import pytest

from training.scenes import KINDS, generate_scene
from training.scenes.reasoning import ask


@pytest.mark.slow
def test_questions_have_their_answers():
    scene = generate_scene(7, 256, 0.6, "riverside")
    answers = {e.text: e for e in ask(scene, 3, 1000)}
    boats = [e for text, e in answers.items() if "boats" in text or "ferry" in text]
    water = scene.class_mask("lake", "river", "sea")
    assert all(np.array_equal(e.mask, water) for e in boats)
    street = answers["which vehicles stand or drive on the street?"]
    assert {o.class_name for o in scene.objects if o.instance in street.instances} == {"car"}
    homes = answers["where do people live and sleep?"]
    kinds = {o.kind for o in scene.objects if o.instance in homes.instances}
    assert kinds <= {"house", "villa", "terraced house", "apartment building"}
    assert kinds


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_no_question_without_an_answer(kind: str):
    questions = ask(generate_scene(31, 160, 0.6, kind), 0, 1000)
    assert len(questions) >= 4
    assert all(question.mask.any() for question in questions)


@pytest.mark.slow
def test_nearest_building_is_nearest():
    asked = "which building would a flood of the river reach first?"
    found = 0
    for seed in range(12):
        scene = generate_scene(seed, 128, 1.0, "riverside")
        answers = {e.text: e for e in ask(scene, 0, 1000)}
        if asked not in answers:
            continue
        rows, columns = np.nonzero(scene.class_mask("river"))
        houses = [o for o in scene.objects if o.class_name == "building"]
        distances = {
            o.instance: np.hypot(columns - o.centroid[0], rows - o.centroid[1]).min()
            for o in houses
        }
        (answer,) = answers[asked].instances
        assert distances[answer] <= 1.02 * min(distances.values())
        found += 1
    assert found
