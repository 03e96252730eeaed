"""Charsets whose bytes below 0x80 are ASCII, so that markup can be found and edited without decoding the text."""

import codecs
import encodings
import pkgutil
import re
from encodings.aliases import aliases
from functools import lru_cache

# By Python's codec names. Second bytes of the East Asian ones reach down to 0x30 or 0x40, but never to & < > " ' or =.
# Not here, for they shift states or use two bytes throughout: ISO-2022-*, HZ, UTF-7, UTF-16, UTF-32, EBCDIC; nor Johab,
# where < = > are second bytes.
_CONTAINS_ASCII = re.compile(
    r"utf-8|ascii|iso8859-\d+|latin_?1|cp125\d|windows-125\d|koi8-[rut]|kz1048|tis-620|cp874|mac-[a-z]+|ptcp154"
    r"|cp(?:437|720|737|775|850|852|855|856|857|858|860|861|862|863|865|866|869|1006)"
    r"|gb2312|gbk|gb18030|big5|big5hkscs|cp932|cp949|cp950|shift_jis|shift_jis_2004|shift_jisx0213|euc_jp"
    r"|euc_jis_2004|euc_jisx0213|euc_kr"
)


_CODECS = frozenset(module.name for module in pkgutil.iter_modules(encodings.__path__))
_NAMES = {
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_8_i": "iso8859_8",
    "windows_31j": "cp932",
    "windows_874": "cp874",
    "x_sjis": "cp932",
}
"""Names that IANA has registered, or browsers know, and Python does not."""
_LONGEST_NAME = 64
"""Characters; the longest that IANA has registered has 45."""


def codec_name(charset: str) -> str | None:
    """Return the name of Python's codec for a charset, however a message spells it; None where there is none.

    Python is never asked by a name as it stands: it remembers for ever by which names it was asked, found or not, and
    so would keep whatever strangers make up. Not every codec is one of text.
    """
    return _codec_name(charset) if len(charset) <= _LONGEST_NAME else None


@lru_cache(maxsize=256)
def _codec_name(charset: str) -> str | None:
    if not charset.isascii() or not charset.isprintable():
        return None
    # As encodings.search_function does.
    name = encodings.normalize_encoding(charset.lower())
    known = aliases.get(name) or aliases.get(name.replace(".", "_")) or _NAMES.get(name, name)
    try:
        return codecs.lookup(known).name if known in _CODECS else None
    except LookupError:
        # One of another operating system.
        return None


def contains_ascii(charset: str) -> bool:
    """Tell whether the charset, as Content-Type names it, is known and has ASCII in its lower half.

    An empty name says no: who sends HTML without saying in what charset leaves it to guesses.
    """
    name = codec_name(charset)
    return name is not None and _CONTAINS_ASCII.fullmatch(name) is not None
