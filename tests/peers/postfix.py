"""Postfix as an upstream: a throw-away one in a folder of its own, which touches nothing under /etc/postfix."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.waiting import free_port, until
from tests.peers import environment, program, require
from tests.peers.authority import Certificates
from tests.peers.daemon import Daemon, running
from tests.peers.login import PASSWORDS
from tests.peers.maildir import Maildir

MAIN = """\
compatibility_level = 3.6
queue_directory = {work}/spool
data_directory = {work}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = peer.test
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
local_header_rewrite_clients =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtputf8_enable = yes
virtual_mailbox_domains = customer.test
virtual_mailbox_base = {work}/mail
virtual_mailbox_maps = regexp:{work}/etc/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
maillog_file = {work}/mail.log
maillog_file_prefixes = {work}
"""

SUBMISSION = """\
smtpd_tls_cert_file = {certificates.certificate}
smtpd_tls_key_file = {certificates.key}
smtpd_tls_auth_only = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {work}/etc/sasl
"""
"""What a provider's submission has more, on ports of its own."""

SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {work}/etc/sasldb
mech_list: PLAIN LOGIN
"""

SMTPD = "127.0.0.1:{port} inet n - n - 50 smtpd"
SUBMISSION_SMTPD = (
    f"{SMTPD} -o smtpd_sasl_auth_enable=yes -o smtpd_relay_restrictions=permit_sasl_authenticated,reject"
    " -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject -o smtpd_tls_{option}"
)

MASTER = """\
{smtpd}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
discard unix - - n - - discard
showq unix n - n - - showq
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"""

MAILBOXES = """\
if !/^nobody/
/@customer\\.test$/ box/
endif
"""
"""Everybody at customer.test has a mailbox (one maildir for all), but for those whose name begins with "nobody"."""


class Postfix(Daemon):
    """A Postfix of our own. It can be stopped and started again on the same port."""

    def __init__(self, work: Path, command: Path, smtpd: str = SMTPD, certificates: Certificates | None = None) -> None:
        self._postfix = [command, "-c", work / "etc"]
        self.port, self.starttls_port, self.implicit_port = free_port(), free_port(), free_port()
        """Of trusted networks; and where there are certificates, with login behind STARTTLS and behind TLS."""
        self.maildir = Maildir(work / "mail/box")
        super().__init__(work, [*self._postfix, "start-fg"], self.port, "mail.log")
        for name in ("etc", "etc/sasl", "spool", "data", "mail"):
            (work / name).mkdir()
        shutil.chown(work / "data", "postfix")
        shutil.chown(work / "mail", 65534, 65534)
        services, main = [smtpd.format(port=self.port)], MAIN
        if certificates is not None:
            main += SUBMISSION
            services += [
                SUBMISSION_SMTPD.format(port=self.starttls_port, option="security_level=encrypt"),
                SUBMISSION_SMTPD.format(port=self.implicit_port, option="wrappermode=yes"),
            ]
            self._add_logins()
        (work / "etc/main.cf").write_text(main.format(work=work, certificates=certificates))
        (work / "etc/master.cf").write_text(MASTER.format(smtpd="\n".join(services)))
        (work / "etc/mailboxes").write_text(MAILBOXES)
        for name in ("postfix-files", "dynamicmaps.cf"):
            if Path("/etc/postfix", name).exists():
                shutil.copy(Path("/etc/postfix", name), work / "etc")

    def _add_logins(self) -> None:
        (self.work / "etc/sasl/smtpd.conf").write_text(SASL.format(work=self.work))
        database = self.work / "etc/sasldb"
        for user, password in PASSWORDS.items():
            name, _, realm = user.partition("@")
            command = [program("saslpasswd2"), "-p", "-f", database, "-u", realm, name]
            subprocess.run(command, input=password.encode(), env=environment(), check=True, capture_output=True)
        shutil.chown(database, "postfix")

    def _tell_to_end(self, process: subprocess.Popen[bytes]) -> None:
        subprocess.run([*self._postfix, "stop"], capture_output=True, timeout=30, check=False)

    @property
    def version(self) -> str:
        """What it calls itself."""
        done = subprocess.run(["/usr/sbin/postconf", "-dh", "mail_version"], capture_output=True, text=True, check=True)
        return f"Postfix {done.stdout.strip()}"

    def delivered(self, recipient: str) -> list[bytes]:
        """Return the messages that were delivered to a recipient, oldest first, as their files hold them."""
        named = b"\nDelivered-To: " + recipient.encode() + b"\n"
        return [content for content in self.maildir.delivered(named) if named in content[:2_000]]

    def next_delivered(self, recipient: str, count: int = 1) -> bytes:
        """Wait until a recipient has ``count`` messages and return the last."""
        return until(lambda: self.delivered(recipient)[count - 1 :], f"message {count} for {recipient} is delivered")[
            -1
        ]


@contextmanager
def running_postfix(smtpd: str = SMTPD, certificates: Certificates | None = None) -> Iterator[Postfix]:
    """Run a Postfix in a temporary folder, and end and remove it afterwards.

    ``smtpd`` is the line of its configuration for the port of trusted networks. With certificates there are ports for
    submission too.
    """
    command = program("postfix", Path("/usr/sbin"))
    if os.geteuid() != 0:
        require("Postfix can only be started by root")
    with running("postfix", lambda work: Postfix(work, command, smtpd, certificates)) as postfix:
        yield postfix
