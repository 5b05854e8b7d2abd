"""Uploads an export to the Hugging Face hub, through huggingface_hub, which knows the user's token.

Only the files listed here: not `mlflow/`, whose example is a window of the data set. Knows the
content of no file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from comodo.core.errors import ComodoError
from comodo.core.redaction import redacted
from comodo.deploy.programs import INT8, ONNX, TORCH
from comodo.models.trained_student import FILES

CARD = "README.md"
PUSHED = [CARD, TORCH, ONNX, INT8, *FILES]
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
REASONS = {401: f"the token is not valid; {LOGIN}", 403: "the token may not write there"}


class HubError(ComodoError, RuntimeError):
    """An export cannot be uploaded."""


def check_push(repository: str, public: bool) -> None:
    """Raises HubError if `push` could not succeed, before an export that takes minutes: without a
    token or a network, and for a public repository unless `public`."""
    if "/" not in repository:
        raise HubError("hub.bad-id", f"--push {repository}: needs USER/NAME, or ORGANISATION/NAME")
    if get_token() is None:
        raise HubError("hub.no-token", f"--push: no token of the Hugging Face hub; {LOGIN}")
    with _explained(repository):
        api = HfApi()
        api.whoami()
        try:
            is_private = api.model_info(repository).private
        except RepositoryNotFoundError:
            return
    if not is_private and not public:
        text = f"{repository} is there already and public; add --public, or push to another name"
        raise HubError("hub.public", text)


def push(folder: Path, repository: str, public: bool) -> str:
    """Uploads an export into a repository of models, which is made, private unless `public`, if it
    is not there; returns its address. Raises HubError."""
    with _explained(repository):
        api = HfApi()
        address = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=PUSHED,
            commit_message="Export of a student by comodo",
        )
    return str(address)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Errors of huggingface_hub, and of its connections, as HubError."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        text = "--push needs the Hugging Face hub, but HF_HUB_OFFLINE is set; unset it"
        raise HubError("hub.offline", text) from error
    except HFValidationError as error:
        raise HubError("hub.bad-id", f"--push {repository}: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = REASONS.get(status) or f"{status}: {redacted(str(error.server_message or error))}"
        raise HubError("hub.refused", f"the hub refuses {repository}: {reason}") from error
    except Exception as error:
        # Of the library for HTTP, which is another one in each version of huggingface_hub.
        if not isinstance(error, OSError) and not type(error).__module__.startswith("httpx"):
            raise
        reason = redacted(f"{type(error).__name__}: {error}")
        text = f"the Hugging Face hub cannot be reached ({reason}); try again later"
        raise HubError("hub.unreachable", text) from error
