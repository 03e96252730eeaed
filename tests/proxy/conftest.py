"""Settings of the property tests: a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("mail", deadline=None)
settings.load_profile("mail")
