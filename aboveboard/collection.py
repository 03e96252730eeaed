"""Collection points: where, and with which wording, the organisation collects people's agreement."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from policies.setting import Section, YesNo

MAIL = "mail"
"""Instead of a file, for ``consent.anchor``."""


def _point_id(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", value):
        raise ValueError('must be small letters, digits and hyphens, like "web-form"')
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("must say something")
    return value


Said = Annotated[str, Field(max_length=2_000), AfterValidator(_said)]


class CollectionPoint(Section):
    """One place where people agree: a form, a counter, a trade fair."""

    id: Annotated[str, AfterValidator(_point_id)] = Field(description="Names it in commands and in /join.")
    title: Said = Field(description="What people and administrators know it by.")
    where: Said = Field(description="Where agreement is collected: an address on the web, a place.")
    wording: Said = Field(description="The words that people agree to there, exactly.")
    proof: Said = Field(description="What proves that a person agreed there, and where it is kept.")
    public: YesNo = Field(default=False, description="Offer a form of its own at /join/{id}.")


class ConsentSection(Section):
    """How agreement is collected, and how its record is witnessed."""

    point: list[CollectionPoint] = Field(default=[], description="Where agreement is collected.")
    anchor: str | None = Field(
        default=None,
        min_length=1,
        description='Where the head of the consent chain is written every day: "mail" for the contact, or a file.',
    )

    def problems(self) -> Iterator[str]:
        """Yield a sentence for every point whose id another one has already."""
        seen: set[str] = set()
        for at, point in enumerate(self.point):
            if point.id in seen:
                yield f'consent.point[{at}].id: "{point.id}" names another point already.'
            seen.add(point.id)

    def needs_mail(self) -> bool:
        """Tell whether mail of our own must be sent for what is set here."""
        return self.anchor == MAIL

    def find(self, point_id: str) -> CollectionPoint | None:
        """Return the collection point with an id; None where there is none."""
        return next((point for point in self.point if point.id == point_id), None)
