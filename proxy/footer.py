"""The footer: who is told what, and the link to stop; the pixel stands inside it, so that no line of its own is added.

ASCII only, so that it is right in every charset that contains ASCII. Colours come from the mail program (no colour is
set), so that it is readable in light and dark mode; margin, font and line height on one div are what Outlook's Word
engine understands too.
"""

import unicodedata
from html import escape

from policies.decide import Decision
from policies.words import Purpose


def _ascii(text: str) -> str:
    """Return text for HTML content: markup characters escaped, all others above ASCII as numeric references."""
    return escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def what_is_told(decision: Decision) -> str:
    """Return the sentence part that says what the sender learns from this message."""
    opened, followed = decision.allows(Purpose.OPEN), decision.allows(Purpose.CLICK)
    if opened and followed:
        return "when images in this message are loaded and which of its links are followed"
    if opened:
        return "when images in this message are loaded"
    return "which links of this message are followed"


def footer_html(
    organisation: str, decision: Decision, stop_url: str, pixel_url: str | None, eol: str = "\r\n"
) -> bytes:
    """Return the footer block, with the pixel in it where opens are tracked.

    ``organisation`` is the controller's name; the URLs are ASCII and need no escaping beyond HTML's.
    """
    sentence = f"With your consent, {organisation} records {what_is_told(decision)}."
    pixel = ""
    if pixel_url is not None:
        pixel = (
            f'<img src="{escape(pixel_url)}" width="1" height="1" alt="" border="0" '
            'style="width:1px;height:1px;border:0">'
        )
    lines = (
        '<div style="margin:16px 0 0 0;font-family:Arial,Helvetica,sans-serif;font-size:12px;line-height:16px">',
        f'{_ascii(sentence)} <a href="{escape(stop_url)}">Stop this</a>{pixel}</div>',
    )
    return eol.join(lines).encode("ascii")


def footer_text(organisation: str, stop_url: str, eol: str = "\r\n") -> bytes:
    """Return the footer of a text-only message whose links are wrapped; accents are left out, for it is ASCII."""
    name = unicodedata.normalize("NFKD", organisation.replace("ß", "ss")).encode("ascii", "ignore").decode("ascii")
    sentence = f"With your consent, {name} records which links of this message are followed."
    return f"{sentence}{eol}Stop this: {stop_url}".encode("ascii")
