#!/usr/bin/env python3
"""Servers go away in the middle of a campaign and come back, with their data or without.  Nobody touches a
program: the campaign completes, nothing is lost, nothing is sent twice.

    tests/integration/outage_test.py [name part ...]"""
import signal
import sys

from harness import Fleet, equal, main, mono_us, test, true, wait_until


def sends(fleet, n):
    """Waits for n more requests."""
    want = len(fleet.ledger()) + n
    wait_until(lambda: len(fleet.ledger()) >= want or fleet.settled(), 60,
               lambda: f"{want} requests: {len(fleet.ledger())}, {fleet.statuses()}", 0.05)


def rest(ms):
    at = mono_us()
    wait_until(lambda: mono_us() > at + ms * 1000, 60, "a rest")


def outage(*troubles, keep="everysec", unknown=10, per_device=80, rules=("p:0.05=late:40",), conf=None, order=True):
    """A campaign with one trouble after the other; unknown: how many rows may end as unknown (a lease lasts a
    second here, and finding the way back may take longer)."""
    with Fleet(keep=keep, durable=True, rules=rules, conf=conf) as fleet:
        fleet.devices(30, gap=(20, 60))
        fleet.leads(per_device)
        programs = fleet.start(producer=2, worker=2, reaper=2)
        fleet.campaign("storm")
        for trouble in troubles:
            sends(fleet, 300)
            trouble(fleet)
        fleet.drain(90)
        verdict = fleet.check(order=order, late_ms=40)
        equal([], [p.name for p in programs if not p.running()], "programs that ended")
        equal((0, 0), (verdict.duplicates, verdict.lost), "duplicates, lost")
        true(verdict.rows["unknown"] <= unknown, f"rows: {verdict.rows}")
        equal(30 * per_device, verdict.total, "rows")
        # The ends of both queues still fit: another campaign runs through at once.
        fleet.campaign("after", devices=[1, 2, 3])
        fleet.drain(30)
        fleet.check(order=order)
        fleet.stop()
        crashed = [l for l in fleet.log_lines() if "Sanitizer" in l or "assert" in l.lower()]
        equal([], crashed, "signs of a crash")


def redis_restarts(fleet):
    fleet.redis.restart()


def redis_is_killed(fleet):
    """With appendfsync everysec a kill -9 of the process keeps what was written."""
    fleet.redis.kill()
    rest(500)
    fleet.redis.start()


def redis_loses_all(fleet):
    fleet.redis.kill(lose_data=True)
    rest(300)
    fleet.redis.start()


def redis_is_flushed(fleet):
    fleet.redis.call("FLUSHALL")


def redis_freezes(fleet):
    fleet.redis.process.freeze()
    rest(3000)
    fleet.redis.process.thaw()


def redis_goes_back_in_time(fleet):
    """The file as it was a while ago: what Redis knew since then is gone, and jobs come back from the dead."""
    import os
    import shutil
    fleet.redis.process.freeze()
    old = os.path.join(fleet.folder, "redis.old")
    shutil.copytree(fleet.redis.data, old)
    fleet.redis.process.thaw()
    sends(fleet, 200)
    fleet.redis.kill()
    shutil.rmtree(fleet.redis.data)
    shutil.move(old, fleet.redis.data)
    fleet.redis.start()


def mysql_restarts(fleet):
    fleet.mysql.restart()


def mysql_is_killed(fleet):
    fleet.mysql.kill()
    rest(1000)
    fleet.mysql.start()


@test
def redis_restarts_with_its_data():
    outage(redis_restarts, redis_restarts)


@test
def redis_is_killed_and_comes_back_with_its_file():
    outage(redis_is_killed, redis_is_killed)


@test
def redis_comes_back_without_its_data():
    outage(redis_loses_all, redis_loses_all, keep="no")


@test
def redis_is_flushed_under_way():
    outage(redis_is_flushed, redis_is_flushed, redis_is_flushed)


@test
def redis_comes_back_with_an_older_file():
    outage(redis_goes_back_in_time, redis_goes_back_in_time, per_device=100)


@test
def redis_stands_still_longer_than_a_lease():
    outage(redis_freezes)


@test
def mysql_is_restarted():
    outage(mysql_restarts)


@test
def mysql_is_killed_and_recovers():
    outage(mysql_is_killed, mysql_is_killed)


@test
def everything_in_a_row():
    outage(redis_is_flushed, mysql_is_killed, redis_is_killed, redis_loses_all, per_device=120)


@test
def both_servers_die_at_once():
    def both(fleet):
        fleet.redis.kill(lose_data=True)
        fleet.mysql.kill()
        rest(500)
        fleet.redis.start()
        fleet.mysql.start()
    outage(both)


@test
def redis_and_a_worker_die_together():
    """The worker's journal is on disk, and whoever starts in its place tells what is in it."""
    with Fleet(keep="no", durable=True, rules=["p:0.1=late:40"]) as fleet:
        fleet.devices(30, gap=(20, 60))
        fleet.leads(60)
        fleet.start(producer=2, worker=2, reaper=2)
        fleet.campaign("pair")
        sends(fleet, 300)
        fleet.processes.pop("worker1").kill()
        fleet.redis.kill(lose_data=True)
        fleet.redis.start()
        fleet.spawn("worker", "worker3")
        fleet.drain(90)
        verdict = fleet.check(late_ms=40)
        equal((0, 0, 1800), (verdict.duplicates, verdict.lost, verdict.total), "duplicates, lost, rows")
        true(verdict.rows["unknown"] <= 30, f"rows: {verdict.rows}")


@test
def redis_and_a_worker_die_together_and_nobody_comes_in_its_place():
    """Without a report the partitions open in doubt: what may have been sent becomes unknown, never twice."""
    with Fleet(keep="no", durable=True) as fleet:
        fleet.devices(30, gap=(20, 60))
        fleet.leads(60)
        fleet.start(producer=2, worker=2, reaper=2)
        fleet.campaign("doubt")
        sends(fleet, 300)
        fleet.processes.pop("worker1").signal(signal.SIGKILL)
        fleet.redis.kill(lose_data=True)
        fleet.redis.start()
        fleet.drain(90)
        verdict = fleet.check(order=False)
        equal((0, 0, 1800), (verdict.duplicates, verdict.lost, verdict.total), "duplicates, lost, rows")
        print(f"rows: {dict(verdict.rows)}")


if __name__ == "__main__":
    sys.exit(main())
