"""The pictures in docs/mail-programs.md, taken from a running Thunderbird: `python -m tests.peers.pictures`.

Needs Thunderbird and Xvfb, pngquant to make the files small, and the right to listen on port 80 of loopback.
"""

import base64
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.peers.thunderbird import SETTINGS, Thunderbird, running_thunderbird
from web.mailserver import MailServer, document

FOLDER = Path(__file__).parents[2] / "docs/pictures"

USER = "%EMAILADDRESS%"
SETTINGS_TOLD = document(
    ["example.org"], "Example GmbH",
    [
        MailServer("imap", "imap.example.org", 993, "implicit", USER),
        MailServer("smtp", "relay.example.org", 587, "starttls", USER),
    ],
)  # fmt: skip
HUB = """
    const elements = function* (root) {
      for (const one of root.querySelectorAll("*")) {
        yield one;
        if (one.shadowRoot) yield* elements(one.shadowRoot);
      }
    };
    const shown = async what => {
      for (let waited = 0; waited < 20_000; waited += 50) {
        const found = [...elements(document)].find(one => what(one) && one.getBoundingClientRect().width);
        if (found) return found;
        await new Promise(resolve => setTimeout(resolve, 50));
      }
      throw new Error(`not there: ${what}`);
    };
    window.resizeTo(1100, 720);
    window.moveTo(0, 0);
    window.openAccountHub();
    for (const [id, value] of [["realName", "Alice"], ["email", "alice@example.org"]]) {
      const input = await shown(one => one.id == id);
      input.value = value;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
    (await shown(one => one.id == "forward" && !one.disabled)).click();
    await shown(one => one.textContent == "relay.example.org");
"""
CLOSE = (
    HUB.partition("    window.resizeTo")[0]
    + """
    (await shown(one => one.id == "closeButton")).click();
"""
)
ACCOUNT = """
    const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
    const reading = MailServices.accounts.createIncomingServer("alice@example.org", "imap.example.org", "imap");
    Object.assign(reading, { port: 993, socketType: 3, authMethod: 3, prettyName: "alice@example.org", doBiff: false });
    reading.setBoolValue("login_at_startup", false);
    const sending = MailServices.outgoingServer.createServer("smtp");
    Object.assign(sending.QueryInterface(Ci.nsISmtpServer), { hostname: "relay.example.org", port: 587 });
    Object.assign(sending, {
      socketType: 2, authMethod: 3, username: "alice@example.org", description: "Example GmbH",
    });
    MailServices.outgoingServer.defaultServer = sending;
    const identity = MailServices.accounts.createIdentity();
    Object.assign(identity, {
      fullName: "Alice", email: "alice@example.org", smtpServerKey: sending.key, valid: true,
    });
    const account = MailServices.accounts.createAccount();
    account.addIdentity(identity);
    account.incomingServer = reading;
    MailServices.accounts.defaultAccount = account;
    window.resizeTo(1100, 720);
    window.moveTo(0, 0);
    window.MsgAccountManager();
"""
IDENTITY = SETTINGS + "(await found(() => inner()?.getElementById('identity.smtpServerKey'))).scrollIntoView(false);"
SERVERS = SETTINGS + "await openServers(); await found(() => inner().querySelector('#smtpList *'));"
SERVER = (
    SETTINGS
    + """
    inner().querySelector("#smtpList *").click();
    inner().getElementById("editButton").click();
    await found(() => dialog()?.getElementById("smtp.hostname")?.value);
"""
)


def take(thunderbird: Thunderbird, name: str) -> None:
    """Write what the main window shows to a file, in few colours."""
    picture = FOLDER / f"{name}.png"
    shown = thunderbird.marionette.command("WebDriver:TakeScreenshot", {"full": True, "hash": False})
    picture.write_bytes(base64.b64decode(shown["value"]))
    subprocess.run(
        ["pngquant", "--nofs", "--force", "--strip", "--speed", "1", "--output", picture, "32", picture], check=True
    )


@contextmanager
def answering_autoconfig() -> Iterator[None]:
    """Be the server that Thunderbird asks for the settings of example.org."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/xml; charset=utf-8")
            self.end_headers()
            self.wfile.write(SETTINGS_TOLD)

    with HTTPServer(("127.0.0.1", 80), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def main() -> None:
    """Take every picture."""
    FOLDER.mkdir(exist_ok=True)
    names = {"network.dns.localDomains": "autoconfig.example.org", "mailnews.auto_config_url": ""}
    with (
        tempfile.TemporaryDirectory() as folder,
        answering_autoconfig(),
        running_thunderbird(Path(folder), names) as thunderbird,
    ):
        thunderbird.run(HUB + "await new Promise(resolve => setTimeout(resolve, 1_500));")
        take(thunderbird, "thunderbird-found")
        thunderbird.run(CLOSE)
        thunderbird.run(ACCOUNT)
        for name, script in (("identity", IDENTITY), ("servers", SERVERS), ("server", SERVER)):
            thunderbird.run(script + "await new Promise(resolve => setTimeout(resolve, 1_500));")
            take(thunderbird, f"thunderbird-{name}")


if __name__ == "__main__":
    main()
