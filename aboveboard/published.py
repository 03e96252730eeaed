"""Published addresses: whether what stands in mail, and what mail programs ask for, leads to this installation."""

import json
import socket
import ssl
from collections.abc import Callable
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from aboveboard import autoconfig
from aboveboard.certificates import in_words
from aboveboard.settings import Config
from policies.address import canonical_domain

_SECONDS = 10.0
_MOST_BYTES = 65_536


class NoAnswer(Exception):
    """What stands between us and an answer, as a clause with what is to be done."""


def fetch(url: str) -> bytes:
    """Return what a web address answers with 200. Raises NoAnswer."""
    host = urlsplit(url).hostname or ""
    try:
        # A context of its own: from Python 3.12 on urlopen keeps the first one that it made.
        with urlopen(url, timeout=_SECONDS, context=ssl.create_default_context()) as answer:  # noqa: S310  # http or https
            body: bytes = answer.read(_MOST_BYTES)
            return body
    except HTTPError as error:
        error.close()
        raise NoAnswer(f"answers {error.code}; see where the web server in front hands it on to") from error
    except URLError as error:
        raise NoAnswer(_why(error.reason, host)) from error
    except (OSError, ValueError) as error:
        raise NoAnswer(_why(error, host)) from error


def _why(reason: str | BaseException, host: str) -> str:
    if isinstance(reason, socket.gaierror):
        return f"the name {host} has no address; mend its entry in the DNS"
    if isinstance(reason, ssl.SSLCertVerificationError):
        what, remedy = in_words(reason, host)
        return f"{what}; {remedy}"
    if isinstance(reason, ssl.SSLError):
        return "what listens there speaks no TLS; put a web server with a certificate in front"
    if isinstance(reason, TimeoutError):
        return "does not answer; see whether a firewall stands in between"
    if isinstance(reason, ConnectionRefusedError):
        return "nobody listens there; see that the web part runs, and the web server in front"
    return f"cannot be reached ({getattr(reason, 'strerror', None) or reason})"


def problems(config: Config, fetched: Callable[[str], bytes] = fetch) -> list[str]:
    """Return one sentence for every published address that does not lead here."""
    found = [*_public_url("web.public_url", config.web.public_url, fetched)]
    for at, url in enumerate(config.web.former_urls):
        found += _public_url(f"web.former_urls[{at}]", url, fetched)
    return found + _autoconfig(config, fetched)


def _public_url(path: str, url: str, fetched: Callable[[str], bytes]) -> list[str]:
    try:
        health = json.loads(fetched(f"{url}/health"))
        ledger = health["ledger"]
    except NoAnswer as error:
        return [f"{path}: {url}/health: {error}. Until then links in mail do not work."]
    except (ValueError, LookupError, TypeError):
        return [f"{path}: {url}/health: something else than aboveboard answers; see where the name leads to."]
    if ledger != "ok":
        return [f"{path}: {url}/health: aboveboard answers without its ledger; see ledger.url, and its log."]
    return []


def _autoconfig(config: Config, fetched: Callable[[str], bytes]) -> list[str]:
    told = autoconfig.told(config)
    if told is None or config.autoconfig is None:
        return []
    found = []
    for domain in config.autoconfig.domains or config.organisation.domains:
        name = canonical_domain(domain)
        first = f"https://autoconfig.{name}/mail/config-v1.1.xml"
        second = f"https://{name}/.well-known/autoconfig/mail/config-v1.1.xml"
        answers = [_answered(url, fetched) for url in (first, second)]
        # Mail programs prefer the first: what it says counts.
        answer = next((one for one in answers if one is not None), None)
        if answer is None:
            found.append(f"autoconfig.domains: neither {first} nor {second} answers; let one of them lead here.")
        elif answer != told:
            found.append(f"autoconfig.domains: mail programs get other settings than these for {domain}; see {first}.")
    return found


def _answered(url: str, fetched: Callable[[str], bytes]) -> bytes | None:
    try:
        return fetched(url)
    except NoAnswer:
        return None
