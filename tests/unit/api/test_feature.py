"""The kinds that features declare."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from chatsvc.api.feature import Feature, frame_type, kinds_of, projections_of
from chatsvc.app.features import declared_features, known_kinds, known_projections
from chatsvc.core.kinds import Kind
from chatsvc.core.limits import Limits
from chatsvc.core.message import MESSAGE
from chatsvc.core.projection import Column, Projection


class Wave(msgspec.Struct, tag="wave"):
    """A frame with a tag."""


class Note(msgspec.Struct):
    """A frame whose field names its type."""

    type: Literal["note"]


def test_the_type_of_a_frame_is_its_tag_or_its_field() -> None:
    assert frame_type(Wave) == "wave"
    assert frame_type(Note) == "note"


def test_the_kinds_of_all_features_are_known() -> None:
    assert "message" in known_kinds()
    assert known_kinds().counts("message")
    declared = {kind.name for one in declared_features(Limits()) for kind in one.kinds}
    assert known_kinds().names == declared


def test_a_kind_must_have_a_frame_in_its_feature() -> None:
    waving = Feature(name="waving", kinds=(Kind(name="wave"),), frames=(Wave,))
    assert kinds_of([waving]).names == {"wave"}
    with pytest.raises(ValueError, match="'wave' must have a frame in feature silent"):
        kinds_of([Feature(name="silent", kinds=(Kind(name="wave"),))])


@pytest.mark.parametrize("name", ["hello", "gap", "ack", "cursor"])
def test_a_kind_must_not_have_the_name_of_a_control_frame(name: str) -> None:
    with pytest.raises(ValueError, match="must not have the name of another frame"):
        kinds_of([Feature(name="odd", kinds=(Kind(name=name),))])


def test_a_kind_must_not_have_the_name_of_a_frame_of_another_feature() -> None:
    noting = Feature(name="noting", frames=(Note,))

    class Kept(msgspec.Struct, tag="note"):
        pass

    keeping = Feature(name="keeping", kinds=(Kind(name="note"),), frames=(Kept,))
    for features in ([noting, keeping], [keeping, noting]):
        with pytest.raises(ValueError, match="'note' must not have the name"):
            kinds_of(features)


def test_two_features_must_not_have_one_kind() -> None:
    class Message(msgspec.Struct, tag="message"):
        pass

    one = Feature(name="one", kinds=(MESSAGE,), frames=(Message,))
    with pytest.raises(ValueError, match="two kinds"):
        kinds_of([one, one])


def test_a_projection_must_fold_kinds_that_there_are() -> None:
    def waves(*kinds: str) -> Feature:
        key = (Column("user", "text"),)
        projection = Projection(name="w", version=1, kinds=kinds, key=key, fold=lambda _: [])
        return Feature(
            name="waving", kinds=(Kind(name="wave"),), frames=(Wave,), projections=(projection,)
        )

    assert projections_of([waves("wave"), Feature(name="other")]).names == {"w"}
    with pytest.raises(ValueError, match="unknown kind 'other'"):
        projections_of([waves("wave", "other")])
    with pytest.raises(ValueError, match="two projections"):
        projections_of([waves("wave"), waves("wave")])


def test_the_projections_of_all_features_are_kept() -> None:
    declared = {one.name for found in declared_features(Limits()) for one in found.projections}
    assert known_projections().names == declared
