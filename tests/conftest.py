"""What several test files share: the notebook's names, loaded once and fresh for each test."""

import matplotlib.pyplot as plt
import pytest

from tests.lesson import run_cells, short_training, tiny_model, with_new_model


@pytest.fixture(scope='session')
def loaded():
    """Return the names of all cells above the model's, with 999 test images; do not change it."""
    nb = run_cells(until='model', edits=short_training())
    plt.close('all')
    return nb


@pytest.fixture
def tiny(loaded):
    """Return the notebook's names before any training, with a tiny network in place of its own."""
    yield with_new_model(loaded, tiny_model())
    plt.close('all')


@pytest.fixture
def full(loaded):
    """Return the notebook's names before any training, with the notebook's own network."""
    yield with_new_model(loaded)
    plt.close('all')
