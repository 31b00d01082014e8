"""The pools of Python's standard library, measured for the benchmarks of Procession.

Started by them as a child. One line on the standard input is one order, one line on the standard output its answer, in seconds:

    KIND CASE TASKS CHUNK [LENGTH]      KIND is `pool` (multiprocessing.Pool) or `executor` (ProcessPoolExecutor)
    pin CORES WORKERS-CORES             this process and the workers of both run on these cores from now on; answers 0

Both have two workers, forked, and warm. CHUNK is the chunk size, of cases that have one. It ends with its standard input.
"""

import functools
import itertools
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

WORKERS = 2


@dataclass
class Particle:
    id: int
    x: float
    y: float


def square(x):
    return x * x


def moved(particle):
    return Particle(particle.id, particle.x + particle.y, particle.y)


def echo(value):
    return value


def spin(rounds):
    for _ in itertools.repeat(None, rounds):
        pass


@functools.cache
def rounds_of_a_microsecond():
    """How many rounds `spin` makes in a microsecond where nobody disturbs it: of some tries the best."""
    best = float("inf")
    for _ in range(40):
        begin = time.perf_counter()
        spin(100_000)
        best = min(best, time.perf_counter() - begin)
    return 0.1 / best


def lengths(tasks, length):
    """The tasks' lengths in microseconds: all the same, or from 100 to 100,000 in the order that the other side has too."""
    if length == "mixed":
        return [100 * 1000 ** (task * 0.618033988749895 % 1) for task in range(tasks)]
    return [float(length)] * tasks


class Pool:
    def __init__(self):
        self.pool = multiprocessing.get_context("fork").Pool(WORKERS)

    def pids(self):
        return [process.pid for process in self.pool._pool]

    def map(self, function, items, chunk):
        return self.pool.map(function, items, chunk)

    def submit(self, function, items):
        results = [self.pool.apply_async(function, (item,)) for item in items]
        return [result.get() for result in results]

    def call(self, function, item):
        return self.pool.apply(function, (item,))

    def end(self):
        self.pool.terminate()
        self.pool.join()


class Executor:
    def __init__(self):
        self.executor = ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork"))
        # Both workers are born with tasks that overlap.
        list(self.executor.map(time.sleep, [0.1] * WORKERS))

    def pids(self):
        return list(self.executor._processes)

    def map(self, function, items, chunk):
        return list(self.executor.map(function, items, chunksize=chunk))

    def submit(self, function, items):
        futures = [self.executor.submit(function, item) for item in items]
        return [future.result() for future in futures]

    def call(self, function, item):
        return self.executor.submit(function, item).result()

    def end(self):
        self.executor.shutdown()


def measure(pool, case, tasks, chunk, length):
    """The seconds that the case takes."""
    if case == "square":
        run = lambda: pool.map(square, range(tasks), chunk)
    elif case == "particles":
        particles = [Particle(id, 1.0, 0.5) for id in range(tasks)]
        run = lambda: pool.map(moved, particles, chunk)
    elif case == "submit":
        run = lambda: pool.submit(square, range(tasks))
    elif case == "call":
        run = lambda: [pool.call(square, x) for x in range(tasks)]
    elif case == "bytes":
        # Each another object: what comes twice in a chunk is pickled once.
        items = [bytes([item % 251]) * (1 << 20) for item in range(tasks)]
        run = lambda: pool.map(echo, items, chunk)
    elif case == "spin":
        each = rounds_of_a_microsecond()
        items = [round(each * micros) for micros in lengths(tasks, length)]
        run = lambda: pool.map(spin, items, chunk)
    else:
        raise ValueError(case)
    begin = time.perf_counter()
    results = run()
    elapsed = time.perf_counter() - begin
    assert len(results) == tasks
    return elapsed


def pin(process, cores):
    for thread in os.listdir(f"/proc/{process}/task"):
        os.sched_setaffinity(int(thread), cores)


def main():
    rounds_of_a_microsecond()
    pools = {"pool": Pool(), "executor": Executor()}
    for line in sys.stdin:
        words = line.split()
        if words[0] == "pin":
            here, there = ({int(core) for core in cores.split(",")} for cores in words[1:])
            pin("self", here)
            for pool in pools.values():
                for pid in pool.pids():
                    pin(pid, there)
            answer = 0.0
        else:
            kind, case, tasks, chunk = words[:4]
            length = words[4] if len(words) > 4 else None
            answer = measure(pools[kind], case, int(tasks), int(chunk), length)
        print(answer, flush=True)
    for pool in pools.values():
        pool.end()


if __name__ == "__main__":
    main()
