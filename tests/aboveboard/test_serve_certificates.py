"""A running service whose certificate is renewed: every worker shows the new one, and a broken one is not taken up."""

import os
import signal
import smtplib
import ssl
from pathlib import Path

import trustme

from tests.aboveboard.test_serve_reload import alone
from tests.e2e.serving import Service, running_service
from tests.e2e.waiting import free_port, until
from tests.proxy.test_certificates import write

LISTENER = """
[[relay.listener]]
address = "127.0.0.1:{port}"
tls = "starttls"
certificate = "chain.pem"
key = "key.pem"
"""


def shown(service: Service, port: int, trust: ssl.SSLContext) -> set[object]:
    """Return the serial numbers of the certificates that the relay processes show."""
    found = set()
    pids = service.workers("relay")
    for pid in pids:
        with alone(pid, pids), smtplib.SMTP("127.0.0.1", port, "client.test", 20) as client:
            # The name is checked as if it had been connected to.
            client._host = "relay.test"
            client.starttls(context=trust)
            assert isinstance(client.sock, ssl.SSLSocket)
            found.add((client.sock.getpeercert() or {})["serialNumber"])
    return found


def test_certificates_are_renewed(tmp_path: Path) -> None:
    """A renewed certificate is shown by every worker, soon or at SIGHUP; a broken one leaves the old and a log line."""
    authority, trust, port = trustme.CA(), ssl.create_default_context(), free_port()
    authority.configure_trust(trust)
    one, two, three = (authority.issue_cert("relay.test") for _ in range(3))
    write(tmp_path, one)
    more = LISTENER.replace("{port}", str(port))
    with running_service(tmp_path, 9, workers=2, more=more) as service:
        (first,) = shown(service, port, trust)
        write(tmp_path, two)
        until(lambda: first not in shown(service, port, trust), "the new certificate in every worker")
        (second,) = shown(service, port, trust)
        (tmp_path / "chain.pem").write_text("nonsense")
        until(lambda: "serve.certificate_kept" in service.log, "the log says that it is broken")
        assert "relay.listener[1].certificate: certificate and key do not load" in service.log
        assert {second} == shown(service, port, trust)
        write(tmp_path, three)
        os.kill(service.process.pid, signal.SIGHUP)
        until(lambda: not {first, second} & shown(service, port, trust), "the third certificate in every worker")
        assert 1 == service.log.count("serve.certificate_kept")
        assert 2 == service.log.count("serve.certificate_renewed")
