"""Why an audit can't be made."""


class AuditError(RuntimeError):
    """An audit that can't be run or go on; the message says why and what to do."""


class AuditUnderWay(AuditError):
    """Another run is at work where this one was to be; nothing is wrong."""
