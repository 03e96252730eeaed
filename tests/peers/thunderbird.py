"""Thunderbird, from Debian's package, on a virtual screen: told what to do over Marionette, its own remote control.

Marionette speaks JSON over TCP (https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html); the scripts
run where Thunderbird's own windows run.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.e2e.waiting import free_port, until
from tests.peers import program

PREFERENCES = {
    "app.update.enabled": False,
    "app.donation.eoy.version.viewed": 999,
    "browser.shell.checkDefaultClient": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
"""No first-run windows, and nobody outside is asked anything."""


class Marionette:
    """Thunderbird's remote control."""

    def __init__(self, port: int) -> None:
        self._socket = until(lambda: _greeted(port), "Thunderbird can be told what to do", 60.0)
        self.command("WebDriver:NewSession", {"capabilities": {"timeouts": {"script": 40_000}}})
        self.command("Marionette:SetContext", {"value": "chrome"})

    def run(self, script: str, **values: Any) -> Any:
        """Run the body of an async function in the main window, with values under their names; return its result."""
        names = ", ".join(values)
        body = (
            "const done = arguments[arguments.length - 1];"
            f"(async ({{{names}}}) => {{ {script} }})(arguments[0])"
            ".then(value => done({value}), error => done({error: `${error}\\n${error.stack}`}));"
        )
        answer = self.command("WebDriver:ExecuteAsyncScript", {"script": body, "args": [values]})["value"]
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Say a command of the protocol and return what it answers."""
        content = json.dumps([0, 1, name, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(content), content))
        _, _, error, result = _received(self._socket)
        assert error is None, error
        return result

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def _greeted(port: int) -> socket.socket | None:
    try:
        connection = socket.create_connection(("127.0.0.1", port), 60)
    except OSError:
        return None
    assert _received(connection)["marionetteProtocol"] == 3
    return connection


def _received(connection: socket.socket) -> Any:
    """Return what was said: a length, a colon, JSON."""
    length = b""
    while not length.endswith(b":"):
        length += connection.recv(1) or b":"
    content = b""
    while len(content) < int(length[:-1]):
        content += connection.recv(int(length[:-1]) - len(content))
    return json.loads(content)


TRUST = """
    const database = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
    database.addCertFromBase64(certificate, "C,C,C");
"""

READ_AUTOCONFIG = """
    const { fetchHTTP } = ChromeUtils.importESModule("resource:///modules/accountcreation/FetchHTTP.sys.mjs");
    const { readFromXML } = ChromeUtils.importESModule("resource:///modules/accountcreation/readFromXML.sys.mjs");
    const { AccountConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
    const xml = await fetchHTTP(url, {
      urlArgs: { emailaddress: address }, signal: new AbortController().signal,
    });
    const config = readFromXML(xml, "isp-http");
    const servers = [config.outgoing, ...config.outgoingAlternatives];
    config.outgoing = servers[choice];
    AccountConfig.replaceVariables(config, name, address, password);
"""
"""What the account hub does with an address and a password; the URL is the only thing that it makes up itself."""

TELL = """
    const told = server => [server.type, server.hostname, server.port, server.socketType, server.auth, server.username];
    return {
      name: config.displayName, domains: config.domains,
      incoming: told(config.incoming), outgoing: told(config.outgoing), others: servers.length - 1,
    };
"""

CREATE = """
    const { CreateInBackend } = ChromeUtils.importESModule(
      "resource:///modules/accountcreation/CreateInBackend.sys.mjs"
    );
    const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
    config.outgoing.addThisServer = true;
    config.incoming.loginAtStartup = false;
    config.rememberPassword = true;
    config.identity.realname = name;
    config.identity.emailAddress = address;
    config.incoming.password = config.outgoing.password = password;
    const account = await CreateInBackend.createAccountInBackend(config);
    // There is no IMAP server to keep copies on.
    const identity = account.defaultIdentity;
    identity.fccFolderURI = MailServices.accounts.localFoldersServer.rootFolder.URI + "/Sent";
    return identity.key;
"""

SETTINGS = """
    const settings = () => document.getElementById("tabmail").currentTabInfo.browser.contentDocument;
    const inner = () => settings().getElementById("contentFrame")?.contentDocument;
    const found = async what => {
      for (let waited = 0; waited < 20_000; waited += 50) {
        try {
          if (what()) {
            // What is drawn first may be drawn anew.
            await new Promise(resolve => setTimeout(resolve, 1_000));
            return what();
          }
        } catch (error) {
          if (!/dead object/.test(error)) throw error;
        }
        await new Promise(resolve => setTimeout(resolve, 50));
      }
      throw new Error(`not there: ${what}`);
    };
    const openServers = async () => {
      await found(() => inner() && true);
      const tree = settings().getElementById("accounttree");
      tree.selectedIndex = [...tree.rows].findIndex(row => row.id == "smtp");
      return found(() => inner()?.getElementById("addButton"));
    };
    const dialog = () => settings().querySelector("browser.dialogFrame")?.contentDocument;
"""
"""The page of account settings: an outer document, the page chosen inside it, a dialog above both."""

ENTER = (
    SETTINGS
    + """
    window.MsgAccountManager();
    (await openServers()).click();
    await found(() => dialog()?.getElementById("smtp.hostname") && true);
    for (const [id, value] of Object.entries(entered)) {
      const field = dialog().getElementById(id);
      field.value = value;
      for (const name of ["input", "change", "command"]) field.dispatchEvent(new Event(name, { bubbles: true }));
    }
    dialog().querySelector("dialog").getButton("accept").click();
    const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
    const made = await found(() => MailServices.outgoingServer.servers.find(
      one => one.QueryInterface(Ci.nsISmtpServer).hostname == entered["smtp.hostname"]
    ));
    // Thunderbird asks for it at the first message, and is told to remember it.
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    const origin = `smtp://${entered["smtp.hostname"]}`;
    login.init(origin, null, origin, made.username, password, "", "");
    await Services.logins.addLoginAsync(login);
    MailServices.accounts.getIdentity(identity).smtpServerKey = made.key;
"""
)

SERVER_OF = """
    const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
    const { smtpServerKey } = MailServices.accounts.getIdentity(identity);
    const server = MailServices.outgoingServer.getServerByKey(smtpServerKey);
    const { hostname, port } = server.QueryInterface(Ci.nsISmtpServer);
    return [hostname, port, server.socketType, server.authMethod, server.username];
"""

SEND = """
    const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
    const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
    fields.to = to;
    fields.subject = subject;
    fields.body = html;
    const attachment = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
    attachment.url = attached;
    attachment.name = name;
    fields.addAttachment(attachment);
    const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
    params.type = Ci.nsIMsgCompType.New;
    params.format = Ci.nsIMsgCompFormat.HTML;
    params.identity = MailServices.accounts.getIdentity(identity);
    params.composeFields = fields;
    const until = async (condition, what) => {
      for (let waited = 0; waited < 30_000; waited += 50) {
        const found = condition();
        if (found) return found;
        await new Promise(resolve => setTimeout(resolve, 50));
      }
      const windows = [...Services.wm.getEnumerator(null)].map(one => one.document);
      const texts = windows.map(one => `${one.title}: ${one.documentElement.textContent.trim().slice(0, 500)}`);
      throw new Error(`not in time: ${what}; windows: ${texts.join(" | ")}`);
    };
    MailServices.compose.OpenComposeWindowWithParams(null, params);
    const ready = one => one.gMsgCompose?.editor && one.gWindowLocked === false;
    const composer = await until(
      () => [...Services.wm.getEnumerator("msgcompose")].find(ready), "the composer is open",
    );
    await until(() => !composer.document.getElementById("button-send").disabled, "the button can be pressed");
    composer.document.getElementById("button-send").click();
    await until(() => composer.closed, "the message is sent");
"""


class Thunderbird:
    """A running Thunderbird with a profile of its own."""

    def __init__(self, profile: Path, marionette: Marionette) -> None:
        self.profile = profile
        self.marionette = marionette
        self.run = marionette.run

    def trust(self, authority: Path) -> None:
        """Have it trust an authority, whose certificate is in a PEM file."""
        lines = authority.read_text().strip().splitlines()
        self.run(TRUST, certificate="".join(lines[1:-1]))

    def autoconfig(self, url: str, address: str, choice: int) -> dict[str, Any]:
        """Return what it understands of the settings at a URL, for an address and the nth outgoing server."""
        values = {"url": url, "address": address, "name": "Alice", "password": "x", "choice": choice}
        told: dict[str, Any] = self.run(READ_AUTOCONFIG + TELL, **values)
        return told

    def set_up(self, url: str, address: str, name: str, password: str) -> str:
        """Make an account from the settings at a URL; return its identity's key."""
        values = {"url": url, "address": address, "name": name, "password": password, "choice": 0}
        key: str = self.run(READ_AUTOCONFIG + CREATE, **values)
        return key

    def enter(self, identity: str, password: str, **entered: str) -> None:
        """Add an outgoing server by the dialog that docs/mail-programs.md shows, and have an identity use it."""
        fields = {name if name == "smtpUsername" else f"smtp.{name}": value for name, value in entered.items()}
        self.run(ENTER, identity=identity, password=password, entered=fields)

    def server_of(self, identity: str) -> list[Any]:
        """Return host, port, socket type, authentication and user name of an identity's outgoing server."""
        found: list[Any] = self.run(SERVER_OF, identity=identity)
        return found

    def send(self, identity: str, to: str, subject: str, html: str, attached: Path) -> None:
        """Write a message in the composer, with a file attached, and press the button."""
        values = {"identity": identity, "to": to, "subject": subject, "html": html}
        self.run(SEND, **values, attached=attached.as_uri(), name=attached.name)

    def sent(self) -> bytes:
        """Return what it keeps in its local folder for sent mail, as the folder's file holds it."""
        return (self.profile / "Mail/Local Folders/Sent").read_bytes()


@contextmanager
def running_screen() -> Iterator[str]:
    """Run a virtual screen and yield its name."""
    xvfb = program("Xvfb")
    reading, writing = os.pipe()
    command = [str(xvfb), "-displayfd", str(writing), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running_thunderbird(folder: Path, more: Mapping[str, str] = MappingProxyType({})) -> Iterator[Thunderbird]:
    """Run Thunderbird with a new profile in a folder, and with more preferences than the usual ones."""
    thunderbird, profile, port = program("thunderbird"), folder / "profile", free_port()
    profile.mkdir()
    preferences = {**PREFERENCES, **more, "marionette.port": port}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    command = [
        str(thunderbird), "--no-remote", "--profile", str(profile), "--marionette", "--remote-allow-system-access",
    ]  # fmt: skip
    with running_screen() as display, (folder / "thunderbird.log").open("wb") as log:
        environment = {
            **os.environ, "DISPLAY": display, "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8",
            "GDK_BACKEND": "x11", "MOZ_CRASHREPORTER_DISABLE": "1", "NO_AT_BRIDGE": "1",
        }  # fmt: skip
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            marionette = Marionette(port)
            yield Thunderbird(profile, marionette)
            marionette.close()
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
