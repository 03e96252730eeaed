"""The presets: what each promises holds for every message, whatever the rest of the file says."""

from typing import Any

import pytest

from policies.policy import PolicyModel
from policies.presets import PRESETS
from policies.words import ForeignTracking, Purpose


def test_strict_is_the_default() -> None:
    """The file of the strict preset says what a policy without any setting is."""
    assert PolicyModel() == PolicyModel.model_validate(PRESETS["strict"].policy)
    assert "strict" == PolicyModel().preset


@pytest.mark.parametrize(
    ("preset", "action"), [("report-only", ForeignTracking.REPORT), ("never-track", ForeignTracking.REMOVE)]
)
def test_what_a_preset_stands_for(preset: str, action: ForeignTracking) -> None:
    """Neither tracks nor asks; the one leaves other people's trackers in, the other takes them out."""
    model = PolicyModel.model_validate({"preset": preset})

    assert {"never"} == {*(getattr(model, purpose) for purpose in Purpose), model.ask}
    assert {action} == {getattr(model.foreign_tracking, key) for key in ("individual", "group", "bulk")}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"sender_default": "on", "foreign_tracking.bulk": "remove"}),
        ({"sender_default": "off"}, {"sender_default": "off", "open": "never"}),
        ({"foreign_tracking": {"bulk": "refuse"}},
         {"foreign_tracking.bulk": "refuse", "foreign_tracking.group": "remove"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_file_fills_in_around_its_preset(settings: dict[str, Any], expected: dict[str, str]) -> None:
    """What the file says counts, and the preset where it says nothing, within a table too."""
    model = PolicyModel.model_validate({"preset": "never-track", **settings}).model_dump(mode="json")

    for path, value in expected.items():
        here: Any = model
        for key in path.split("."):
            here = here[key]
        assert value == here


def test_every_preset_is_offered_and_explained() -> None:
    """The model knows exactly the presets that there are, and each file begins with what it is for."""
    schema = PolicyModel.model_json_schema()["properties"]["preset"]

    assert set(schema["enum"]) == set(PRESETS)
