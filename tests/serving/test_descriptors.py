from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serving.descriptors import RESERVED, is_exhausted

ROOT = Path(__file__).parents[2]
COUNT = """
import resource, sys
from serving.descriptors import most_connections
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(most_connections(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "most", "limit"),
    [
        (1024, 1024, 10_000, 1024 - RESERVED, 1024),
        (256, 4096, 1000, 1000, 1000 + RESERVED),  # raised as far as it is needed
        (200, 200, 1000, 100, 200),  # half is kept
        (4096, 4096, 1000, 1000, 4096),
    ],
)
def test_files_are_kept_for_the_rest(soft: int, hard: int, wanted: int, most: int, limit: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this process may not open so many files")
    command = [sys.executable, "-c", COUNT, str(soft), str(hard), str(wanted)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(most), str(limit)]


def test_the_want_of_files_is_known_under_whatever_was_raised_for_it() -> None:
    try:
        try:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        except OSError:
            raise ValueError("the key cannot be read") from None
    except ValueError as error:
        assert is_exhausted(error)
    assert not is_exhausted(OSError(errno.ENOENT, "gone"))
