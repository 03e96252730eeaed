"""What can go wrong with the ledger, as its users need to tell it apart."""


class LedgerError(Exception):
    """Something is wrong with the ledger or its key file that an administrator must mend; the text says what."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot answer now, or not in time. Mail flows untouched, links redirect, nothing is recorded."""


class LedgerContended(LedgerUnavailable):
    """The database took a transaction back for the sake of another one; the same again will do."""


class LedgerMissing(LedgerError):
    """The ledger has been there and is not any more; a new one in its place would forget every refusal."""


class ConsentRefused(LedgerError):
    """A grant cannot be recorded: the person has refused, or the evidence is missing."""
