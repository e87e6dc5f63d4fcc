"""The tree of analysis errors: every code has one leaf, every leaf one code."""

from collections import Counter

import pytest

from worker.contract import ErrorCode, JobFailure
from worker.errors import AnalysisError, IndexMismatchError, JobCanceledError, UndecodableError

LEAVES = AnalysisError.__subclasses__()


def test_every_code_but_internal_error_has_exactly_one_leaf() -> None:
    counts = Counter(leaf.code for leaf in LEAVES)

    assert counts == Counter(code for code in ErrorCode if code is not ErrorCode.INTERNAL_ERROR)


def test_leaves_have_no_children() -> None:
    assert [leaf for leaf in LEAVES if leaf.__subclasses__()] == []


def test_to_failure_keeps_code_and_message() -> None:
    failure = UndecodableError("No frame could be decoded.").to_failure()

    assert failure == JobFailure(code=ErrorCode.UNDECODABLE, message="No frame could be decoded.")


@pytest.mark.parametrize("signal", [JobCanceledError, IndexMismatchError])
def test_control_flow_is_outside_the_tree(signal: type[Exception]) -> None:
    assert not issubclass(signal, AnalysisError)
