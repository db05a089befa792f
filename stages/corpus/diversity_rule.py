"""Farthest-first traversal of the vectors of one cell (Gonzalez 1985): the greedy k-center for every k at once."""

import numpy as np

from stages.corpus.semantic_vectors import Fixed, Real, cosines, squares

#: Distance between opposite vectors of length 1; a cell's first vector, which no other was chosen before, has it.
FARTHEST = 2.0
#: Up to so many vectors all dot products are held at once (float32, 64 MB), of larger cells one row at a time.
HELD = 4096
#: Vectors that are chosen one by one in a cell; time and memory of larger cells stay bounded by it.
MOST_CHOSEN = 4096


def farthest_first(points_MD: Fixed, held: int = HELD, most: int = MOST_CHOSEN) -> Real:
    """Euclidean distance, in [0, 2], of each direction to the nearest one chosen before it; the first row comes first.

    Then always the row that is farthest from all chosen ones, the earlier of equal ones. Distances fall in the order in
    which rows are chosen, and rows with a distance of at least r are that far apart, and every other row is nearer
    than r to one of them, for each r. After `most` rows the others are not compared with each other: each
    has its distance to those chosen, so that the rows above r still cover all others.
    """
    square_M = squares(points_MD)
    near_M = np.full(len(points_MD), -1.0)  # cosine to the nearest chosen one
    chosen_M = np.zeros(len(points_MD), bool)
    distance_M = np.zeros(len(points_MD))
    x_MD = points_MD.astype(np.float32)
    dots_MM = x_MD @ x_MD.T if len(x_MD) <= held else None
    pick = 0
    for number in range(min(len(x_MD), most)):
        distance_M[pick] = _distance(near_M[pick]) if number else FARTHEST
        chosen_M[pick] = True
        dots_M = x_MD @ x_MD[pick] if dots_MM is None else dots_MM[pick]
        np.maximum(near_M, cosines(dots_M, square_M, square_M[pick]), out=near_M)
        near_M[pick] = np.inf
        pick = int(np.argmin(near_M))
        if near_M[pick] >= 1:
            break  # all others are copies of chosen ones
    rest_M = ~chosen_M
    distance_M[rest_M] = _distance(near_M[rest_M])
    return distance_M


def _distance(cosine: Real) -> Real:
    distance: Real = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine))
    return distance
