"""Provenance on a job: what its first worker was, and every other one that differs, each once."""

import pytest
import redis

from tests.worker.jobs import MODEL, RUNTIME, create_planned_job, create_plans, create_rows
from worker.contract import ModelVersion
from worker.settings import QueueSettings
from worker.work_store import WorkStore

ON_GPU = MODEL.model_copy(update={"runtime": RUNTIME.model_copy(update={"device": "NVIDIA H100"})})


@pytest.mark.parametrize(
    ("models", "others"),
    [([MODEL, MODEL, MODEL], ()), ([MODEL, ON_GPU, MODEL], (ON_GPU,)), ([ON_GPU, MODEL, MODEL], (MODEL,))],
    ids=["equal workers", "the second differs", "the first differs"],
)
def test_a_job_names_every_model_that_made_its_rows(
    redis_client: redis.Redis, models: list[ModelVersion], others: tuple[ModelVersion, ...]
) -> None:
    store = WorkStore(redis_client, QueueSettings())
    job_id = create_planned_job(store, segments=len(models))
    for plan, model in zip(create_plans(len(models)), models, strict=True):
        lease = store.claim_segment(job_id, plan.segment)
        assert lease is not None
        assert store.put_segment(lease, create_rows(plan), model=model)

    job = store.get(job_id)

    assert job is not None
    assert job.model == models[0]
    assert job.other_models == others
