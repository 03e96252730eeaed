"""Links to sign in, to reset, to leave and to meet, which stay as they are (cases 100, 104, 108 and M9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import private
from proxy.html import scan
from proxy.links import LinkRules, target

NO_LIST: frozenset[str] = frozenset()


def _target(href: str, text: str = "Read more", labels: str = "") -> str | None:
    """Return where a link may be wrapped to; its text comes as the scanner reads it, each byte a character."""
    return target(href, text.encode().decode("latin-1"), {}, LinkRules(), NO_LIST, labels)


@pytest.mark.parametrize(
    "text",
    [
        "Unsubscribe", "Vom Newsletter abmelden", "Manage your preferences", "Se désabonner", "Newsletter verwalten",
        "E-Mail-Präferenzen", "Abo kündigen", "Gérer mes abonnements Newsletter", "Modifier vos préférences",
        "Gestionar mis suscripciones", "Preferencias de correo", "Gestisci le tue preferenze", "Gestisci l'iscrizione",
        "Hier klicken, um sich abzumelden", "Den Newsletter abzubestellen", "Sich auszutragen", "E-Mail-Einstellungen",
        "Ne plus recevoir ces e-mails", "Ne pas recevoir de lettres", "Desuscribirse", "Anular la suscripción",
        "Cancela tu suscripción", "Darme de baja", "Dejar de recibir correos", "Annulla l'iscrizione",
        "Annulla l’iscrizione", "Cancellati", "Non voglio più ricevere e-mail", "Email settings",
    ],
)  # fmt: skip
def test_text_says_leaving(text: str) -> None:
    """A link that says it lets people leave is never wrapped (case 100)."""
    assert _target("https://x.com/1", text) is None


@pytest.mark.parametrize(
    "href",
    [
        "https://x.com/Identity/Account/ResetPassword?userId=5&code=abc",
        "https://x.com/Account/ConfirmEmail?userId=5&code=abc",
        "https://x.com/__/auth/action?mode=resetPassword&oobCode=x",
        "https://x.com/passwordreset/abc",
        "https://login.x.com/",
        "https://x.com/#/reset-password?token=abc",
        "https://x.com/app#access_token=abc",
        "https://company.webex.com/company/j.php?MTID=m1",
        "https://us02web.zoom.us/wc/join/123",
        "https://teams.microsoft.com/_#/l/meetup-join/19:x",
        "https://gov.teams.microsoft.us/l/meetup-join/19:x",
        "https://x.com/users/sign_in?x",
        "https://x.com/?action=lostpassword",
        "https://x.com/loginWithEmail?state=x",
        "https://x.com/konto/kennwort/abc",
        "https://x.com/confirm/abc",
        "https://x.com/double-opt-in/abc",
        "https://x.com/auth?jwt=abc",
        "https://accounts.x.com/AccountChooser",
        "https://us02web.zoom.us/webinar/register/WN_x",
        "https://teams.cloud.microsoft/meet/123?p=x",
        "https://aka.ms/JoinTeamsMeeting?omkt=de-DE",
        "https://app.goto.com/meeting/123",
        "https://meet.x.com/some-room",
        "https://bbb.x.com/b/abc-def-ghi",
        "https://x.com/settings/notifications",
        "https://x.com/manage/subscriptions",
        "https://x.us1.list-manage.com/profile?u=x",
        "https://x.com/u/abc?unsub=1",
        "https://x.com/$id$",
        "https://x.com/__NAME__",
        "https://x.com/((email))",
        "https://x.com/registrierung/bestaetigung/abc",
        "https://x.com/best%C3%A4tigung?code=abc",
        "https://x.com/konto/aktivierung/abc",
        "https://x.com/mot-de-passe/abc",
        "https://x.com/reinitialisation/abc",
        "https://x.com/restablecer/abc",
        "https://x.com/iniciar-sesion",
        "https://x.com/account/unlock/abc",
        "https://8x8.vc/room",
        "https://cloud.x.com/index.php/call/ab3de6gh",
        "https://events.zoom.us/ejl/abc",
        "https://teams.microsoft.com/v2/?meetingjoin=true#/meet/123",
        "https://teams.microsoft.com/dl/launcher/launcher.html?url=%2F_%23%2Fl%2Fmeetup-join%2F19%3ax&type=meetup-join",
    ],
)
def test_special_links_in_every_form(href: str) -> None:
    """Resets, sign-ins, meetings and placeholders are left alone in whatever form they come (case 104, 108)."""
    assert _target(href) is None


@pytest.mark.parametrize(
    "text",
    ["Log in", "Reset your password", "Set a new password", "Kennwort vergessen?", "Confirm your email address",
     "E-Mail-Adresse bestätigen", "Konto jetzt aktivieren", "Vérifier mon adresse", "Verificar tu correo",
     "Conferma il tuo indirizzo", "Accept the invitation", "Join Zoom Meeting", "Join the call",
     "Klicken Sie hier, um an der Besprechung teilzunehmen", "Rejoindre la réunion", "Manage your notifications",
     "Einstellungen ändern", "Stop these emails", "I no longer want these mails", "Keine weiteren E-Mails",
     "Um sich anzumelden", "Einzuloggen", "Passwort neu vergeben", "Passwort zu ändern",
     "Bestätigen Sie Ihre E-Mail-Adresse", "Bestätige jetzt deine Anmeldung", "Aktivieren Sie Ihr Konto",
     "Confirmez votre adresse e-mail", "Activez votre compte", "Confirmer l’inscription", "Connectez-vous",
     "Réinitialiser", "Confirma tu correo", "Verifique su cuenta", "Active su cuenta", "Inicie sesión",
     "Accedere al tuo account", "Confermare il tuo indirizzo", "Set up your password", "Accept invite",
     "Join Microsoft Teams Meeting", "Join the webinar", "Am Webinar teilnehmen", "Der Videokonferenz beizutreten",
     "Cliquez ici pour participer à la réunion", "Rejoignez la réunion", "Únase a la reunión",
     "Fai clic qui per partecipare alla riunione",
     "192.168.1.1/admin", "müller.de", "localhost:8080/x",
     "„example.com“",
     "→ example.com/x", "xn--e1afmkfd.xn--p1ai", "ftp://example.com/x"],
)  # fmt: skip
def test_texts_that_keep_a_link_as_it_is(text: str) -> None:
    """A text that signs in, confirms, joins, leaves, or is an address in any dress, keeps its link (95, 96, 100)."""
    assert _target("https://x.com/page", text) is None


@pytest.mark.parametrize(
    "href",
    [
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fteams.microsoft.com%2Fl%2Fmeetup-join%2F1&data=x",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fx.com%2Fcode%3Ftoken%3Dabc&data=x",
        "https://urldefense.com/v3/__https://us02web.zoom.us/j/123__;!!abc",
        "https://www.google.com/url?q=https://meet.google.com/abc-defg-hij&sa=D",
        "https://go.x.com/r?to=HTTPS%253A%252F%252Flogin.x.com%252F",
        "https://go.x.com/r?" + "&u=https://x.com/" * 5,
    ],
    ids=["Safe Links, meeting", "Safe Links, reset", "URL Defense", "Google", "escaped twice", "many"],
)
def test_an_address_that_carries_a_private_one(href: str) -> None:
    """A redirect, or what a mail gateway has put around a link, is left alone where that link would be (M9, 104)."""
    assert _target(href) is None


@pytest.mark.parametrize(
    "href",
    [
        "https://www.x.com/sharer.php?u=https%3A%2F%2Fx.com%2Fnews",
        "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fx.com%2Fnews%3Fa%3D1&data=x",
        "https://x.com/http-basics",
    ],
)
def test_an_address_that_carries_any_other(href: str) -> None:
    """A redirect to an ordinary page is a link like any other (case 103)."""
    assert _target(href) == href


LINK = '<a href="https://x.com/r/1">%s</a>'


@pytest.mark.parametrize(
    ("html", "wrapped"),
    [
        (f"<p>Click {LINK % 'here'} to unsubscribe.</p>", [False]),
        (f"<p>Um sich abzumelden, klicken Sie <b>bitte {LINK % '<i>hier</i>'}</b>.</p>", [False]),
        (f"<p>Pour vous désabonner, {LINK % 'cliquez ici'}</p>", [False]),
        (f"<p>Para darse de baja haga clic {LINK % 'aquí'}</p>", [False]),
        (f"<p>Per reimpostare la password clicca {LINK % 'qui'}</p>", [False]),
        (f"<p>{'x ' * 500} To log in, follow {LINK % 'this link'}", [False]),
        (f"<p>See our offer {LINK % 'here'}.</p>", [True]),
        (f"<p>Unsubscribe</p><p>See our offer {LINK % 'here'}</p><p>Unsubscribe</p>", [True]),
        (f"<p>Our offer is {LINK % 'here'}, you can also {LINK % 'unsubscribe'}.</p>", [True, False]),
        (f"<p title='{'x ' * 200}unsubscribe'>See our offer {LINK % 'here'}</p>", [True]),
        (f"<p>Unsubscribe or see {LINK % 'our offer'}</p>", [True]),
    ],
    ids=[
        "en", "de", "fr", "es", "it", "long", "other", "other paragraphs", "another link", "title", "text of its own",
    ],
)  # fmt: skip
def test_what_stands_around_a_link_that_says_here(html: str, wrapped: list[bool]) -> None:
    """Of a link that only says "here" the words around it tell where it leads, up to the next link (100, 104)."""
    found = scan(html.encode()).anchors

    assert wrapped == [
        target(one.href, one.text, one.attributes, LinkRules(), NO_LIST, one.labels) is not None for one in found
    ]


def test_labels_count_too() -> None:
    """A title or an image's alternative text that says unsubscribe keeps the link (case 100)."""
    assert _target("https://x.com/p", "", "Unsubscribe") is None


@pytest.mark.parametrize(
    "name", ["_LEAVING", "_SIGNING_IN", "_SECRET_KEY", "_SIGNING_IN_WORDS", "_SIGNING_IN_TEXT", "_PLACEHOLDER"]
)
@given(data=st.data())
def test_nothing_is_found_without_a_hint(name: str, data: st.DataObject) -> None:
    """Whatever one of the patterns for links that stay finds holds one of the hints that make it be asked at all."""
    text = data.draw(st.from_regex(getattr(private, name)))
    if name == "_SIGNING_IN_TEXT":
        text = text.lower()

    assert any(hint in text for hint in private.HINTS)
    assert private._is_hinted(text, "")
    assert private._is_hinted("", text)


@given(st.sampled_from(private.HINTS), st.text(max_size=9), st.text(max_size=9))
def test_every_hint_is_found(hint: str, before: str, behind: str) -> None:
    """A hint is seen wherever it stands."""
    assert private._is_hinted(f"https://e.test/{before}{hint}{behind}", "")
