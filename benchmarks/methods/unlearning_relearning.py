"""How soon an adapter knows the forgotten again: a fast return, against that of a retraining, tells of suppression."""

from __future__ import annotations

from typing import Final

from benchmarks.methods.compact_model import Trained
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_student import Student, endless, loss

MOST_STEPS: Final = 100


def steps_to_relearn(case: Case, trained: Trained) -> int:
    """Steps of descent on the forgotten alone until their choices are as likely as they were in the original.

    What was removed has to be learned again from the start; what was only covered comes back at once. To be compared
    with a retraining and with the base, which never knew the people.

    Args:
        case: the draw.
        trained: where the descent begins.

    Returns:
        The steps, :data:`MOST_STEPS` where it took at least so many.
    """
    level = Student(case).likelihoods(case.gone).mean()
    student = Student(case, start=trained)
    for step, batch in zip(range(MOST_STEPS), endless(case, case.gone), strict=False):
        if student.likelihoods(case.gone).mean() >= level:
            return step
        student.step(loss(student, batch))
    return MOST_STEPS
