"""Geometry of embeddings: points far from others, and clusters with what is typical of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import NearestNeighbors

MOST_CLUSTERS = 500
SMALL_CLUSTER = 5
"""A cluster of fewer points is an outlier rather than a kind of case: its turn comes last."""

NEIGHBOURS = 20
_FEW_CLUSTERS = 50
"""Up to so many, k-means goes on until nothing changes; more take longer, and get `_ROUNDS` in single precision."""

_ROUNDS = 10
_TRIED = 300
"""Points drawn in all for the centres that many clusters begin with; of those drawn for one, the best is taken."""


MOST_FITTED = 3000
"""Free points, and as many taken ones, that the centres of clusters are fitted to, drawn from a larger pool: so many
show the same clusters, and nobody waits for an answer that 10,000 would take."""

_SQUARES = "sqeuclidean"


class Distances:
    """Squared distance of each point to the nearest one taken so far.

    Args:
        points: ``N x F``.
        taken: ``M x F``, taken before; may be empty.
    """

    def __init__(self, points: np.ndarray, taken: np.ndarray) -> None:
        centre = points.mean(axis=0)  # small numbers lose less in the differences of squares below
        self.points = np.ascontiguousarray(points - centre, dtype=np.float32)
        self._squares = np.einsum("nf,nf->n", self.points, self.points)
        self.nearest = np.full(len(points), np.inf, dtype=np.float32)
        if len(taken):
            others = (taken - centre).astype(np.float32)
            self.nearest = pairwise_distances_argmin_min(self.points, others, metric=_SQUARES)[1].astype(np.float32)

    def take(self, row: int) -> None:
        """From now on this point is taken."""
        to_it = self._squares + self._squares[row] - 2 * (self.points @ self.points[row])
        np.minimum(self.nearest, np.maximum(to_it, 0), out=self.nearest)
        self.nearest[row] = 0

    def take_best(self, rows: np.ndarray) -> int:
        """Take the one of these that leaves the smallest sum of distances, and return it."""
        to_them = self._squares + self._squares[rows, None] - 2 * (self.points[rows] @ self.points.T)
        nearest = np.minimum(self.nearest, np.maximum(to_them, 0))
        best = int(nearest.sum(axis=1).argmin())
        self.nearest = nearest[best]
        self.nearest[rows[best]] = 0
        return int(rows[best])


def farthest_first(
    points: np.ndarray, taken: np.ndarray, count: int, random: np.random.Generator
) -> Iterator[tuple[int, float | None]]:
    """Again and again the point farthest from all that are taken (greedy k-centre).

    Args:
        points: ``N x F``.
        taken: ``M x F``; where there are none, the point nearest to the mean is first.
        count: How many, at most ``N``.

    Yields:
        Row, and its distance to the nearest that was taken before (None for a first one), equal ones in random order.
    """
    order = random.permutation(len(points))
    distances = Distances(points[order], taken)
    free = np.ones(len(points), dtype=bool)
    for step in range(count):
        if step == 0 and not len(taken):
            row, distance = int(np.argmin(distances._squares)), None
        else:
            row = int(np.argmax(np.where(free, distances.nearest, -1)))
            distance = float(np.sqrt(distances.nearest[row]))
        free[row] = False
        distances.take(row)
        yield int(order[row]), distance


def scattered(points: np.ndarray, taken: np.ndarray, count: int, random: np.random.Generator) -> Iterator[int]:
    """Rows drawn in proportion to the squared distance to those that are taken (k-means++).

    Args:
        points: ``N x F``.
        taken: ``M x F``; where there are none, the longest point is first.
        count: How many, at most ``N``.
    """
    order = random.permutation(len(points))
    distances = Distances(points[order], taken)
    free = np.ones(len(points), dtype=bool)
    for step in range(count):
        if step == 0 and not len(taken):
            row = int(np.argmax(np.einsum("nf,nf->n", points, points)[order]))
        else:
            weights = np.where(free, distances.nearest, 0).astype(np.float64).cumsum()
            if weights[-1] > 0:
                row = int(np.searchsorted(weights, random.random() * weights[-1], side="right"))
            else:
                row = int(np.argmax(free))  # only copies of those drawn are left
        free[row] = False
        distances.take(row)
        yield int(order[row])


@dataclass(frozen=True)
class Cluster:
    """Some of the points that lie together.

    Attributes:
        rows: Places of its free points, int ``n``.
        size: How many points it has, taken ones included.
        covered: How many of them are taken.
    """

    rows: np.ndarray
    size: int
    covered: int


def clusters_of(free: np.ndarray, taken: np.ndarray, count: int, random: np.random.Generator) -> list[Cluster]:
    """k-means with a cluster for each point taken and each of the `count` to take, in the order of their turns.

    First where nothing is taken yet, there the largest first; clusters of a few points come last.

    Args:
        free: ``N x F``.
        taken: ``M x F``.
    """
    fitted = np.concatenate([_some_of(free, random), _some_of(taken, random)]).astype(np.float64)
    wanted = min(len(taken) + count, MOST_CLUSTERS, len(np.unique(fitted, axis=0)))
    points = np.concatenate([free, taken]).astype(np.float64)
    labels = _cluster_of_each(fitted, points, wanted, random)
    sizes = np.bincount(labels, minlength=wanted)
    covered = np.bincount(labels[len(free) :], minlength=wanted)
    members = [np.flatnonzero(labels[: len(free)] == cluster) for cluster in range(wanted)]
    order = np.lexsort((random.permutation(wanted), -sizes, covered, sizes < SMALL_CLUSTER))
    return [Cluster(members[k], int(sizes[k]), int(covered[k])) for k in order if len(members[k])]


def _some_of(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return points if len(points) <= MOST_FITTED else points[random.choice(len(points), MOST_FITTED, replace=False)]


def _cluster_of_each(fitted: np.ndarray, points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """The cluster of each of the points, int ``N``, of so many that are fitted to some of them."""
    if count <= _FEW_CLUSTERS:
        return KMeans(count, n_init=1, random_state=int(random.integers(2**31))).fit(fitted).predict(points)
    fitted, points = fitted.astype(np.float32), points.astype(np.float32)
    centres = fitted[_centres(fitted, count, random)]
    return KMeans(count, init=centres, n_init=1, max_iter=_ROUNDS).fit(fitted).predict(points)


def _centres(points: np.ndarray, count: int, random: np.random.Generator) -> list[int]:
    """Rows that many clusters begin with (greedy k-means++): drawn as by `scattered`, each the best of some."""
    distances, tries = Distances(points, points[:0]), max(_TRIED // count, 1)
    rows = [distances.take_best(random.integers(len(points), size=1))]
    while len(rows) < count:
        weights = distances.nearest.astype(np.float64).cumsum()
        drawn = np.searchsorted(weights, random.random(tries) * weights[-1], side="right")
        rows.append(distances.take_best(np.minimum(drawn, len(points) - 1)))
    return rows


def in_turns(clusters: list[Cluster], ordered: Callable[[np.ndarray], np.ndarray]) -> Iterator[tuple[int, Cluster]]:
    """One row of each cluster, then a second of each, and so on.

    Args:
        ordered: The rows of a cluster, the first to take first; asked once its turn has come.
    """
    waiting = deque((cluster, None) for cluster in clusters)
    while waiting:
        cluster, rows = waiting.popleft()
        rows = deque(ordered(cluster.rows)) if rows is None else rows
        yield int(rows.popleft()), cluster
        if rows:
            waiting.append((cluster, rows))


def typicality(points: np.ndarray) -> np.ndarray:
    """Inverse of the mean distance to the nearest neighbours: ``N x F`` to ``N``.

    `NEIGHBOURS` of them, or half of the points where these are few; 0 for a point alone.
    """
    count = min(NEIGHBOURS, max(len(points) // 2, 1), len(points) - 1)
    if count < 1:
        return np.zeros(len(points))
    distances, _ = NearestNeighbors(n_neighbors=count).fit(points).kneighbors()
    return 1 / (distances.mean(axis=1) + 1e-5)


def unit_length(points: np.ndarray) -> np.ndarray:
    """Each row divided by its length; rows of zeros stay."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(lengths > 0, lengths, 1)
