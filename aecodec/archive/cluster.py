"""Making shards on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aecodec.archive.flow import Report
from aecodec.archive.manifest import FAILED, Record
from aecodec.archive.settings import Settings
from aecodec.archive.writer import Shard, make_shard
from aecodec.errors import AecodecError
from aecodec.picture import register_heif

RETRIES = 3  # of a shard that failed on a cluster


def _make_shard(shard: Shard, settings: Settings) -> tuple[Report, str | None, list[Record]]:
    """In a process of Ray's, which has to be taught HEIC as the command's own."""
    register_heif()
    return make_shard(shard, settings)


def make_shards(
    jobs: Sequence[Shard],
    settings: Settings,
    address: str | None,
    report: Report,
    advanced: Callable[[], None],
    finished: Callable[[str, str], None],
) -> None:
    """One task for each shard; the reports of the tasks are added to the report. finished: called with name and SHA-256
    of each shard."""
    try:
        import ray
    except ImportError as error:
        raise AecodecError("engine ray needs Ray: pip install 'aecodec[archive]'") from error
    ours = not ray.is_initialized()
    if ours:
        options = {"address": address} if address else {"address": "local", "include_dashboard": False}
        ray.init(**options, log_to_driver=False)
    try:
        resources = ray.cluster_resources()
        task = ray.remote(_make_shard).options(
            num_cpus=min(settings.workers, int(resources["CPU"])),
            num_gpus=1 if settings.device != "cpu" and resources.get("GPU") else 0,
            max_retries=RETRIES,
            retry_exceptions=True,
        )
        waiting = {task.remote(job, settings): job for job in jobs}
        while waiting:
            done = ray.wait(list(waiting))[0][0]
            job = waiting.pop(done)
            try:
                part, digest, _ = ray.get(done)
            except ray.exceptions.RayError as error:
                report.counts[FAILED] += len(job.files)
                report.problems.append((job.name, f"shard failed {RETRIES + 1} times: {str(error).splitlines()[-1]}"))
            else:
                report.add(part)
                if digest is not None:
                    finished(job.name, digest)
            advanced()
    finally:
        if ours:
            ray.shutdown()
