"""A campaign larger than one process: the workers of a Dask cluster make the runs.

Needs `pip install vtloop[dask]`. What is found is what one process would find, only sooner. For a cluster of many
machines give Client its address; the workers need the program's modules, not this file.
"""

import asyncio

from distributed import Client, LocalCluster

import vtloop


async def main():
    """Three transfers between two accounts, each under a lock."""
    accounts, lock = {"a": 100, "b": 100}, asyncio.Lock()

    async def transfer(source, target, amount):
        async with lock:
            seen = accounts[source], accounts[target]
            await vtloop.latency(0.001, 0.05)
            accounts[source], accounts[target] = seen[0] - amount, seen[1] + amount

    await asyncio.gather(transfer("a", "b", 30), transfer("b", "a", 20), transfer("a", "b", 10))
    assert accounts == {"a": 80, "b": 120}, accounts


if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        executor = client.get_executor(pure=False, retries=0)
        print(vtloop.explore(main, runs=5000, executor=executor))
