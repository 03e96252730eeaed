"""Labels: the sensitivity labels that Microsoft 365 writes into the header field ``msip_labels``.

The field is a list of ``MSIP_Label_<GUID>_<attribute>=<value>``, parted by semicolons (Microsoft Information
Protection SDK, "Metadata").
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

FIELD = "msip_labels"
_ATTRIBUTE = re.compile(r"\s*MSIP_Label_([^_=;]+)_(\w+)\s*=(.*)", re.IGNORECASE | re.DOTALL)
_ENCRYPT = 8
"""The bit of ContentBits that says that the label encrypts; 1, 2 and 4 are header, footer and watermark."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label that is set: the GUID by which its tenant knows it, and its name."""

    guid: str
    name: str
    encrypts: bool = False


def parse_labels(values: Iterable[str]) -> tuple[Label, ...]:
    """Return the labels in the values of the field, as people read them; one that is not enabled is none."""
    found: dict[str, dict[str, str]] = {}
    for value in values:
        for one in value.split(";"):
            match = _ATTRIBUTE.fullmatch(one)
            if match is not None:
                found.setdefault(match[1].lower(), {})[match[2].lower()] = match[3].strip()
    return tuple(
        Label(guid, attributes.get("name", ""), _encrypts(attributes.get("contentbits", "0")))
        for guid, attributes in found.items()
        if attributes.get("enabled", "").lower() == "true"
    )


def _encrypts(bits: str) -> bool:
    # What cannot be read is a doubt, and what may be encrypted is not touched.
    return not (bits.isascii() and bits.isdigit() and len(bits) < 10) or bool(int(bits) & _ENCRYPT)
