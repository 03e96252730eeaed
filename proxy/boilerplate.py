"""Boilerplate: the greeting above a letter, and the closing, signature and legal notice below it.

The one names the recipient, the other is the same under everything that a person sends, however different the letters
are. Known by their usual wording in English, German, French, Spanish and Italian. All texts here are case-folded.
"""

import re

_GREETING = re.compile(
    r"\s*(?:dear|hello|hi|hey|good (?:morning|afternoon|evening|day)|greetings|to whom it may concern"
    r"|sehr geehrte[rs]?|geehrte[rs]?|liebe[rs]?|werte[rs]?|hallo|guten (?:tag|morgen|abend)|moin|servus|grüezi"
    r"|grüss (?:gott|dich|sie)|bonjour|bonsoir|chère?s?|madame|monsieur|mesdames|messieurs|salut"
    r"|estimad[oa]s?|hola|buen(?:os|as) (?:días|tardes|noches)|buen día|querid[oa]s?|apreciad[oa]s?|muy señor(?:es)?"
    r"|gentil(?:e|i|issim[oaie])|egregi[oa]?|spett(?:abile|\.le)|buon ?(?:giorno|asera|dì)|ciao|car[oaie]|salve)\b"
    # "Buenos días, Javier:" has the name behind the comma.
    r"(?:[^\n,!:;–—]{0,60}[,!:;–—]+(?:[^\n,!:;–—]{1,40}[,!:;–—]+[ \t]*(?=\n))?|[^\n]{0,60}(?:\n|\Z))"
)
_MAX_GREETINGS = 4


def without_greeting(text: str) -> str:
    """Return the text without its greeting, or several of them: "Dear Ms Jones, dear Mr Smith,"."""
    for _ in range(_MAX_GREETINGS):
        match = _GREETING.match(text)
        if match is None:
            break
        text = text[match.end() :]
    return text


# Where a line or a sentence begins. The first character is one of few, so that the search goes fast.
_BEGINNING = r"[\n.!?…](?:(?<=\n)|(?=[ \t]))[ \t*_]*+"
_LINE_ENDS = r"[ \t]*[,.!]*[ \t]*(?:\n|\Z)"

_CLOSING = re.compile(
    rf"{_BEGINNING}(?:"
    r"(?:with |my |our |many |very )?(?:(?:kind(?:est)?|best|warm(?:est)?|friendly|sincere) )?regards\b"
    r"|(?:with )?best wishes\b|(?:yours )?(?:sincerely|faithfully|truly|respectfully)\b|all the best\b"
    r"|mit (?:den )?(?:freundlich|best|herzlich|lieb|kollegial)\w* (?:gr[üu](?:ss|e)|empfehlungen)"
    r"|(?:freundlich|best|viel|herzlich|lieb|schön|sonnig|kollegial)\w* gr(?:ü|u|ue)ss|hochachtungsvoll|mfg\b"
    r"|(?:bien |très )?cordialement|bien à (?:vous|toi)|amicalement"
    r"|(?:mes |nos )?(?:meilleures|sincères|cordiales) salutations"
    r"|(?:je|nous) (?:vous|te) pri(?:e|ons)[^\n]{0,60}(?:agréer|recevoir|croire)"
    r"|(?:veuillez|recevez)[^\n]{0,40}(?:agréer|recevoir|salutations)"
    r"|recib(?:a|e|an)[^\n]{0,30}saludo|(?:un )?(?:cordial|atento|afectuoso) saludo|saludos (?:cordiales|atentos)"
    r"|(?:muy )?atentamente|cordialmente|(?:cordiali|distinti|cari|migliori) saluti|un (?:caro|cordiale) saluto"
    r"|met (?:vriendelijke|hartelijke) groet|(?:com os )?(?:melhores|cordiais) cumprimentos|atenciosamente"
    r"|z poważaniem|med vänlig"
    # What also begins a sentence closes a letter only where it has the line for itself.
    r"|(?:best|thanks|many thanks|with (?:kind|many) thanks|thank you|thanks again|cheers|yours|take care"
    r"|have a (?:nice|good|great) (?:day|week|weekend)|danke|vielen dank|besten dank|gruss|lg|vg|bg|bis (?:bald|dann)"
    r"|schönes wochenende|merci|merci d'avance|sincèrement|salutations|à bientôt|bonne (?:journée|soirée|semaine)"
    r"|gracias|muchas gracias|un saludo|(?:muchos )?saludos|un abrazo|hasta pronto"
    rf"|saluti|un saluto|un abbraccio|grazie|grazie mille|a presto|buona giornata|buon lavoro){_LINE_ENDS})"
)

# A legal notice says within its first sentence that it is about confidence and recipients.
_NOTICE = (
    r"[^\n]{0,240}?(?:confiden|privileged|intended|addressee|recipient|vertraulich|bestimmt|adressat|empfänger"
    r"|destin|riservat|privilegi|secret|reserv)"
)
_BOILERPLATE = re.compile(
    # The signature mark (RFC 3676 §4.3) and what telephones put in its place.
    rf"{_BEGINNING}(?:-- ?(?=\n|\Z)|(?:sent from my|get outlook for|von meinem \w+ gesendet|gesendet von"
    r"|envoyé (?:de mon|depuis)|enviado desde|inviato da)\b"
    r"|(?:important notice|legal notice|disclaimer|confidentiality|data protection notice|rechtlicher hinweis"
    r"|vertraulichkeit|datenschutzhinweis|pflichtangaben|haftungsausschluss"
    r"|avis (?:de confidentialité|important|juridique)|confidentialité|aviso (?:legal|de confidencialidad)"
    r"|confidencialidad|avvis[oi] (?:legale|di riservatezza)|nota di riservatezza|informativa privacy)\b"
    r"|(?:this|the information (?:contained )?in this|the contents? of this|any information in this)"
    rf" (?:e-?mail|electronic mail|message|communication|transmission){_NOTICE}"
    r"|if you (?:are not the intended|(?:have )?received this)|please consider the environment|think before you print"
    rf"|(?:diese|der inhalt dieser|die in dieser|die informationen in dieser) (?:e-?mail|nachricht|mail){_NOTICE}"
    r"|wenn sie nicht der (?:richtige|beabsichtigte)|sollten sie nicht der|(?:haupt)?sitz(?: der gesellschaft)?:"
    r"|registergericht|handelsregister|amtsgericht|geschäftsführ(?:er|ung)(?:in)?:|ust-?id"
    rf"|(?:ce|le présent|cet|les informations contenues dans ce) (?:message|courriel|e-?mail|courrier){_NOTICE}"
    r"|si vous n'êtes pas le destinataire|si vous avez reçu ce"
    rf"|(?:este|el presente|la información contenida en este|el contenido de este) (?:mensaje|correo|e-?mail){_NOTICE}"
    r"|(?:en cumplimiento|de conformidad|de acuerdo) [^\n]{0,80}protección de datos"
    r"|si (?:usted )?(?:no es el destinatario|ha recibido este)"
    r"|(?:questo|il presente|la presente|le informazioni contenute in quest[oa]|il contenuto di quest[oa])"
    rf" (?:messaggio|e-?mail|comunicazione){_NOTICE}|ai sensi del[^\n]{{0,80}}(?:privacy|protezione|dati)"
    r"|qualora non (?:foste|siate))"
)
_RULE = re.compile(r"\n[ \t]*[-_=*~─━—]{5,}[ \t]*(?=\n|\Z)")
_TOP = 160
"""Characters. A rule higher up stands under a heading and not above a signature."""


def end_of_letter(text: str) -> int:
    """Return where the letter ends: at closing, signature, legal notice or rule, whichever comes first."""
    found = (_CLOSING.search(text), _BOILERPLATE.search(text), _RULE.search(text, _TOP))
    return min((match.start() + 1 for match in found if match is not None), default=len(text))
