"""What tests of configs share."""

import pytest

from pianalysis.rope import library


@pytest.fixture(params=["transformers", "plain"])
def reader(request, monkeypatch):
    """Both readers: with transformers, and as on a bare install."""
    if request.param == "plain":
        monkeypatch.setattr(library, "knows", lambda model_type: False)
    return request.param
