"""Arrow does not import pandas for a merge, and knows it as soon as somebody else does."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pandas")

WITHOUT = """
import sys
from coeval.cli._pandas import do_without_pandas
do_without_pandas()
import pyarrow as pa
pa.array([1, 2]), pa.scalar("a")
assert "pandas" not in sys.modules
"""

LATER = """
import pandas
series = pandas.Series([1.0, float("nan")])
assert pa.array(series).null_count == 1
assert pa.table({"a": [1]}).to_pandas()["a"].tolist() == [1]
assert pa.Table.from_pandas(pandas.DataFrame({"a": [1]})).num_rows == 1
"""

ONLY_ARROW = """
assert pa.table({"a": [1]}).to_pandas()["a"].tolist() == [1]
import pandas
assert pa.array(pandas.Series([1.0, float("nan")])).null_count == 1
"""


@pytest.mark.parametrize("then", ["", LATER, ONLY_ARROW], ids=["never", "later", "by Arrow first"])
def test_pandas_is_not_imported_before_somebody_wants_it_and_is_known_to_arrow_then(then: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT + then], check=True)


def test_pandas_that_is_there_already_stays_known() -> None:
    subprocess.run(
        [sys.executable, "-c", f"import pandas\n{WITHOUT.rpartition('assert')[0]}{LATER}"],
        check=True,
    )
