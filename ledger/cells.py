"""Cells of a CSV file that a spreadsheet shows and does not calculate."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula; some take the fullwidth forms for it too."""


def defused(text: str) -> str:
    """Return a cell's text, with an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def plain(text: str) -> str:
    """Return what ``defused`` was given."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text
