"""How many cores this process may use.

joblib counts the same, and takes longer to import than a small file to score.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress

_QUOTA = "/sys/fs/cgroup/cpu.max"
_QUOTA_V1 = ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def count_cores() -> int:
    """Return the number of cores, at least 1: those that the process may run on, or fewer if its group has a quota.

    ``LOKY_MAX_CPU_COUNT``, joblib's own limit, must be a number if it is set.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # macOS has none
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    limit = int(os.environ.get("LOKY_MAX_CPU_COUNT", cores))
    return max(min(cores, limit, _cores_of_group() or cores), 1)


def _cores_of_group() -> int | None:
    """Return the quota of the process's control group in cores, rounded up; None without one."""
    for files in ((_QUOTA,), _QUOTA_V1):
        try:
            quota, period = (number for file in files for number in _text_of(file).split())
        except (OSError, ValueError):  # there are no such files, or no two numbers in them
            continue
        with suppress(ValueError):  # "max" is no number, and means that there is no quota
            if int(quota) > 0 and int(period) > 0:
                return math.ceil(int(quota) / int(period))
        return None
    return None


def _text_of(file: str) -> str:
    with open(file) as opened:
        return opened.read()
