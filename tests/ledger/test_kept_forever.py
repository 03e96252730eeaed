"""What was made with a key file long ago: it comes out, or opens, for as long as somebody has the key file.

Every value here was made once and is written down. One that changes means that after an upgrade nobody's refusal is
found, no link in mail that was sent leads anywhere, and no column opens: then the code is wrong, not this file.
"""

import base64
from collections.abc import Callable

import pytest

from ledger import passwords, tokens
from ledger.keys import KeyFile, Keyring

KEYRING = Keyring(KeyFile(bytes(range(32)), {1: bytes(range(32, 64)), 7: bytes(range(64, 96))}, 7))
MESSAGE_ID = "0123456789abcdef" * 2
BOB = "2320a189ac50764753740e5c64f7928c28efadce0050f06cefb38caf7a47779c"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(lambda: KEYRING.fingerprint, "caff4b9a45e98d2e90c01c37534a1e08", id="fingerprint"),
        pytest.param(
            lambda: KEYRING.exact("Bob@KUNDE.test"),
            "87954b3aa3113646d88ce62ea0854909366b865b11a7567bc9109ff1a426925e",
            id="exact",
        ),
        pytest.param(lambda: KEYRING.folded("bob@kunde.test"), BOB, id="folded"),
        pytest.param(
            lambda: KEYRING.folded("Bob+shop@Kunde.test"),
            "bf95aa23adb08be76eed1db046b71fb400fe23949e38fab92d55cc7c7495ddaa",
            id="folded, with a tag",
        ),
        pytest.param(
            lambda: KEYRING.folded("jörg@bücher.test"),
            "c4f4025dc853e970a6e0e37a5668034ec3930f50e47b479ef9e3455e7e8a4e6d",
            id="folded, beyond ASCII",
        ),
        pytest.param(
            lambda: KEYRING.domain("kunde.test"),
            "2b002315af213c3c52edde86c9c59d7b883f8b49b80d33771906a39b883897f9",
            id="domain",
        ),
        pytest.param(lambda: KEYRING.pseudonym("ab"), "sender-a48be2e4", id="pseudonym"),
        pytest.param(lambda: KEYRING.attempt("account", b"alice"), "6ae3a3e72a85baf6e35a5e167ae0a8b6", id="attempt"),
        pytest.param(lambda: KEYRING.sketch("ab", [1, 2]).hex(), "8ccddd25a5a63a46", id="sketch"),
        pytest.param(
            lambda: KEYRING.chained(b"row"),
            "2b8948b4b8b7565de922dfe8c5e09eae8ac06c75bc37d90c477406396bad7116",
            id="chain",
        ),
        pytest.param(lambda: passwords.tag(KEYRING, b"ABCDE-FGHIJ"), "a5148030752a979b", id="app password"),
    ],
)
def test_hashes_stay(made: Callable[[], str], expected: str) -> None:
    """What the ledger finds people, logins and rows by is the same in every release."""
    assert expected == made()


PIXEL = "AequopUEK-TShUjAOG60kuqH8xMyQocp3fsMlbIUflshN5qMHF3JFu2g0Hwl"
LINK = "AQDPRTbetMbCAspcCkljsUABXqiHSWzWJMPQrZjUCqzXhpEwfD9PpcwKsm5lGYR343xkaDRGoC32YfseAuAoYAL4zm7K4TRv2A"
STOP = "Ab-HkKOy_-cUt3kNBtUvEsLRBLV-Kj1Eclb2PSZxIlXQAELDJWSErzYyH9D_HlKS3SGWMjUGOVI5_Rzvzg"
SENDER = "ARzgK8ZAh-mUUMCpDOSoLm8s5hJNpViAk9WN6_UcHFy1d98TeDZBFHHM1SQaPtx4qX9zz1tOxyPt7rHwBBWJ87CHeutK"


def test_tokens_in_sent_mail_open() -> None:
    """Promise 5: pixel, link, refusal and a sender's link, of mail sent long ago under a key that is no longer used."""
    assert MESSAGE_ID == tokens.open_pixel(KEYRING, PIXEL)
    assert tokens.Click(MESSAGE_ID, 3, "https://shop.example/a?b=1") == tokens.open_click(KEYRING, LINK)
    assert [BOB, BOB] == [tokens.open_stop(KEYRING, STOP), tokens.open_sender(KEYRING, SENDER)]


SEALED = "OykhdzlcM9Z0fcyuYpNu/Jl7Xrzp/PDRFEXBtmDbvKWE0FGFTW1ogifN"
KEPT = "$argon2id$v=19$m=19456,t=2,p=1$5tHMvjcXZD0ogUyLYBByXA$iRckIGOiR9Gp3dGJxLrB0llvMpez0yNKwu5NSa5p6r4"


def test_what_the_ledger_keeps_opens() -> None:
    """A sealed column opens in its place, and a password that was kept is known again."""
    assert b"bob@kunde.test" == KEYRING.open_column(base64.b64decode(SEALED), "consent_personal/1")
    assert passwords.matches(KEYRING, KEPT, b"secret")
    assert not passwords.matches(KEYRING, KEPT, b"Secret")
