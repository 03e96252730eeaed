"""Showing: what the configuration means to the web application."""

import ipaddress

from aboveboard import autoconfig, compose
from aboveboard.settings import Config
from ledger.ledger import Ledger
from web.site import Point, Site


def site(config: Config, opened: Ledger, *, stale: bool = False) -> Site:
    """Return what the web application shows and where it stands; ``stale`` where the file is not what is in force."""
    return Site(
        ledger=opened,
        organisation=config.organisation.name,
        contact=config.organisation.contact,
        privacy_url=config.organisation.privacy_url,
        public_url=config.web.public_url,
        teller=compose.teller(config),
        policy=compose.policy(config),
        stale=stale,
        language=config.organisation.language,
        mails=config.system_mail is not None,
        points={point.id: Point(point.title, point.wording) for point in config.consent.point if point.public},
        validity=compose.periods(config).consent,
        trusted_proxies=tuple(ipaddress.ip_network(network) for network in config.web.trusted_proxies),
        autoconfig=autoconfig.told(config),
    )
