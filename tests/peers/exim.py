"""Exim as an upstream, from Debian's package, unpacked beside Postfix; run by somebody who is not root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.waiting import free_port
from tests.peers import UNPACKED, account, environment, program, require
from tests.peers.authority import Certificates
from tests.peers.daemon import Daemon, owned_folders, running
from tests.peers.login import PASSWORDS
from tests.peers.maildir import Maildir

CONFIG = """\
primary_hostname = peer.test
exim_user = {uid}
exim_group = {gid}
exim_path = {program}
keep_environment = ^LD_ : ^NSS_WRAPPER_
spool_directory = {work}/spool
log_file_path = {work}/log/%s
pid_file_path = {work}/exim.pid
deliver_drop_privilege
never_users =
host_lookup =
rfc1413_hosts =
daemon_smtp_ports = {port} : {starttls} : {implicit}
tls_on_connect_ports = {implicit}
local_interfaces = 127.0.0.1
tls_advertise_hosts = ${{if eq{{$received_port}}{{{port}}}{{}}{{*}}}}
tls_certificate = {certificates.certificate}
tls_privatekey = {certificates.key}
auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}}}
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
message_size_limit = 50M
check_spool_space = 0
check_log_space = 0
acl_smtp_rcpt = recipient
acl_smtp_data = accept

begin acl

recipient:
  deny
    condition = ${{if !eq{{$received_port}}{{{port}}}}}
    !authenticated = *
    message = Authentication required
  deny
    local_parts = ^nobody
    message = No such user here
  accept

begin routers

everybody:
  driver = accept
  domains = customer.test
  transport = box

begin transports

box:
  driver = appendfile
  directory = {work}/mail/box
  maildir_format
  return_path_add
  envelope_to_add

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{${{lookup{{$auth2}}lsearch{{{work}/passwords}}{{$value}}fail}}}}}}
  server_set_id = $auth2

login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = User Name : Password
  server_condition = ${{if eq{{$auth2}}{{${{lookup{{$auth1}}lsearch{{{work}/passwords}}{{$value}}fail}}}}}}
  server_set_id = $auth1
"""


class Exim(Daemon):
    """An Exim of our own. Everybody at customer.test has a mailbox but those whose name begins with "nobody"."""

    def __init__(self, work: Path, command: Path, wrapper: Path, certificates: Certificates) -> None:
        self.port, self.starttls_port, self.implicit_port = free_port(), free_port(), free_port()
        """Of trusted networks, with login behind STARTTLS, and with login behind TLS."""
        self.maildir = Maildir(work / "mail/box")
        uid, gid = owned_folders(work, "spool", "log", "mail")
        config = CONFIG.format(
            uid=uid, gid=gid, program=command, work=work, port=self.port, starttls=self.starttls_port,
            implicit=self.implicit_port, certificates=certificates,
        )  # fmt: skip
        (work / "exim.conf").write_text(config)
        (work / "passwords").write_text("".join(f"{user}: {password}\n" for user, password in PASSWORDS.items()))
        # The program looks its package's account up before it reads any configuration.
        (work / "passwd").write_text(f"Debian-exim:x:{uid}:{gid}::{work}:/bin/false\n")
        (work / "group").write_text(f"Debian-exim:x:{gid}:\n")
        names = {"NSS_WRAPPER_PASSWD": str(work / "passwd"), "NSS_WRAPPER_GROUP": str(work / "group")}
        names["LD_PRELOAD"] = str(wrapper)
        self._exim = [command, "-C", work / "exim.conf"]
        command_line = [*self._exim, "-bdf"]
        super().__init__(work, command_line, self.port, "log/main", {**environment(), **names}, account())

    @property
    def version(self) -> str:
        """What it calls itself."""
        command = [*self._exim, "-bV"]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=True, **self._runs_as
        )
        return f"Exim {done.stdout.split()[2]}"


@contextmanager
def running_exim(certificates: Certificates) -> Iterator[Exim]:
    """Run an Exim in a temporary folder, and end and remove it afterwards."""
    command = program("exim4")
    wrapper = next(UNPACKED.glob("usr/lib/*/libnss_wrapper.so"), None)
    if wrapper is None:
        require("libnss-wrapper is not unpacked by .ci/peers")
    with running("exim", lambda work: Exim(work, command, wrapper, certificates)) as exim:
        yield exim
