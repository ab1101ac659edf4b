"""Every error CCN raises, in one tree; each docstring says what the reader can do about it.

    CCNError
    ├── SettingsInvalid            the configuration cannot be used
    │   └── ScorerUnusable         the scorer that was chosen cannot be loaded here
    ├── InputInvalid               the caller sent something that can never succeed
    │   ├── IdempotencyConflict    the same key was used for a different request
    │   ├── PlateInvalid           a plate cannot be read
    │   ├── MessageTooLong         a message does not fit into the prompt
    │   ├── SignatureInvalid       a key we know did not sign this
    │   └── TokenUnsupported       what was shown is a credential, but not of a kind that ends here
    ├── NotAllowed                 who asks may not do this
    │   ├── Unauthenticated        a credential is needed, and none was shown
    │   │   ├── CredentialInvalid  the credential is not valid, or not any more
    │   │   ├── TokenExpired       the access token was good and has ended
    │   │   └── SignInRefused      no such user with such a password
    │   └── Forbidden              the caller is known, and this is not for its tier
    │       ├── ReasonRequired     an admin opens somebody else's conversation without a reason
    │       └── NotYours           an admin would speak in somebody else's conversation
    ├── NotFound                   the thing named does not exist, or is not the caller's
    │   └── NoCluster              no cluster runs where one was looked for
    ├── Conflict                   the world moved on: read again, then decide
    │   ├── SequenceConflict       another writer appended first
    │   ├── StaleHost              this node no longer hosts the instance
    │   ├── StaleTerm              this node no longer leads
    │   ├── Quarantined            the instance is out of character and an operator has to look
    │   ├── TakenBack              somebody took the request back before it was done
    │   ├── TurnRunning            the conversation is busy and the caller asked not to wait
    │   ├── TransitionRefused      a turn cannot go from where it is to where it was sent
    │   ├── LeaseLost              etcd no longer counts this node as alive
    │   ├── HistoryCompacted       etcd forgot the changes a watch asked for
    │   ├── CoordinationReplaced   etcd was wiped, restored or exchanged
    │   └── NodeIdTaken            another key already registered under this node's id
    ├── Unavailable                try again later; nothing was done
    │   ├── DatabaseUnavailable    PostgreSQL does not answer
    │   ├── DatabaseFull           PostgreSQL has no room or no connections left
    │   ├── RecordLost             the database does not show what this node signed
    │   │   └── AcknowledgedLost   the database does not show a leaf that this node acknowledged
    │   ├── CoordinationUnavailable  no etcd server answers
    │   ├── PeerUnavailable        another node does not answer
    │   ├── NoVoter                no voter answers this gateway
    │   ├── ModelUnavailable       the model's provider did not answer, after every try it was due
    │   ├── BudgetSpent            what may be spent today is spent
    │   │   └── AllowanceSpent     what one user may spend today is spent
    │   ├── TookTooLong            the answer would have taken longer than this one may
    │   ├── Overloaded             a queue of this node is at its limit
    │   ├── TooManyRequests        the caller asked more often than it may
    │   │   ├── TooManyCalls       the user has as many calls to the model under way and waiting as it may
    │   │   ├── TooManyInstances   all instances that the user may have at once are at work
    │   │   ├── TooManySearches    the user has as many searches under way as it may
    │   │   ├── TooManyStreams     the user has as many streams and sockets open as it may
    │   │   └── TooManySpawns      the user has as many instances on their way and waiting as it may
    │   ├── Unanswered             a request waits for a node that can answer it
    │   └── ShuttingDown           this node is stopping
    ├── TooManyConversations       the user has as many open conversations as it may
    ├── OutcomeUnknown             the connection broke while committing: read again, then decide
    ├── CoordinationRefused        etcd refused a request that never should be: credentials, or a defect
    ├── PeerRefused                another node refused a request that never should be, or answered nonsense
    ├── SpawnFailed                an instance did not pass its interview
    ├── ModelRefused               the model's provider refused a request that asking again does not mend
    │   └── PromptRefused          because of what was asked
    ├── SigningRefused             this node's key or its memory of what it signed cannot be relied on
    ├── SchemaRefused              the database's schema and this version of CCN do not fit
    ├── ProtocolUnsupported        the rules of the cluster name a protocol that this program does not speak
    ├── StoreBroken                a constraint or statement failed that never should: a defect, or worse
    ├── NodeFailed                 a node could not start, or a part of it died
    └── EmbeddedFailed             a local service could not be started or did not stay up
        ├── BinaryMissing          no usable PostgreSQL or etcd binary was found
        ├── DataDirectoryUnusable  the data directory cannot be used as it is
        ├── DiskFull               there is no room on the disk
        ├── PortTaken              another program listens on the port
        └── AlreadyRunning         another process runs on the same data directory

An ordinary result is a value, not an exception. A foreign error is translated once, by the neighbour
that met it, with the cause attached.
"""


class CCNError(Exception):
    """The root: catch it where anything CCN raises ends the same way."""


class SettingsInvalid(CCNError):
    """Mend the setting that the message names."""


class ScorerUnusable(SettingsInvalid):
    """Install, complete or train again what the message names, or choose another scorer."""


class InputInvalid(CCNError):
    """Send something else; the same request will fail again."""


class IdempotencyConflict(InputInvalid):
    """Use a fresh idempotency key for a different request."""


class PlateInvalid(InputInvalid):
    """Mend the plate where the message says, and check it again with `ccn plate check`."""


class MessageTooLong(InputInvalid):
    """Send it in parts, or raise the budget of prompts."""


class SignatureInvalid(InputInvalid):
    """Trust nothing of it: it was changed after signing, or somebody else signed it."""


class TokenUnsupported(InputInvalid):
    """End it where it was made: an API key by `ccn key revoke`."""


class NotAllowed(CCNError):
    """Come back with a credential that may do this."""


class Unauthenticated(NotAllowed):
    """Sign in at /token, or send an API key."""


class CredentialInvalid(Unauthenticated):
    """Sign in again, or have a new API key issued: this one was made up, revoked or has expired."""


class TokenExpired(Unauthenticated):
    """Get a new access token with the refresh token."""


class SignInRefused(Unauthenticated):
    """Check name and password; whether the user exists is not told."""


class Forbidden(NotAllowed):
    """Ask an operator of the cluster."""


class ReasonRequired(Forbidden):
    """Say why, in the header X-CCN-Reason or the metadata ccn-reason: it is kept in the record."""


class NotYours(Forbidden):
    """Say it in a conversation of your own: nobody speaks in the name of others."""


class NotFound(CCNError):
    """Check the id; it may belong to somebody else, which looks the same on purpose."""


class NoCluster(NotFound):
    """Start one with `ccn up`, or say where it is: --data, --endpoint, --database-url, or the settings."""


class Conflict(CCNError):
    """Read the current state, then decide again."""


class SequenceConflict(Conflict):
    """Read the head of the conversation again and append after it."""


class StaleHost(Conflict):
    """Stop writing for this instance: another node adopted it."""


class StaleTerm(Conflict):
    """Stop leading: another node took over."""


class TakenBack(Conflict):
    """Ask again if it is still wanted: nothing was done."""


class TurnRunning(Conflict):
    """Wait for the running turn, or send without asking to be refused."""


class Quarantined(Conflict):
    """Ask an operator: the instance could not be brought back to character, and says nothing until then."""


class TransitionRefused(Conflict):
    """Read the turn again; it has already ended or never started."""


class LeaseLost(Conflict):
    """Stop what the lease stood for; open a new session, register and campaign again."""


class HistoryCompacted(Conflict):
    """Read the keys as they stand, then watch from there."""


class CoordinationReplaced(Conflict):
    """Drop what was learnt from etcd: open a new client and session. Nothing that matters is lost."""


class NodeIdTaken(Conflict):
    """Give this node another id, or stop the other one; a node with a new key waits for the old lease."""


class Unavailable(CCNError):
    """Try again later; nothing was done."""


class DatabaseUnavailable(Unavailable):
    """Wait for PostgreSQL, or check the database URL and its server."""


class DatabaseFull(Unavailable):
    """Give PostgreSQL disk, memory or connections."""


class RecordLost(Unavailable):
    """Put back the database that has it; until then this node serves nobody and writes nothing."""


class AcknowledgedLost(RecordLost):
    """The same: what somebody was told to be durable is gone from this database."""


class CoordinationUnavailable(Unavailable):
    """Wait for etcd, or check its endpoints and certificates; serving goes on without it."""


class PeerUnavailable(Unavailable):
    """Wait for the other node, or check its address and certificate; the others go on without it."""


class NoVoter(Unavailable):
    """Wait for a voter, or check the way to it and this gateway's certificate; reading goes on."""


class ModelUnavailable(Unavailable):
    """Wait for the provider of the model, or check CCN_CLAUDE_BASE_URL and the way out of this machine."""


class BudgetSpent(Unavailable):
    """Wait for the next day, or raise the budget that the message names."""

    def __init__(self, said: str, retry_after_s: float | None = None) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class AllowanceSpent(BudgetSpent):
    """Wait for the next day, or raise CCN_LIMITS_DAILY_DOLLARS: other users have theirs."""


class TookTooLong(Unavailable):
    """Ask for less: the same request would take as long again."""


class Overloaded(Unavailable):
    """Slow down; a bounded queue of this node is full."""


class TooManyRequests(Unavailable):
    """Wait as long as the error says."""

    def __init__(self, said: str, retry_after_s: float = 1.0) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class TooManyCalls(TooManyRequests):
    """Wait until one of them is answered, or raise CCN_LIMITS_CALLS_AT_ONCE."""


class TooManySpawns(TooManyRequests):
    """Wait until one of them is ready, or raise CCN_LIMITS_SPAWNS_AT_ONCE."""


class TooManyInstances(TooManyRequests):
    """Wait until one of them has answered, end one, or raise CCN_LIMITS_INSTANCES."""


class TooManySearches(TooManyRequests):
    """Wait until one of them has ended, or raise CCN_LIMITS_SEARCHES_AT_ONCE."""


class TooManyStreams(TooManyRequests):
    """End one of them, ask another node, or raise CCN_LIMITS_STREAMS."""


class Unanswered(Unavailable):
    """Wait for who can answer, or take the request back: asking again asks twice."""


class ShuttingDown(Unavailable):
    """Ask another node."""


class TooManyConversations(CCNError):
    """End one of them, or raise CCN_LIMITS_CONVERSATIONS: waiting does not help."""


class OutcomeUnknown(CCNError):
    """Read the row again: the write may or may not have happened."""


class CoordinationRefused(CCNError):
    """Read etcd's reason in the message: certificates or permissions are wrong, or report a defect."""


class SpawnFailed(CCNError):
    """Mend the plate or its interview where the message says, or try again: models vary."""


class ModelRefused(CCNError):
    """Mend what the message names: a setting, or what was asked."""


class PromptRefused(ModelRefused):
    """Mend what was asked: the model's provider says what is wrong with it."""


class PeerRefused(CCNError):
    """Read the node's reason in the message: certificates or versions do not fit, or report a defect."""


class SigningRefused(CCNError):
    """Do not force it: a node that guesses what it signed could contradict itself."""


class ProtocolUnsupported(CCNError):
    """Run a program that speaks the protocol in force; this one takes no part in the cluster."""


class SchemaRefused(CCNError):
    """Follow the message: this version of CCN and that database do not fit."""


class StoreBroken(CCNError):
    """Report it: the database refused something CCN believed to be right."""


class NodeFailed(CCNError):
    """Read the node's log, which says what stopped it."""


class EmbeddedFailed(CCNError):
    """Read the message and the service's log, which it names."""


class BinaryMissing(EmbeddedFailed):
    """Install ccn[embedded], or point CCN_PG_BIN or CCN_ETCD_BIN at the binaries."""


class DataDirectoryUnusable(EmbeddedFailed):
    """Choose another folder with --data, or mend what the message names."""


class DiskFull(EmbeddedFailed):
    """Free some room, or choose a folder on another disk with --data."""


class PortTaken(EmbeddedFailed):
    """Stop the program that listens on the port, or choose another port."""


class AlreadyRunning(EmbeddedFailed):
    """Use the cluster that is running, stop it first, or choose another folder with --data."""
