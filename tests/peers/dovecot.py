"""Dovecot's submission service as an upstream, from Debian's package: its TLS and SASL, and a mail server behind it.

Runs as somebody who is not root, as Dovecot's documentation describes; it hands mail on as it comes in and stores none.
"""

import base64
import grp
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.waiting import free_port
from tests.peers import account, environment, program, require
from tests.peers.authority import Certificates
from tests.peers.daemon import Daemon, owned_folders, running
from tests.peers.login import PASSWORDS, TOKEN_KEY
from tests.peers.postfix import Postfix

CONFIG = """\
base_dir = {work}/run
state_dir = {work}/run
log_path = {work}/dovecot.log
libexec_dir = /usr/lib/dovecot
import_environment = LD_LIBRARY_PATH
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
protocols = submission
listen = 127.0.0.1
hostname = peer.test
mail_location = maildir:{work}/mail/%u
ssl = required
ssl_cert = <{certificates.certificate}
ssl_key = <{certificates.key}
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
submission_relay_host = 127.0.0.1
submission_relay_port = {behind}
submission_relay_trusted = no
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {work}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = {work}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={work}/mail/%u
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {starttls}
  }}
  inet_listener submissions {{
    port = {implicit}
    ssl = yes
  }}
}}
"""

OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={work}/keys/
username_attribute = email
"""


class Dovecot(Daemon):
    """A Dovecot of our own, in front of a Postfix, which delivers."""

    def __init__(self, work: Path, commands: tuple[Path, Path], certificates: Certificates, behind: Postfix) -> None:
        self.starttls_port, self.implicit_port = free_port(), free_port()
        """With login behind STARTTLS, and with login behind TLS."""
        self.maildir = behind.maildir
        uid, gid = owned_folders(work, "mail", "keys", "keys/default", "keys/default/HS256")
        config = CONFIG.format(
            work=work, user=pwd.getpwuid(uid).pw_name, group=grp.getgrgid(gid).gr_name, uid=uid, gid=gid,
            behind=behind.port, starttls=self.starttls_port, implicit=self.implicit_port, certificates=certificates,
        )  # fmt: skip
        (work / "dovecot.conf").write_text(config)
        (work / "oauth2.conf").write_text(OAUTH2.format(work=work))
        (work / "keys/default/HS256/default").write_text(_text(TOKEN_KEY))
        users = (f"{user}:{{PLAIN.B64}}{_text(password.encode())}::::::\n" for user, password in PASSWORDS.items())
        (work / "users").write_text("".join(users))
        (doveconf, dovecot), file = commands, work / "dovecot.conf"
        # What the program does by itself as well, but with the place where doveconf is installed.
        command = [doveconf, "-f", "service=master", "-c", file, "-e", dovecot, "-F", "-c", file]
        super().__init__(work, command, self.starttls_port, "dovecot.log", environment(), account())
        self._dovecot = dovecot

    @property
    def version(self) -> str:
        """What it calls itself."""
        command = [self._dovecot, "--version"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
        return f"Dovecot {done.stdout.split()[0]}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@contextmanager
def running_dovecot(certificates: Certificates, behind: Postfix) -> Iterator[Dovecot]:
    """Run a Dovecot in a temporary folder, in front of a Postfix, and end and remove it afterwards."""
    commands = program("doveconf"), program("dovecot")
    if not Path("/usr/lib/dovecot/submission").exists():
        require("/usr/lib/dovecot is missing: Dovecot looks for its modules there")
    with running("dovecot", lambda work: Dovecot(work, commands, certificates, behind)) as dovecot:
        yield dovecot
