"""Why an audit can't be made."""


class AuditError(RuntimeError):
    """An audit that can't be run or go on; the message says why and what to do."""
