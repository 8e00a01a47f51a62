"""How long `GET /info/` takes while a training run and a long prediction are under way.

    python tests/benchmarks/responsiveness.py [--seconds 60]

Prints the latencies of an idle server and of a busy one, in one run, as Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import SimpleITK as sitk

from monailabel_app.demo.client import LoopClient
from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from sample_data import make_phantom, write_studies

GOAL_MS = 200.0
LARGE_SIZE, LARGE_SPACING = (256, 256, 128), (1.4, 1.4, 1.6)


def latencies(url: str, seconds: float) -> list[float]:
    """Ask for ``/info/`` twenty times a second; ms."""
    measured = []
    with httpx.Client(base_url=url, timeout=60) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.perf_counter()
            client.get("/info/").raise_for_status()
            measured.append((time.perf_counter() - begun) * 1000)
            time.sleep(0.05)
    return measured


def row(name: str, measured: list[float]) -> str:
    cuts = statistics.quantiles(measured, n=100)
    return f"| {name} | {len(measured)} | {cuts[49]:.0f} | {cuts[94]:.0f} | {max(measured):.0f} |"


def annotate_and_train(client: LoopClient, truth: Truth) -> None:
    for _ in range(4):
        case_id = client.next_case("random", "benchmark")
        assert case_id is not None
        client.submit(case_id, "benchmark", truth.file(case_id), truth.names)
    job = client.start_training({"minutes": 0.3})
    while client.training(job)["job"]["ended"] is None:
        time.sleep(0.5)


def predict_until(done: threading.Event, url: str, counts: list[int]) -> None:
    client = LoopClient(url)
    with tempfile.TemporaryDirectory() as folder:
        while not done.is_set():
            client.predict("large", Path(folder))
            counts.append(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="labelloop-benchmark-") as name:
        folder = Path(name)
        write_studies(folder / "studies", cases=6, seed=5, dicom=False)
        truth = Truth.read(folder / "studies" / "labels")
        with ServerProcess(folder / "studies" / "images", folder / "workspace", folder / "log") as server:
            idle = latencies(server.url, seconds / 4)
            annotate_and_train(server.client, truth)
            large = make_phantom(seed=1, size=LARGE_SIZE, spacing=LARGE_SPACING).image
            sitk.WriteImage(large, str(folder / "studies" / "images" / "large.nii.gz"))
            server.client.http.post("/loop/cases/refresh").raise_for_status()
            server.client.start_training({"epochs": 100_000})
            done, counts = threading.Event(), list[int]()
            predictor = threading.Thread(target=predict_until, args=(done, server.url, counts))
            predictor.start()
            busy = latencies(server.url, seconds)
            done.set()
            predictor.join()
    print("| server | requests | median, ms | 95th percentile, ms | longest, ms |\n|---|---:|---:|---:|---:|")
    print(row("idle", idle))
    print(row(f"training, and {len(counts)} predictions on {' x '.join(map(str, LARGE_SIZE))} voxels", busy))
    return 0 if statistics.quantiles(busy, n=100)[94] <= GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
