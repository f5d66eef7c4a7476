"""Jobs: which steps are allowed when, and when a start counts as one in vain."""

from datetime import timedelta

import pytest

from core.domain.jobs import ENDED, TRANSITIONS, Job, JobKind, JobStatus, JobStep, Progress
from core.errors import ConflictError
from tests.builders.keys import ACCOUNT, ALICE, GROUP, NOW


def a_job(status: JobStatus = JobStatus.QUEUED) -> Job:
    return Job("job_1", ACCOUNT, JobKind.SYNC, GROUP, ALICE, NOW, status=status)


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("step", JobStep)
def test_a_step_goes_where_the_table_says_or_is_refused(status: JobStatus, step: JobStep) -> None:
    target = TRANSITIONS.get((status, step))
    if target is None:
        with pytest.raises(ConflictError) as caught:
            a_job(status).stepped(step, NOW)
        assert caught.value.code == "job_transition"
        return
    stepped = a_job(status).stepped(step, NOW)
    assert stepped.status is target
    assert (stepped.ended_on is not None) == (target in ENDED)


@pytest.mark.parametrize("status", ENDED)
def test_nothing_happens_to_a_job_that_ended(status: JobStatus) -> None:
    assert not any(of is status for of, _ in TRANSITIONS)


def test_a_lease_holds_until_it_ends() -> None:
    job = a_job(JobStatus.RUNNING).leased("me", NOW, timedelta(seconds=60))
    assert job.leased_at(NOW + timedelta(seconds=59))
    assert not job.leased_at(NOW + timedelta(seconds=60))
    assert not a_job().leased("me", NOW, timedelta(seconds=60)).leased_at(NOW)


def test_a_start_that_moved_the_checkpoint_was_not_in_vain() -> None:
    job = Job("job_1", ACCOUNT, JobKind.SYNC, GROUP, ALICE, NOW, attempts=5, checkpoint={"name": "a"})
    assert job.progressed(Progress(done=1), {"name": "a"}).attempts == 5
    assert job.progressed(Progress(done=1), {"name": "b"}).attempts == 1
