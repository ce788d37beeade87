"""Each error has one exit code, and of several the most urgent counts."""

from __future__ import annotations

import pytest

from titanic_batch import errors
from titanic_batch.runs.exit_codes import code_of, combined_code


def test_each_error_has_a_code_of_its_own_but_those_of_the_configuration() -> None:
    kinds = errors.TitanicError.__subclasses__()
    codes = {kind: code_of(kind("why")) for kind in kinds}
    assert codes.pop(errors.NotebookError) == codes[errors.ModelError] == 78
    assert len(set(codes.values())) == len(codes)
    assert codes[errors.DataError] == 65
    assert codes[errors.OutputBusyError] == 75


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], 0), ([0, 0], 0), ([0, 65, 0], 65), ([65, 66], 66), ([66, 73], 73), ([73, 75], 75), ([75, 74, 65], 74)],
)
def test_what_trying_again_may_mend_is_the_gravest(codes: list[int], expected: int) -> None:
    assert combined_code(codes) == combined_code(reversed(codes)) == expected
