from __future__ import annotations

from coeval.engines._dask._versions import Versions, mismatch, mismatches, versions_here

HERE = Versions("near", "3.11.7", "0.4.0")


def test_versions_of_this_process_fit_itself() -> None:
    assert mismatch(versions_here(), versions_here(), "worker w") is None


def test_another_patch_release_of_python_fits() -> None:
    assert mismatch(HERE, Versions("far", "3.11.12", "0.4.0"), "worker w") is None


def test_another_python_is_one_sentence_with_host_both_values_and_what_to_do() -> None:
    assert mismatch(HERE, Versions("far", "3.12.1", "0.4.0"), "worker w") == (
        "Dask's worker w on far runs Python 3.12.1; here it is 3.11.7. "
        "Start both with Python 3.11, as functions travel as that version's code"
    )


def test_another_coeval_is_one_sentence_with_host_both_values_and_what_to_do() -> None:
    assert mismatch(HERE, Versions("far", "3.12.1", "0.3.9"), "scheduler") == (
        "Dask's scheduler on far has coeval 0.3.9; here it is 0.4.0. Run there: pip install 'coeval[dask]==0.4.0'"
    )


def test_no_coeval_at_all_is_told_as_such() -> None:
    sentence = mismatch(HERE, Versions("", "", ""), "worker w")
    assert sentence == "Dask's worker w has no coeval; here it is 0.4.0. Run there: pip install 'coeval[dask]==0.4.0'"


def test_each_process_that_does_not_fit_is_told_of() -> None:
    there = [("a", HERE), ("b", Versions("", "", "")), ("c", Versions("far", "3.10.0", "0.4.0"))]
    assert [sentence.split()[1] for sentence in mismatches(HERE, there)] == ["b", "c"]
