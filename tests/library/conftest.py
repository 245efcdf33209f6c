"""The models of users, each made once."""

import pytest

from tests.library.networks import USERS, User


@pytest.fixture(scope="package")
def users() -> dict[str, User]:
    """Returns all models by name."""
    return {name: make() for name, make in USERS.items()}


@pytest.fixture(params=USERS)
def user(request, users) -> User:
    """Returns each of the models."""
    return users[request.param]
