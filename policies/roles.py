"""Role addresses and mailing lists: addresses behind which more than one person reads.

Nobody at ``info@`` can consent for the others who read there, so such an address counts as a group. The names are those
of RFC 2142 and the ones that businesses publish in the languages the product speaks.
"""

_ENGLISH = """
abuse accounting accounts admin administrator admissions alerts apply billing board booking bookings careers
compliance contact contracts customercare customer-service customerservice desk dpo editor editorial email enquiries
enquiry events everyone feedback finance ftp general hello help helpdesk hi hostmaster hr info information inquiries
inquiry invoice invoices it jobs legal logistics mail mailbox mailer-daemon management marketing media news newsletter
noc noreply no-reply office operations order orders payroll personnel postmaster pr press privacy procurement
purchasing reception recruiting recruitment reservations returns root sales secretary security service services
shipping shop staff subscribe support supplies tech unsubscribe usenet uucp warehouse webmaster welcome www
"""
_GERMAN = """
abteilung anfrage anfragen angebot angebote auftrag auftraege bestellung bestellungen bestellwesen betriebsrat bewerbung
bewerbungen buchhaltung buchung buchungen buero datenschutz disposition einkauf empfang geschaeftsfuehrung
geschaeftsleitung kanzlei kasse kontakt kundendienst kundenservice lager leitung lohnbuchhaltung marktplatz personal
personalabteilung post poststelle praxis presse rechnung rechnungen rechnungswesen redaktion reklamation sekretariat
service-center technik verkauf versand vertrieb verwaltung vorstand werkstatt zentrale
"""
_FRENCH = """
accueil achat achats administratif assistance bienvenue boutique candidature candidatures clientele commande commandes
commercial communication compta comptabilite comptable courrier devis direction dpd equipe facturation facture factures
gestion informations juridique livraison logistique magasin mairie paie presse qualite reclamation recrutement
renseignement renseignements rgpd rh sav secretariat servicecompta serviceclient service-client standard ventes
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

LIST_PATTERNS: tuple[str, ...] = (
    "all@*", "alle@*", "tous@*", "todos@*", "tutti@*", "all-*@*", "alle-*@*", "everybody@*", "team@*",
    "*-l@*", "*-list@*", "list@*", "lists@*", "*-users@*", "*-announce@*", "*-request@*", "*-owner@*", "owner-*@*",
    "listserv@*", "majordomo@*", "mailman@*", "sympa@*",
    "*@lists.*", "*@list.*", "*@listserv.*", "*@googlegroups.com", "*@groups.io", "*@freelists.org",
    "*@groups.google.com", "*@yahoogroups.com", "*@simplelists.com", "*@groups.outlook.com",
)  # fmt: skip
