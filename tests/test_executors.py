"""Explorations whose runs are made by the workers of an executor: pools, threads, a cluster."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import parallel_program
import pytest
from parallel_program import late_seed, rare, rarely_wrong, script

import vtloop
from vtloop.errors import VtloopError


def told(found):
    """All that an exploration says but for its real time and its notes."""
    whole = found.to_dict()
    del whole["elapsed"], whole["notes"]
    return whole


class Sparing:
    """A future that has what an exploration may use, and nothing else."""

    def __init__(self, future):
        self.result, self.cancel, self.add_done_callback = future.result, future.cancel, self.when_done
        self._future = future

    def when_done(self, call):
        self._future.add_done_callback(lambda _: call(self))


class AtOnce:
    """An executor that makes each job when it is submitted; ``spoil`` may make something else of it."""

    def __init__(self, spoil=lambda job: None):
        self.jobs = []
        self._spoil = spoil

    def submit(self, function, job):
        self.jobs.append(job)
        future = Future()
        try:
            self._spoil(job)
            future.set_result(function(job))
        except BaseException as exc:
            future.set_exception(exc)
        return Sparing(future)


@pytest.mark.slow
def test_any_object_with_submit_will_do_and_little_of_it_is_used():
    executor = AtOnce()
    seed = late_seed(rarely_wrong)
    alone = vtloop.explore(rarely_wrong, runs=3000, seed=seed)
    assert told(vtloop.explore(rarely_wrong, runs=3000, seed=seed, executor=executor)) == told(alone)
    assert alone.failure is not None
    assert len(executor.jobs) >= 1


def test_what_a_job_carries_is_plain_data():
    executor = AtOnce()
    vtloop.explore(rarely_wrong, runs=200, executor=executor, exact_time=True)
    job = executor.jobs[0]
    assert isinstance(job.program, bytes)
    assert b"rarely_wrong" in job.program
    assert os.path.dirname(parallel_program.__file__) in job.paths


@pytest.mark.slow
def test_threads_of_this_process_make_one_run_at_a_time_and_that_is_said():
    with ThreadPoolExecutor(3) as pool:
        found = vtloop.explore(rare(-1), runs=600, executor=pool)
    assert told(found) == told(vtloop.explore(rare(-1), runs=600))
    assert found.notes == [
        "the executor runs its jobs in threads of this process, one at a time: no faster than jobs=1"
    ]


def test_a_chunk_that_is_lost_is_named():
    def lose(job):
        if job.chunk.first > 100:
            raise RuntimeError("the cluster is gone")

    with pytest.raises(
        VtloopError, match=r"the executor did not make runs \d+ to \d+: RuntimeError: the cluster is gone"
    ):
        vtloop.explore(rare(-1), runs=3000, executor=AtOnce(lose))


def test_a_program_that_cannot_be_sent_is_a_mistake_of_use():
    def pickle(job):
        raise TypeError("cannot pickle '_thread.lock' object")

    with pytest.raises(
        vtloop.UsageError, match="cannot send the program to its workers .* give a function of a module"
    ):
        vtloop.explore(rare(-1), runs=600, executor=AtOnce(pickle))


def test_a_worker_that_cannot_import_the_program_says_what_is_needed():
    executor = AtOnce(lambda job: object.__setattr__(job, "program", job.program.replace(b"rarely", b"rarelx")))
    with pytest.raises(vtloop.UsageError, match="could not load the program: AttributeError.*rarelx_wrong.*importable"):
        vtloop.explore(rarely_wrong, runs=600, executor=executor, seed=late_seed(rarely_wrong))


def test_an_executor_that_was_shut_down_is_told():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(VtloopError, match=r"did not make runs? .*: RuntimeError: cannot schedule new futures"):
        vtloop.explore(rare(-1), runs=600, executor=pool)


def test_a_failure_of_workers_alone_says_where_it_was_made():
    here = threading.get_ident()

    async def main():
        await parallel_program.busy()
        if threading.get_ident() != here:
            raise ValueError

    with ThreadPoolExecutor(1) as pool, pytest.raises(vtloop.NondeterminismError) as caught:
        vtloop.explore(main, executor=pool)
    assert "failed in a worker (ValueError at test_executors.py:" in str(caught.value)
    assert "and not here; the worker has Python 3." in str(caught.value)
    assert "PYTHONHASHSEED" in str(caught.value)
    assert caught.value.data["worker"] == caught.value.data["here"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes_gives_the_same_result(method):
    out, err = script(
        """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        if __name__ == "__main__":
            with ProcessPoolExecutor(2, mp_context=get_context(sys.argv[1])) as pool:
                for seed in range(3):
                    alone, many = (vtloop.explore(rarely_wrong, runs=4000, seed=seed, **how).to_dict()
                                   for how in ({}, {"executor": pool}))
                    del alone["elapsed"], many["elapsed"]
                    assert alone == many, (alone, many)
                    print(alone["runs"])
                try:
                    vtloop.explore(rare(-1), runs=2000, executor=pool)
                except vtloop.UsageError as exc:
                    print(exc)
        """,
        method,
    )
    lines = out.splitlines()
    assert len(set(lines[:3])) == 3
    assert lines[3].startswith("the executor cannot send the program to its workers (")
    assert err == ""


@pytest.mark.slow
def test_a_pool_that_breaks_is_told_with_the_runs_it_had():
    out, _ = script("""
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
            try:
                vtloop.explore(dies_elsewhere, runs=2000, executor=pool)
            except vtloop.VtloopError as exc:
                print(exc)
    """)
    assert out.startswith("the executor did not make runs ")
    assert "BrokenProcessPool" in out


@pytest.mark.slow
def test_a_cluster_of_dask_gives_the_same_result():
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    out, _ = script(
        """
        import warnings
        warnings.simplefilter("ignore")  # dask's own
        from distributed import Client, LocalCluster
        if __name__ == "__main__":
            cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
            with cluster, Client(cluster) as client:
                executor = client.get_executor(pure=False, retries=0)
                for main, seed in ((rarely_wrong, 0), (rarely_wrong, 2), (rare(7), 3)):
                    alone, many, own = (vtloop.explore(main, runs=4000, seed=seed, **how).to_dict()
                                        for how in ({}, {"executor": executor}, {"executor": client}))
                    del alone["elapsed"], many["elapsed"], own["elapsed"]
                    assert alone == many == own, (alone, many, own)
                    print(alone["runs"])
                try:
                    vtloop.explore(only_elsewhere(os.getpid()), executor=executor)
                except vtloop.NondeterminismError as exc:
                    print(exc)
    """,
        PYTHONHASHSEED="5",
    )
    lines = out.splitlines()
    assert len(set(lines[:3])) == 3
    assert "and PYTHONHASHSEED 6640, this process" in lines[3], "dask's workers have a hash seed of their own"
