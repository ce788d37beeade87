"""Names that no file has here, and what it means if a file can't be opened."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from titanic_batch.errors import InputError, TransferError, UsageError
from titanic_batch.reading.paths import opening_error, require_path


def refusal(name: str) -> str | None:
    """Return why a name is refused, or None."""
    try:
        require_path(name)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "name", ["s3://b/k.csv", "S3A://b", "https://u:SECRET@h/p?X-Signature=SECRET", "a+b-c.1://x", "file:///x"]
)
def test_a_url_is_refused_without_what_it_may_hold(name: str) -> None:
    scheme = name.partition(":")[0]
    with pytest.raises(UsageError) as caught:
        require_path(name)
    assert str(caught.value).startswith(f"{scheme}://... is a URL, which is neither read nor written here: ")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["s3:/b/k.csv", "s3:", "in/s3://b", "://x", "1a://x", "-", "C:\\x", "a b://c", "*"])
def test_other_names_pass(name: str) -> None:
    assert refusal(name) is None


def test_a_null_character_is_in_no_name() -> None:
    with pytest.raises(UsageError, match="null character"):
        require_path("a\0b.csv")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOENT, InputError),
        (errno.EACCES, InputError),
        (errno.EPERM, InputError),
        (errno.ELOOP, InputError),
        (errno.ENAMETOOLONG, InputError),
        (errno.EISDIR, InputError),
        (errno.ENXIO, InputError),
        (errno.EIO, TransferError),
        (errno.ESTALE, TransferError),
        (errno.EMFILE, TransferError),
        (errno.ENFILE, TransferError),
        (errno.ENOMEM, TransferError),
        (errno.ETIMEDOUT, TransferError),
    ],
)
def test_a_fault_that_may_pass_is_worth_another_try(number: int, expected: type[Exception]) -> None:
    error = opening_error("x.csv", OSError(number, os.strerror(number)))
    assert type(error) is expected
    again = ": try again" if expected is TransferError else ""
    assert str(error) == f"x.csv can't be opened ({os.strerror(number)}){again}."


def test_a_fault_without_a_text_has_one() -> None:
    assert (
        str(opening_error("in", OSError(errno.EIO, None), "listed"))
        == "in can't be listed (Input/output error): try again."
    )


def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path) -> None:
    link = tmp_path / "x.csv"
    link.symlink_to("gone")
    with pytest.raises(FileNotFoundError) as caught:
        link.open()
    assert str(opening_error(str(link), caught.value)) == f"{link} is a link that leads nowhere: mend or remove it."
