# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What can go wrong, as types.

::

    DockerDriverError
    +-- EngineError               the Engine refused or failed
    |   +-- EngineUnavailable     it cannot be reached at all
    |   |   +-- EngineTimeout     it did not answer in time: outcome unknown
    |   |   +-- EngineTooOld      it does not speak our API version
    |   +-- NotFound              no such container or image
    |   +-- NotAuthorized         a registry does not let us have it
    |   +-- NameConflict          the name is taken
    |   +-- InvalidRequest        it calls the request itself wrong
    +-- InvalidSpec               the tenant's user_data cannot be honoured
    +-- Unsupported               this host cannot do what the flavor wants
    +-- InvalidImage              the image's archive cannot be accepted
    +-- TransferFailed            the image did not arrive
    +-- CredentialsUnavailable    the operator's cannot be read
    +-- SecretUnavailable         Barbican does not give it to the requester
    +-- ForeignContainer          our name on a container that is not ours
    +-- ProcessFailed             the process could not start or ended early

Nova is imported only where its exceptions are made: the command that tenants
have uses the inspector of images on machines without Nova.

``engine.py`` raises the first branch only. An operation turns one into a Nova
exception where it knows what it means; ``at_the_edge`` does the rest, once.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import inspect
from typing import Any, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from nova import exception


class DockerDriverError(Exception):
    """Base of all errors of this driver."""


class EngineError(DockerDriverError):
    """The Engine refused or failed."""


class EngineUnavailable(EngineError):
    """The Engine cannot be reached."""


class EngineTimeout(EngineUnavailable):
    """The Engine did not answer in time; whether it acted is unknown."""


class EngineTooOld(EngineUnavailable):
    """The Engine's newest API version is older than our oldest."""


class NotFound(EngineError):
    """The Engine has no such object."""


class NotAuthorized(EngineError):
    """A registry does not let us have the object."""


class NameConflict(EngineError):
    """Another container has the name."""


class InvalidRequest(EngineError):
    """The Engine calls the request wrong."""


class InvalidSpec(DockerDriverError):
    """The tenant's specification cannot be honoured."""


class Unsupported(DockerDriverError):
    """This host cannot do what the flavor wants; another one may."""


class InvalidImage(DockerDriverError):
    """The image's archive cannot be accepted."""


class TransferFailed(DockerDriverError):
    """The image did not arrive whole."""


class CredentialsUnavailable(DockerDriverError):
    """The operator's credentials for a registry cannot be read."""


class SecretUnavailable(DockerDriverError):
    """Barbican does not give a secret to the one who asks."""


class ForeignContainer(DockerDriverError):
    """A container that is not ours has the name of one of ours."""


class ProcessFailed(DockerDriverError):
    """The server's process could not be started or ended at once."""


def to_nova(error: DockerDriverError) -> exception.NovaException:
    """The Nova exception that makes Nova do the right thing.

    What a tenant can mend ends a build at once; what is this host's own
    trouble lets the scheduler try another one.
    """
    from nova import exception

    reason = str(error)
    match error:
        case InvalidSpec() | InvalidRequest():
            return exception.InvalidInput(reason=reason)
        case InvalidImage():
            return exception.InvalidInput(reason='image: ' + reason)
        case EngineUnavailable():
            return exception.HypervisorUnavailable(reason)
        case _:
            return exception.NovaException(reason)


def to_build_failure(error: DockerDriverError, instance_uuid: str
                     ) -> exception.NovaException:
    """As ``to_nova``, for a build: abort it, or let it be rescheduled."""
    from nova import exception

    reason = str(error)
    match error:
        case InvalidSpec() | InvalidRequest() | InvalidImage():
            return to_nova(error)
        case ProcessFailed():
            return exception.BuildAbortException(
                instance_uuid=instance_uuid, reason=reason)
        case _:
            return exception.ComputeResourcesUnavailable(reason=reason)


_Class = TypeVar('_Class', bound=type)


def at_the_edge(facade: _Class) -> _Class:
    """Lets no error of ours leave the public methods of a class.

    The wrapped methods keep their signatures, which Nova's callers and our
    contract test rely on.
    """
    for name, method in list(vars(facade).items()):
        if not name.startswith('_') and inspect.isfunction(method):
            setattr(facade, name, _translated(method))
    return facade


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except DockerDriverError as error:
            raise to_nova(error) from error
    return wrapper
