"""Every error that a caller can be shown.

JobServiceError
├── Invalid            400  the request is wrong: body, parameter, file
│   ├── Unfit          400  the model to go on from cannot honour a hyperparameter
│   └── WrongState     400  the job, dataset or server cannot do that now, or ever
├── Unauthenticated    401  no key, or one that is not valid
├── Forbidden          403  the key may not do this
├── Unknown            404  there is no such thing, or it is another project's
├── NotAllowed         405  the URL knows other methods
├── Taken              409  the name is another thing's already
├── TooLarge           413  more bytes than this server takes
├── OverLimit          429  the organization has as many jobs as it may have
├── KeyReused          422  an Idempotency-Key that came with another body before
├── NotBuilt           501  a wish that this server has no part for
├── Unavailable        503  a part of the service is away; the same request may pass later
└── JobFailed           -   why a job failed: written to the job, never raised at a caller
"""


class JobServiceError(Exception):
    """An error in words for the caller; `param` is the dotted name of what was wrong."""

    status = 500

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class Invalid(JobServiceError):
    """The request is wrong and stays wrong."""

    status = 400


class Unfit(Invalid):
    """The model that a job goes on from cannot honour a hyperparameter: `param` is our name of it, not a body's."""


class WrongState(Invalid):
    """What was named, or the server itself, is in a state that does not allow this."""


class Unauthenticated(JobServiceError):
    """No API key, or one that is unknown or revoked."""

    status = 401


class Forbidden(JobServiceError):
    """The key's scopes do not include this."""

    status = 403


class Unknown(JobServiceError):
    """Not there, or not this project's: the two look the same from outside."""

    status = 404


class NotAllowed(JobServiceError):
    """The URL exists, the method does not."""

    status = 405


class Taken(JobServiceError):
    """A caller chose a name that something else has; never raised on OpenAI's routes, whose clients retry a 409."""

    status = 409


class TooLarge(JobServiceError):
    """The body or the file is over this server's limit."""

    status = 413


class OverLimit(JobServiceError):
    """One job too many for the organization; trying again at once does not help."""

    status = 429


class KeyReused(JobServiceError):
    """An Idempotency-Key was sent again with another body."""

    status = 422


class NotBuilt(JobServiceError):
    """Known to the API that the caller speaks, and not built here."""

    status = 501


class Unavailable(JobServiceError):
    """Database, broker or storage is away for now."""

    status = 503


class JobFailed(JobServiceError):
    """Why a job failed; becomes the job's `error`."""
