import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.incidents import MERGE, find_incidents


def test_anomalies_close_together_are_one_incident() -> None:
    """Anomalies MERGE slots apart are one incident, and one slot further apart two."""
    is_anomaly = np.zeros(40, dtype=np.bool_)
    is_anomaly[[3, 4, 4 + MERGE, 5 + 2 * MERGE, 30]] = True
    assert find_incidents(is_anomaly).tolist() == [[3, 4 + MERGE], [5 + 2 * MERGE, 5 + 2 * MERGE], [30, 30]]
    assert find_incidents(np.zeros(5, dtype=np.bool_)).shape == (0, 2)


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 9))
def test_every_anomaly_lies_in_one_incident(marks: list[bool], merge: int) -> None:
    """Incidents begin and end with anomalies, hold all of them, and lie more than `merge` slots apart."""
    is_anomaly = np.array(marks, dtype=np.bool_)
    incidents = find_incidents(is_anomaly, merge)
    inside = np.zeros(len(marks), dtype=np.bool_)
    for first, last in incidents:
        assert is_anomaly[first]
        assert is_anomaly[last]
        inside[first : last + 1] = True
    assert not (is_anomaly & ~inside).any()
    assert (incidents[1:, 0] - incidents[:-1, 1] > merge).all()
