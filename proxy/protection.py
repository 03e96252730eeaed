"""Protection: what makes a message one that must not be changed by one byte, by its structure and its header."""

import re
from collections.abc import Iterable, Sequence

from policies.address import canonical_domain
from policies.label import FIELD, parse_labels
from policies.words import Protection
from proxy.encodedword import decode_words
from proxy.header import Field
from proxy.structure import Entity

_SIGNED_TYPES = frozenset({"multipart/signed", "application/pgp-signature", "application/pkcs7-signature",
                           "application/x-pkcs7-signature"})  # fmt: skip
_ENCRYPTED_TYPES = frozenset({"multipart/encrypted", "application/pgp-encrypted",
                              "application/x-microsoft-rpmsg-message"})  # fmt: skip
_RPMSG = re.compile(r"message(?:_v[0-9]+)?\.rpmsg")
"""What Microsoft 365 and Azure RMS call the encrypted message; some programs give it a type of their own."""
_PKCS7_TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_CALENDAR_TYPES = frozenset({"text/calendar", "text/x-vcalendar", "application/ics", "application/calendar+json",
                             "application/calendar+xml"})  # fmt: skip
_REPORT_TYPES = frozenset({"multipart/report", "message/disposition-notification", "message/delivery-status",
                           "message/global-delivery-status", "message/global-disposition-notification"})  # fmt: skip
_TNEF_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_UNTYPED = frozenset({"application/octet-stream", ""})
_FILE_NAMES = {
    ".p7m": Protection.ENCRYPTED,
    ".p7s": Protection.SIGNED,
    ".ics": Protection.CALENDAR,
    "winmail.dat": Protection.TNEF,
}
"""What a part that has no type to speak of is by the end of its name (RFC 8551 §3.10 for S/MIME)."""
_CALENDAR_CLASS = "urn:content-classes:calendarmessage"
"""Exchange's ``Content-Class`` of invitations and of the answers to them."""


def own_signatures(
    raw: bytes, fields: Iterable[Field], removable: frozenset[str]
) -> tuple[tuple[Field, ...], Protection | None]:
    """Return the DKIM signatures that may be taken off, and a protection where one may not (RFC 6376, RFC 8617)."""
    ours: list[Field] = []
    for one in fields:
        if one.name in ("arc-seal", "arc-message-signature"):
            return (), Protection.DKIM
        if one.name == "dkim-signature":
            domain = re.search(r"(?:^|;)\s*d\s*=\s*([^\s;]+)", one.text(raw))
            if domain is None or canonical_domain(domain[1]) not in removable:
                return (), Protection.DKIM
            ours.append(one)
    return tuple(ours), None


def protected_header(raw: bytes, fields: Sequence[Field]) -> Protection | None:
    """Return what a header says that its message is: encrypted, now or on its way, by its label; or an invitation."""
    labels = parse_labels(decode_words(one.text(raw)) for one in fields if one.name == FIELD)
    if any(one.encrypts for one in labels):
        return Protection.ENCRYPTED
    classes = (one.text(raw).lower() for one in fields if one.name == "content-class")
    return Protection.CALENDAR if _CALENDAR_CLASS in classes else None


def protected_structure(entities: Sequence[Entity]) -> Protection | None:
    """Return what makes the structure one that must not be touched, anywhere in it."""
    found = [_protected_part(entity) for entity in entities]
    return next((protection for protection in Protection if protection in found), None)


def _protected_part(entity: Entity) -> Protection | None:
    name = entity.part.content_type or entity.apparent_type
    file_name = entity.file_name.strip().lower()
    if _RPMSG.fullmatch(file_name):
        return Protection.ENCRYPTED
    if name in _UNTYPED:
        return next((protection for ending, protection in _FILE_NAMES.items() if file_name.endswith(ending)), None)
    if name in _SIGNED_TYPES:
        return Protection.SIGNED
    if name in _ENCRYPTED_TYPES:
        return Protection.ENCRYPTED
    if name in _PKCS7_TYPES:
        smime_type = entity.media_type.parameters.get("smime-type", "").lower() if entity.media_type else ""
        return Protection.SIGNED if smime_type == "signed-data" else Protection.ENCRYPTED
    if name in _REPORT_TYPES:
        return Protection.REPORT
    if name in _CALENDAR_TYPES:
        return Protection.CALENDAR
    if name in _TNEF_TYPES:
        return Protection.TNEF
    return None
