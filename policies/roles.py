"""Role addresses and mailing lists: addresses behind which more than one person reads.

Nobody at ``info@`` can consent for the others who read there, so such an address counts as a group. The names are those
of RFC 2142 and the ones that businesses publish in the languages the product speaks.
"""

_ENGLISH = """
abuse accounting accounts admin administrator admissions alerts apply billing board booking bookings career careers
compliance contact contacts contracts customer-service customercare customerservice desk do-not-reply donotreply dpo
editor editorial email enquiries enquiry events everyone feedback finance ftp general hello help helpdesk hi hostmaster
hr info information inquiries inquiry invoice invoices it jobs legal logistics mail mailbox mailer-daemon management
marketing media news newsletter no-reply noc noreply office operations ops order orders parts payroll personnel
postmaster pr press privacy procurement purchasing reception recruiting recruitment rentals reservation reservations
returns root sales secretary security service services shipping shop staff store studio subscribe supplies support
sysadmin tech technical training unsubscribe usenet uucp warehouse webmaster welcome www
"""
_GERMAN = """
abteilung anfrage anfragen angebot angebote anmeldung apotheke auftraege auftrag ausbildung belegschaft bestellung
bestellungen bestellwesen betriebsrat bewerbung bewerbungen buchhaltung buchung buchungen buero datenschutz dispo
disposition edv einkauf empfang ersatzteile finanzen gemeinde geschaeftsfuehrung geschaeftsleitung hallo
hausverwaltung inkasso kanzlei karriere kasse kita kollegium kontakt kundendienst kundenservice lager leitung logistik
lohnbuchhaltung mahnung marktplatz mitarbeiter notdienst personal personalabteilung personalwesen post poststelle praxis
presse rathaus rechnung rechnungen rechnungseingang rechnungswesen redaktion reklamation reservierung
reservierungen retouren rezeption schule schulung schulungen sekretariat service-center steuern technik termin termine
veranstaltungen verkauf versand verteiler vertrieb verwaltung vorstand werkstatt zentrale
"""
_FRENCH = """
accueil achat achats administratif assistance bienvenue bonjour boutique candidature candidatures clientele commande
commandes commercial communication compta comptabilite comptable courrier devis direction dpd equipe facturation facture
factures gestion informations juridique livraison logistique magasin mairie paie presse qualite reclamation recrutement
renseignement renseignements rgpd rh sav secretariat service-client serviceclient servicecompta standard ventes
"""
_SPANISH = """
administracion atencion atencionalcliente ayuda calidad clientes comercial compras comunicacion contabilidad contacto
correo direccion empleo facturacion facturas gerencia hola informacion informes juridico logistica oficina pedidos
prensa privacidad recepcion reclamaciones recursoshumanos reservas rrhh secretaria seleccion soporte taller tienda
ventas
"""
_ITALIAN = """
acquisti amministrazione assistenza assistenzaclienti ciao clienti commerciale contabilita contatti contatto direzione
fatture fatturazione informazioni lavoraconnoi legale logistica magazzino negozio ordini personale prenotazioni
preventivi qualita reclami redazione ricezione risorseumane segreteria spedizioni stampa ufficio vendite
"""

ROLE_NAMES: tuple[str, ...] = tuple(sorted({*_ENGLISH.split(), *_GERMAN.split(), *_FRENCH.split(), *_SPANISH.split(),
                                            *_ITALIAN.split()}))  # fmt: skip

_PLACES = ("info", "contact", "kontakt", "sales", "support", "service", "vertrieb", "noreply")
ROLE_PATTERNS: tuple[str, ...] = (
    *(f"{name}@*" for name in ROLE_NAMES),
    *(f"{name}{mark}*@*" for name in _PLACES for mark in "-._"),
)
"""The names, and some with a country, a product or a shop behind them: ``sales.de@``, ``info-vienna@``."""

LIST_PATTERNS: tuple[str, ...] = (
    "all@*", "alle@*", "tous@*", "todos@*", "tutti@*", "all-*@*", "alle-*@*", "everybody@*", "team@*",
    "*-l@*", "*-list@*", "list@*", "lists@*", "*-users@*", "*-announce@*", "*-request@*", "*-owner@*", "owner-*@*",
    "listserv@*", "majordomo@*", "mailman@*", "sympa@*", "verteiler-*@*", "dl-*@*", "dl_*@*",
    "*-subscribe@*", "*-bounces@*", "*@mailman.*", "*@mailinglist.*", "*@listen.*", "*@groups.office.com",
    "*@lists.*", "*@list.*", "*@listserv.*", "*@googlegroups.com", "*@groups.io", "*@freelists.org",
    "*@groups.google.com", "*@yahoogroups.com", "*@simplelists.com", "*@groups.outlook.com",
)  # fmt: skip
